"""Attempts: the first start of a run and each resumption, with the source and environment it ran."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from db import texts
from db.access import Scope
from db.errors import Invalid
from db.pool import Conn, Connection

PACKAGES_MAX: Final = 5_000
ARGV_BYTES_MAX: Final = 65_536


class RunStatus(StrEnum):
    """The state of a run: that of its newest attempt."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    LOST = "LOST"


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Somebody wants an attempt to end, and perhaps says why."""

    requested_by: UUID
    requested_at: datetime
    reason: str | None


def stop_request(row: asyncpg.Record) -> StopRequest | None:
    """That of an attempt's row, if there is one."""
    if row["stop_requested_at"] is None:
        return None
    return StopRequest(row["stop_requested_by"], row["stop_requested_at"], row["stop_reason"])


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of `attempt`: the first start or a resumption."""

    run_id: UUID
    number: int
    status: RunStatus
    started_by: UUID
    started_at: datetime
    heartbeat_at: datetime
    finished_at: datetime | None
    stop_request: StopRequest | None


@dataclass(frozen=True, slots=True)
class Source:
    """The code an attempt ran: a row of `source`."""

    commit_id: str | None = None
    branch: str | None = None
    remote: str | None = None
    is_dirty: bool | None = None
    entry_point: str | None = None
    argv: list[str] | None = None
    patch_digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What an attempt ran on: a row of `environment`; `packages` maps a name to its version."""

    python: str | None = None
    platform: str | None = None
    hostname: str | None = None
    cpu_count: int | None = None
    memory_bytes: int | None = None
    gpus: list[str] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)


OPEN = """
    with made as (
        insert into attempt (run_id, number, id, started_by) values ($1, $2, $3, $4)
        returning run_id, number
    ), with_source as (
        insert into source (run_id, attempt, commit_id, branch, remote, is_dirty, entry_point, argv, patch_digest)
        select run_id, number, $6, $7, $8, $9, $10, $11, $12 from made where $5::boolean
    )
    insert into environment (run_id, attempt, python, platform, hostname, cpu_count, memory_bytes, gpus, packages)
    select run_id, number, $14, $15, $16, $17, $18, $19, $20::text::jsonb from made where $13::boolean
"""


async def open(
    conn: Connection,
    scope: Scope,
    run_id: UUID,
    number: int,
    attempt_id: UUID,
    source: Source | None,
    environment: Environment | None,
) -> None:
    """Begin an attempt, in the caller's transaction."""
    await conn.execute(
        OPEN, run_id, number, attempt_id, scope.account_id, *source_columns(source), *environment_columns(environment)
    )


OF_RUNS = """
    select attempt.run_id, attempt.number, attempt.status, attempt.started_by, attempt.started_at,
        attempt.heartbeat_at, attempt.finished_at, attempt.stop_requested_at, attempt.stop_requested_by,
        attempt.stop_reason
    from attempt
    join run on run.id = attempt.run_id
    where attempt.run_id = any($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
    order by attempt.run_id, attempt.number
"""


async def of_runs(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[UUID, list[Attempt]]:
    """The attempts of each run, the first first."""
    found: dict[UUID, list[Attempt]] = {run_id: [] for run_id in run_ids}
    for row in await conn.fetch(OF_RUNS, run_ids, *scope.sight):
        found[row["run_id"]].append(_attempt(row))
    return found


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        run_id=row["run_id"],
        number=row["number"],
        status=RunStatus(row["status"]),
        started_by=row["started_by"],
        started_at=row["started_at"],
        heartbeat_at=row["heartbeat_at"],
        finished_at=row["finished_at"],
        stop_request=stop_request(row),
    )


SOURCES = """
    select source.run_id, source.attempt, source.commit_id, source.branch, source.remote, source.is_dirty,
        source.entry_point, source.argv, source.patch_digest
    from source
    join run on run.id = source.run_id
    where source.run_id = any($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
"""


