"""A plan that was made when the tables were new stays good while they grow: each run reads as few rows as the first."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from db import access, ids, migrate, params, projects, runs, tags
from db.access import Role, Scope
from db.metrics import open_recorder
from db.params import Given
from db.pool import open_pool
from db.runs import FinalStatus
from settings import Settings
from tests.metrics.conftest import block

RUNS = 200
PATIENCE_S = 20.0
READ_MAX = 70  # rows of a table that a run may read: its 31 params twice, and not those of a hundred others

# Nobody analyzes them meanwhile, which would have the plans made anew.
LEFT_ALONE = """
    alter table run set (autovacuum_enabled = off);
    alter table attempt set (autovacuum_enabled = off);
    alter table writer set (autovacuum_enabled = off);
    alter table run_keyset set (autovacuum_enabled = off);
    alter table param set (autovacuum_enabled = off);
    alter table tag set (autovacuum_enabled = off)
"""
READ = """
    select relname, coalesce(seq_tup_read, 0) + coalesce((
        select sum(idx_tup_read) from pg_stat_user_indexes as index where index.relid = of_table.relid
    ), 0) as rows
    from pg_stat_user_tables as of_table
    where relname in ('run', 'attempt', 'writer', 'run_keyset', 'param', 'tag')
"""
ENDED = """
    select bool_and(case relname when 'attempt' then n_tup_upd >= $1 else n_tup_ins >= 2 * $1 end)
    from pg_stat_user_tables where relname in ('attempt', 'tag')
"""


@pytest.fixture
async def new_url(database: Settings) -> AsyncIterator[str]:
    """A database without a run."""
    assert database.database_url is not None
    admin = await asyncpg.connect(database.database_url)
    name = f"new_{uuid4().hex}"
    await admin.execute(f"create database {name}")
    url = urlsplit(database.database_url)._replace(path=f"/{name}").geturl()
    try:
        await migrate.migrate(url)
        yield url
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


def start(project: str) -> runs.Start:
    """A run with as many params as runs have."""
    given = [Given(f"param_{number}", number) for number in range(30)]
    return runs.Start(
        id=ids.new(), project=project, experiment="test", name="run", parent_id=None, started_at=None,
        params=params.checked(given), tags={"team": "a"}, source=None, environment=None,
    )  # fmt: skip


async def test_a_run_reads_no_more_because_others_were_before_it(new_url: str) -> None:
    async with open_pool(new_url, size_max=4, statement_timeout_s=20, name="test") as pool:
        await pool.execute(LEFT_ALONE)
        account = await access.create_account(pool, "ada")
        project = await projects.insert(pool, account, "plans", "")
        scope = Scope(account, "ada", False, {project.id: Role.OWNER})
        late = params.checked([Given("late", 1)])
        async with (
            open_recorder(pool, new_url, statement_timeout_s=20) as recorder,
            open_pool(new_url, size_max=1, statement_timeout_s=20, name="test") as writing,
        ):
            for number in range(RUNS):
                run, _ = await recorder.start(scope, start("plans"))
                async with writing.acquire() as conn, conn.transaction():
                    await params.log(conn, run.id, 1, late)
                async with writing.acquire() as conn, conn.transaction():
                    await tags.set(conn, account, run.id, {"stage": "b"})
                await recorder.append(scope, run.id, uuid4(), [block(0)])
                if number % 2:
                    await recorder.finish(scope, run.id, FinalStatus.FINISHED, None)
                else:
                    assert await recorder.close(scope, run.id, uuid4(), [block(0)], FinalStatus.FINISHED, None)
        async with asyncio.timeout(PATIENCE_S):  # a connection tells what it read when it ends
            while not await pool.fetchval(ENDED, RUNS):
                await asyncio.sleep(0.1)
        read = {row["relname"]: row["rows"] / RUNS for row in await pool.fetch(READ)}
    assert len(read) == 6
    assert max(read.values()) < READ_MAX, read
