"""A database from before runs could be found by what they logged, with data in it."""

import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from db import migrate, standings, tags
from db.access import Role, Scope
from tests.conftest import Server

BEFORE = "0009_search"

RUN = """
    set session_replication_role = replica;
    insert into account (id, name) values ('00000000-0000-0000-0000-00000000000a', 'ada');
    insert into project (id, name, created_by)
    values ('00000000-0000-0000-0000-00000000000b', 'old', '00000000-0000-0000-0000-00000000000a');
    insert into experiment (id, project_id, name, created_by)
    values ('00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-00000000000b', 'digits',
        '00000000-0000-0000-0000-00000000000a');
    insert into run (id, project_id, experiment_id, name, created_by, request_sha256)
    values ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-00000000000b',
        '00000000-0000-0000-0000-00000000000c', 'first', '00000000-0000-0000-0000-00000000000a', sha256('x'));
    insert into attempt (run_id, number, id, started_by)
    values ('00000000-0000-0000-0000-000000000001', 1, '00000000-0000-0000-0000-000000000001',
        '00000000-0000-0000-0000-00000000000a');
    insert into param (run_id, key, attempt, type, text, number)
    values ('00000000-0000-0000-0000-000000000001', 'lr', 1, 'FLOAT', '0.1', 0.1),
        ('00000000-0000-0000-0000-000000000001', 'kind', 1, 'STRING', repeat('x', 300), null),
        ('00000000-0000-0000-0000-000000000001', 'none', 1, 'NULL', 'null', null);
    insert into tag (run_id, key, value, changed_by)
    values ('00000000-0000-0000-0000-000000000001', 'team', 'a', '00000000-0000-0000-0000-00000000000a'),
        ('00000000-0000-0000-0000-000000000001', 'gone', null, '00000000-0000-0000-0000-00000000000a');
"""
KEYSET = """
    with made as (
        insert into keyset (sha256, keys) values (sha256($1::text::bytea), $2) returning id
    ), used as (
        insert into run_keyset (run_id, keyset_id) select '00000000-0000-0000-0000-000000000001', id from made
    )
    insert into tally
    select '00000000-0000-0000-0000-000000000001', id, 3, $3, 1, 5, '00000000-0000-0000-0000-000000000001', 0,
        $4, 1, 6, '00000000-0000-0000-0000-000000000001', 1, $5
    from made
"""
Numbers = tuple[float, float, float, float]  # first, last, low, high


def stats(*keys: Numbers) -> bytes:
    """What a tally says of its keys: how many are not finite, then the numbers, the extremes with their steps."""
    columns = list(zip(*keys, strict=True))
    zeros = struct.pack(f"<{len(keys)}q", *(0 for _ in keys))
    first, last, low, high = (struct.pack(f"<{len(keys)}d", *column) for column in columns)
    return b"".join((zeros, first, last, low, zeros, high, zeros))


@pytest.fixture
async def old_url(server: Server) -> AsyncIterator[str]:
    """A database of its own with the schema of before."""
    assert server.settings.database_url is not None
    admin = await asyncpg.connect(server.settings.database_url)
    name = f"old_{uuid4().hex}"
    await admin.execute(f"create database {name}")
    url = urlsplit(server.settings.database_url)._replace(path=f"/{name}").geturl()
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(migrate.HISTORY)
        for file in sorted(migrate.MIGRATIONS.glob("*.sql")):
            if file.stem < BEFORE:
                await conn.execute(file.read_text())
                await conn.execute("insert into migration (name) values ($1)", file.stem)
        await conn.execute(RUN)
        await conn.close()
        yield url
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


