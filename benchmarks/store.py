"""`make store`: fill a project with runs that never happened, straight into the tables, in minutes instead of hours.

The rows are those that the API and the worker would have written for the same runs, which a test compares; events,
which are swept after some days, are left out.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import numpy as np

from benchmarks import trainings
from benchmarks.trainings import KEYS, STEPS, Training
from db import access, attempts, chunks, experiments, ids, inputs, params, projects
from db.access import Role
from db.blocks import keys_sha256
from db.chunks import Stream
from db.packing import Matrix
from db.params import Given
from db.runs import Start
from deploy.local import environment
from settings import Settings

PROJECT: Final = "store"
RUNS_AT_ONCE: Final = 500

Conn: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Rows: TypeAlias = Sequence[tuple[Any, ...]]


def main() -> int:
    """Fill the database of the Runstone that runs on RUNSTONE_HOME, or that of RUNSTONE_DATABASE_URL."""
    given = argparse.ArgumentParser(prog="make store", description=__doc__)
    given.add_argument("--runs", type=int, default=100_000, help="how many, 100,000 unless given")
    given.add_argument("--project", default=PROJECT, help=f"the name of a new project, {PROJECT!r} unless given")
    asked = given.parse_args()
    settings = Settings.from_env()
    running = environment.of_running(settings)
    url = settings.database_url or (running and running.database_url)
    if not url:
        print("No Runstone runs here: start one with `make run`, or set RUNSTONE_DATABASE_URL.", file=sys.stderr)
        return 1
    start = time.monotonic()
    asyncio.run(fill(url, asked.project, asked.runs, _show))
    print(f"\r{asked.runs:,} runs in the project {asked.project!r} in {time.monotonic() - start:.0f} s")
    return 0


def _show(done: int) -> None:
    print(f"\r{done:,} runs", end="", flush=True)


def _silent(done: int) -> None:
    pass


# Those that no constraint needs, of the tables whose rows come in another order than theirs.
INDEXES: Final = """
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
    from pg_index
    where indrelid = any (array['param', 'tag', 'metric']::regclass[]) and not indisunique
    order by name