async def sources(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[tuple[UUID, int], Source]:
    """The source of each (run, attempt) that has one."""
    rows = await conn.fetch(SOURCES, run_ids, *scope.sight)
    return {(row["run_id"], row["attempt"]): Source(*row[2:]) for row in rows}


ENVIRONMENTS = """
    select environment.run_id, environment.attempt, environment.python, environment.platform, environment.hostname,
        environment.cpu_count, environment.memory_bytes, environment.gpus, environment.packages::text
    from environment
    join run on run.id = environment.run_id
    where environment.run_id = any($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
"""


async def environments(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[tuple[UUID, int], Environment]:
    """The environment of each (run, attempt) that has one."""
    rows = await conn.fetch(ENVIRONMENTS, run_ids, *scope.sight)
    return {
        (row["run_id"], row["attempt"]): replace(Environment(*row[2:-1]), packages=orjson.loads(row["packages"]))
        for row in rows
    }


def checked_source(source: Source) -> Source:
    """`source` when it can be stored. Raises `Invalid`."""
    for name in ("commit_id", "branch", "remote", "entry_point"):
        text = getattr(source, name)
        if text is not None:
            texts.value(text, f"input.source.{_camel(name)}", 4_096)
    argv = source.argv or []
    for index, word in enumerate(argv):
        texts.storable(word, f"input.source.argv[{index}]")
    if sum(len(word.encode()) for word in argv) > ARGV_BYTES_MAX:
        raise Invalid("input.source.argv is too long", path="input.source.argv", limit=f"{ARGV_BYTES_MAX} bytes in all")
    return source


def checked_environment(environment: Environment) -> Environment:
    """`environment` when it can be stored. Raises `Invalid`."""
    for name in ("python", "platform", "hostname"):
        text = getattr(environment, name)
        if text is not None:
            texts.value(text, f"input.environment.{name}", 1_000)
    for index, gpu in enumerate(environment.gpus):
        texts.value(gpu, f"input.environment.gpus[{index}]", 1_000)
    for count, path in ((len(environment.packages), "packages"), (len(environment.gpus), "gpus")):
        if count > PACKAGES_MAX:
            raise Invalid(
                f"input.environment.{path} has {count} entries",
                path=f"input.environment.{path}",
                limit=f"{PACKAGES_MAX} entries",
            )
    for name, version in environment.packages.items():
        texts.value(name, "input.environment.packages", 250)
        texts.value(version, "input.environment.packages", 250)
    if environment.cpu_count is not None and not 0 < environment.cpu_count < 2**31:
        raise Invalid(
            "input.environment.cpuCount is out of range", path="input.environment.cpuCount", limit="1 to 2^31"
        )
    if environment.memory_bytes is not None and environment.memory_bytes < 0:
        raise Invalid(
            "input.environment.memoryBytes is negative", path="input.environment.memoryBytes", limit="0 to 2^63-1"
        )
    return environment


def columns(record: Any) -> list[Any]:
    """The fields of a dataclass, in the order of the statement that takes them."""
    return [getattr(record, name) for name in record.__dataclass_fields__]


def source_columns(source: Source | None) -> list[Any]:
    """Whether there is one, and its columns."""
    return [source is not None, *columns(source or Source())]


def environment_columns(environment: Environment | None) -> list[Any]:
    """Whether there is one, and its columns; `packages` as JSON."""
    *others, packages = columns(environment or Environment())
    return [environment is not None, *others, orjson.dumps(packages).decode()]


def as_json(record: Source | Environment) -> str:
    """The columns by name; bytes as Postgres writes them."""
    return orjson.dumps(record, default=_bytea).decode()


def _bytea(value: object) -> str:
    assert isinstance(value, bytes)
    return "\\x" + value.hex()


def _camel(name: str) -> str:
    return {"commit_id": "commit", "entry_point": "entryPoint"}.get(name, name)