async def test_an_upgrade_indexes_what_is_there(old_url: str) -> None:
    nan, low, high = float("nan"), -1.5, 1e300
    conn = await asyncpg.connect(old_url)
    await conn.execute(
        KEYSET, "x", ["loss", "odd"], 0, 9, stats((3.0, 0.25, 0.125, 3.0), (nan, -float("inf"), nan, nan))
    )
    await conn.execute(KEYSET, "y", ["loss"], 4, 20, stats((2.0, 5e-324, low, high)))

    assert BEFORE in await migrate.migrate(old_url)

    project_id = await conn.fetchval("select project_id from run")
    for table, rows in (("param", 3), ("tag", 2), ("metric", 2)):
        found = await conn.fetch(f"select project_id from {table}")
        assert [row["project_id"] for row in found] == [project_id] * rows
    found = await conn.fetch("select * from metric order by key")
    assert [tuple(row)[3:] for row in found if row["key"] == "loss"] == [(6, 3.0, 5e-324, low, high)]
    [odd] = [row for row in found if row["key"] == "odd"]
    assert (str(odd["first"]), odd["last"], odd["min"], odd["max"]) == ("nan", -float("inf"), None, None)
    run_id = await conn.fetchval("select id from run")
    async with conn.transaction():
        await standings.put(conn, [run_id])  # the worker says the same, so that nothing changes
    assert [str(row) for row in await conn.fetch("select * from metric order by key")] == [str(row) for row in found]
    await conn.close()


LOGGED = """
    with made as (
        insert into keyset (sha256, keys)
        select sha256(convert_to($2::text || $3, 'UTF8')), array_agg('k' || n)
        from generate_series($2::integer, $3::integer) as n
        returning id, keys
    ), used as (
        insert into run_keyset (run_id, keyset_id) select $1, id from made
    )
    insert into series (run_id, key) select $1, unnest(keys) from made on conflict do nothing
"""
MORE_KEYS = """
    with made as (
        insert into keyset (sha256, keys)
        select sha256('more'), array_agg('new' || n) from generate_series(1, $2::integer) as n
        returning id
    )
    insert into run_keyset (run_id, keyset_id) select $1, id from made
"""
ANOTHER_RUN = """
    insert into run (id, project_id, experiment_id, name, created_by, request_sha256)
    select gen_random_uuid(), project_id, experiment_id, 'second', created_by, request_sha256 from run
    returning id
"""


async def test_an_upgrade_goes_on_counting_the_keys_of_large_runs(old_url: str) -> None:
    conn = await asyncpg.connect(old_url)
    large_id = await conn.fetchval("select id from run")
    await conn.execute("set session_replication_role = replica")
    small_id = await conn.fetchval(ANOTHER_RUN)
    for run_id, first, last in ((small_id, 1, 5), (large_id, 1, 6_000), (large_id, 2, 6_001)):
        await conn.execute(LOGGED, run_id, first, last)
    await conn.execute("reset session_replication_role")

    await migrate.migrate(old_url)

    counted = await conn.fetch("select run_id, count(*) from series group by run_id")
    assert [tuple(row) for row in counted] == [(large_id, 6_001)]
    with pytest.raises(asyncpg.CheckViolationError, match="more than 10000"):
        await conn.execute(MORE_KEYS, large_id, 4_000)
    await conn.execute(MORE_KEYS, large_id, 3_999)
    await conn.close()


HISTORY = """
    set session_replication_role = replica;
    insert into tag_change (run_id, key, before, after, changed_by, changed_at)
    select tag.run_id, tag.key, before, after, tag.changed_by, tag.changed_at
    from (
        values (1, 'team', null, 'b'), (2, 'gone', null, 'x'), (3, 'team', 'b', 'a'), (4, 'gone', 'x', null)
    ) as change (place, key, before, after)
    join tag on tag.key = change.key
    order by place;
    reset session_replication_role
"""


async def test_an_upgrade_keeps_the_history_of_tags(old_url: str) -> None:
    conn = await asyncpg.connect(old_url)
    await conn.execute(HISTORY)
    before = await conn.fetch("select key, before, after, changed_by, changed_at from tag_change order by id desc")

    await migrate.migrate(old_url)

    run_id, project_id = UUID(int=1), await conn.fetchval("select project_id from run")
    scope = Scope(uuid4(), "ada", False, {project_id: Role.VIEWER})
    after = await tags.history(conn, scope, run_id, None, limit=10)
    assert after == [tags.Change(**row) for row in before]
    await conn.execute("update tag set value = 'c' where key = 'team'")
    newest, *others = await tags.history(conn, scope, run_id, None, limit=10)
    assert (newest.key, newest.before, newest.after) == ("team", "a", "c")
    assert others == after
    await conn.close()
