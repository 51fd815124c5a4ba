"""The runs that `make store` writes into the tables are as if they had come through the API."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks import store, trainings
from benchmarks.points import Batch
from benchmarks.server import Server as Runstone
from benchmarks.server import block, payload, reached
from benchmarks.trainings import KEYS, Training
from db import ids
from db.pool import Pool
from tests.conftest import Server

RECORD = """
    mutation (
      $create: CreateRunInput!, $inputs: LogInputsInput!, $metrics: LogMetricsInput!, $finish: FinishRunInput!
    ) {
      createRun(input: $create) { __typename ... on UserError { message } }
      logInputs(input: $inputs) { __typename ... on UserError { message } }
      logMetrics(input: $metrics) { __typename ... on UserError { message } }
      finishRun(input: $finish) { __typename ... on UserError { message } }
    }
"""
TABLES = """
    select distinct table_name
    from information_schema.columns
    where table_schema = 'public' and column_name = 'run_id' and table_name not in ('event', 'event_unread')
    order by table_name
"""
# What the server alone decides.
BY_CHANCE = {"tag": ("change_id",)}
TIMES = ("received", "first_received_ms", "last_received_ms", "received_ms", "received_at")


async def test_made_up_runs_are_as_if_they_had_come_through_the_api(server: Server, pool: Pool) -> None:
    made = [trainings.training("", number) for number in range(4)]
    assert server.settings.database_url is not None
    conn = await asyncpg.connect(server.settings.database_url)
    try:
        names = await store.prepared(conn, f"store-{ids.new()}")
        logged, written = _copies(made), _copies(made)
        async with reached(server.settings) as runstone:
            for one in logged:
                await _log(runstone, names.project, one)
            await _compacted(pool, logged)

        await store.write(conn, names, written)

        tables = [row["table_name"] for row in await conn.fetch(TABLES)]
        assert {"attempt", "chunk", "environment", "param", "run_input", "source", "tag"} <= set(tables)
        for table in ("run", *tables):
            assert await _rows(conn, table, written) == await _rows(conn, table, logged), table
        for one in logged:
            stored = await conn.fetchval("select request_sha256 from run where id = $1", one.id)
            assert stored == store.start_of(names, one).digest()
    finally:
        await conn.close()


def _copies(made: list[Training]) -> list[Training]:
    """The same trainings with new ids."""
    new = {one.id: ids.new() for one in made}
    return [replace(one, id=new[one.id], ancestor_ids=[new[each] for each in one.ancestor_ids]) for one in made]


async def _log(runstone: Runstone, project: str, one: Training) -> None:
    """Record it as the SDK would."""
    source, environment = one.source, one.environment
    batch = Batch(0, one.steps, one.times, one.values)
    answer = await runstone.ask(
        RECORD,
        create={
            "id": str(one.id),
            "project": project,
            "experiment": one.experiment,
            "name": one.name,
            "group": one.group,
            "parentId": one.parent_id and str(one.parent_id),
            "startedAt": one.created_at.isoformat(),
            "params": [{"key": key, "value": value} for key, value in one.params.items()],
            "tags": [{"key": key, "value": value} for key, value in one.tags.items()],
            "source": {
                "commit": source.commit_id,
                "branch": source.branch,
                "remote": source.remote,
                "dirty": source.is_dirty,
                "entryPoint": source.entry_point,
                "argv": source.argv,
                "patchDigest": source.patch_digest and f"sha256:{source.patch_digest.hex()}",
            },
            "environment": {
                "python": environment.python,
                "platform": environment.platform,
                "hostname": environment.hostname,
                "cpuCount": environment.cpu_count,
                "memoryBytes": environment.memory_bytes,
                "gpus": environment.gpus,
                "packages": [{"name": name, "version": version} for name, version in environment.packages.items()],
            },
        },
        inputs={
            "runId": str(one.id),
            "inputs": [{"name": each.name, "digest": each.digest, "context": each.context} for each in one.datasets],
        },
        metrics={"runId": str(one.id), "writerId": str(store.writer_id(one)), "blocks": [block(0, KEYS, batch)]},
        finish={"runId": str(one.id), "status": one.status, "finishedAt": one.finished_at.isoformat()},
    )
    payload(answer)


async def _compacted(pool: Pool, logged: list[Training]) -> None:
    """Wait until the worker has compacted them."""
    run_ids = [one.id for one in logged]
    async with asyncio.timeout(30):
        while await pool.fetchval("select count(*) from block where run_id = any($1)", run_ids):
            await asyncio.sleep(0.1)


async def _rows(conn: Any, table: str, made: list[Training]) -> list[str]:
    """The rows of the runs, with ids by number and without what a clock or the server's chance decides."""
    column = "id" if table == "run" else "run_id"
    known = {one.id: f"run {one.number}" for one in made} | {store.writer_id(one): "writer" for one in made}
    found = await conn.fetch(f"select * from {table} where {column} = any($1)", [one.id for one in made])
    hidden = {*TIMES, *BY_CHANCE.get(table, ()), *(("request_sha256", "created_by") if table == "run" else ())}
    return sorted(
        str({name: _plain(value, known) for name, value in row.items() if name not in hidden}) for row in found
    )


def _plain(value: Any, known: dict[UUID, str]) -> Any:
    match value:
        case UUID():
            return known.get(value, "other")
        case list():
            return [_plain(each, known) for each in value]
        case datetime():
            return "a time"
    return value