"""


async def fill(url: str, project: str, runs: int, progress: Callable[[int], None] = _silent) -> None:
    """Make the project and its runs, all or none; `progress` is told how many there are.

    The role of the URL is a superuser. A database that has fewer runs gets some indexes last, which takes a fraction of
    the time, and nobody reads it meanwhile.
    """
    async with _connected(url) as conn:
        async with conn.transaction():
            has_fewer = await conn.fetchval("select count(*) from run") < runs
            indexes = await conn.fetch(INDEXES) if has_fewer else []
            for index in indexes:
                await conn.execute(f"drop index {index['name']}")
            names = await prepared(conn, project)
            for first in range(0, runs, RUNS_AT_ONCE):
                end = min(first + RUNS_AT_ONCE, runs)
                await write(conn, names, [trainings.training(project, number) for number in range(first, end)])
                progress(end)
            await conn.execute("set local maintenance_work_mem = '256MB'")
            for index in indexes:
                await conn.execute(index["definition"])
        await conn.execute("vacuum analyze")


async def fill_with(url: str, project: str, made: Sequence[Training]) -> None:
    """Make the project and these runs."""
    async with _connected(url) as conn:
        async with conn.transaction():
            await write(conn, await prepared(conn, project), made)
        await conn.execute("analyze")


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Conn]:
    conn = await asyncpg.connect(url, timeout=10)
    try:
        yield conn
    finally:
        await conn.close(timeout=10)


@dataclass(frozen=True, slots=True)
class Names:
    """What the rows of runs refer to."""

    project: str
    project_id: UUID
    accounts: Mapping[str, UUID]
    experiments: Mapping[str, UUID]
    keyset_id: int


async def prepared(conn: Conn, project: str) -> Names:
    """The new project, its members and experiments, and the keyset of all runs; every admin owns it."""
    admins = await conn.fetch("select id from account where is_admin order by id")
    made = await projects.insert(conn, admins[0]["id"], project, "Runs that never happened.")
    for admin in admins[1:]:
        await access.grant(conn, made.id, admin["id"], Role.OWNER)
    for user in trainings.USERS:
        await access.grant(conn, made.id, await access.create_account(conn, _account(user, project)), Role.EDITOR)
    for name in trainings.EXPERIMENTS:
        await experiments.ensure(conn, admins[0]["id"], made.id, name)
    await conn.execute(
        "insert into keyset (sha256, keys) values ($1, $2) on conflict do nothing", keys_sha256(KEYS), list(KEYS)
    )
    return await names_of(conn, project)


async def names_of(conn: Conn, project: str) -> Names:
    """What was prepared for the project."""
    project_id = await conn.fetchval("select id from project where name = $1", project)
    accounts = await conn.fetch(
        "select name, id from account where name = any ($1)", [_account(user, project) for user in trainings.USERS]
    )
    found = await conn.fetch("select name, id from experiment where project_id = $1", project_id)
    keyset_id = await conn.fetchval("select id from keyset where sha256 = $1", keys_sha256(KEYS))
    return Names(
        project,
        project_id,
        {row["name"].removesuffix(f"@{project}"): row["id"] for row in accounts},
        {row["name"]: row["id"] for row in found},
        keyset_id,
    )


def _account(user: str, project: str) -> str:
    return f"{user}@{project}"


async def write(conn: Conn, names: Names, made: Sequence[Training]) -> None:
    """All rows of the runs. The triggers, which look at each, are off; what they would have written is written here."""
    async with conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        dataset_ids = await _dataset_ids(conn, names.project_id, made)
        for table, columns, rows in tables(names, made, dataset_ids):
            await conn.copy_records_to_table(table, columns=columns.split(), records=rows)


def start_of(names: Names, one: Training) -> Start:
    """What createRun was asked for it, checked."""
    return Start(
        id=one.id,
        project=names.project,
        experiment=one.experiment,
        name=one.name,
        parent_id=one.parent_id,
        started_at=one.created_at,
        params=params.checked([Given(key, value) for key, value in one.params.items()]),
        tags=dict(one.tags),
        source=one.source,
        environment=one.environment,
        group_name=one.group,
    )


def writer_id(one: Training) -> UUID:
    """The only writer of the run."""
    return UUID(int=one.id.int ^ 1)


def tables(
    names: Names, made: Sequence[Training], dataset_ids: Mapping[inputs.Given, UUID]
) -> list[tuple[str, str, Rows]]:
    """What a store has of the runs: tables with their columns and rows."""
    starts = [start_of(names, one) for one in made]
    accounts = [names.accounts[one.user] for one in made]
    chunk_rows, tally_rows = _compacted(names, made)
    return [
        (
            "run",
            "id project_id experiment_id parent_id name status attempt created_by created_at started_at finished_at "
            "request_sha256 group_name ancestor_ids",
            [
                (
                    one.id, names.project_id, names.experiments[one.experiment], one.parent_id, one.name, one.status, 1,
                    account, one.created_at, one.created_at, one.finished_at, start.digest(), one.group,
                    one.ancestor_ids,
                )
                for one, account, start in zip(made, accounts, starts, strict=True)
            ],
        ),
        (
            "attempt",
            "run_id number id status started_by started_at heartbeat_at finished_at client_finished_at",
            [
                (
                    one.id, 1, one.id, one.status, account, one.created_at, one.created_at, one.finished_at,
                    one.finished_at,
                )
                for one, account in zip(made, accounts, strict=True)
            ],
        ),
        (
            "source",
            "run_id attempt commit_id branch remote is_dirty entry_point argv patch_digest",
            [(one.id, 1, *attempts.columns(one.source)) for one in made],
        ),
        (
            "environment",
            "run_id attempt python platform hostname cpu_count memory_bytes gpus packages",
            [(one.id, 1, *attempts.environment_columns(one.environment)[1:]) for one in made],
        ),
        (
            "param",
            "run_id project_id key attempt type text number",
            [
                (start.id, names.project_id, each.key, 1, each.type, each.text, each.number)
                for start in starts
                for each in start.params
            ],
        ),
        (
            "tag",
            "run_id project_id key value changed_by changed_at",
            [
                (one.id, names.project_id, key, value, account, one.created_at)
                for one, account in zip(made, accounts, strict=True)
                for key, value in sorted(one.tags.items())
            ],
        ),
        (
            "run_input",
            "run_id dataset_id context attempt",
            [(one.id, dataset_ids[each], each.context or "", 1) for one in made for each in one.datasets],
        ),
        ("run_keyset", "run_id keyset_id", [(one.id, names.keyset_id) for one in made]),
        (
            "writer",
            "id run_id attempt opened_by opened_at next_seq ended_at",
            [
                (writer_id(one), one.id, 1, account, one.created_at, 1, one.finished_at)
                for one, account in zip(made, accounts, strict=True)
            ],
        ),
        (
            "chunk",
            "run_id keyset_id writer_id first_seq seqs attempt n first_ms low_step high_step sizes received steps "
            "times narrow vals tier coarse_tier",
            chunk_rows,
        ),
        (
            "tally",
            "run_id keyset_id count first_step first_attempt first_received_ms first_writer_id first_seq last_step "
            "last_attempt last_received_ms last_writer_id last_seq stats",
            tally_rows,
        ),
        (
            "metric",
            "run_id project_id key count first last min max",
            [(one.id, names.project_id, *each) for one in made for each in _metrics(one)],
        ),
    ]  # fmt: skip


def _metrics(one: Training) -> Iterator[tuple[str, int, float, float, float | None, float | None]]:
    """For each metric its count, first, last, least and greatest value, the last two of finite ones."""
    finite = np.isfinite(one.values)
    lows = np.where(finite, one.values, np.inf).min(axis=1).tolist()
    highs = np.where(finite, one.values, -np.inf).max(axis=1).tolist()
    firsts, lasts = one.values[:, 0].tolist(), one.values[:, -1].tolist()
    for key, first, last, low, high in zip(KEYS, firsts, lasts, lows, highs, strict=True):
        yield key, STEPS, first, last, *((low, high) if low <= high else (None, None))


def _compacted(names: Names, made: Sequence[Training]) -> tuple[Rows, Rows]:
    """What the worker makes of one block of each run: rows of `chunk`, and of `tally`."""
    streams = [
        Stream(one.id, names.keyset_id, writer_id(one), 1, len(KEYS), is_ended=True, fresh=_block(one)) for one in made
    ]
    chunk_rows, tally_rows = chunks._compacted(streams, [], [])
    block = [asyncpg.Range(0, 1)]
    return [(*row[:4], block, *row[5:]) for row in chunk_rows], tally_rows


def _block(one: Training) -> Matrix:
    received_ms = np.array([trainings.ms(one.finished_at)])
    return Matrix(np.array([0]), np.array([STEPS]), received_ms, one.steps, one.times, one.values)


DATASETS: Final = """
    select id, name, digest, uri from dataset where project_id = $1
"""


async def _dataset_ids(conn: Conn, project_id: UUID, made: Sequence[Training]) -> dict[inputs.Given, UUID]:
    """The ids of the datasets of the runs, which are made when missing."""
    given = sorted({each for one in made for each in one.datasets}, key=str)
    names, digests, uris = [each.name for each in given], [each.digest for each in given], [each.uri for each in given]
    await conn.execute(inputs.ENSURE, project_id, [ids.new() for _ in given], names, digests, uris)
    rows = await conn.fetch(DATASETS, project_id)
    by_name = {(row["name"], row["digest"], row["uri"]): row["id"] for row in rows}
    return {each: by_name[each.name, each.digest, each.uri] for each in given}


if __name__ == "__main__":
    sys.exit(main())
