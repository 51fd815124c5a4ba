"""Runs: who trained what, with which settings, from which source and environment."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import orjson

from db import access, experiments, params, projects, tags, texts, times
from db.access import Action, Scope
from db.errors import Conflict, Invalid, NotFound, RunSealed
from db.params import Param
from db.pool import Conn, Connection, Pool


class RunStatus(StrEnum):
    """The state of a run: that of its newest attempt."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    LOST = "LOST"


class FinalStatus(StrEnum):
    """How a client ends a run."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


PACKAGES_MAX: Final = 5_000
ARGV_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Run:
    """A row of `run`; `started_at` is by the client's clock, the other times by ours."""

    id: UUID
    project_id: UUID
    experiment_id: UUID
    parent_id: UUID | None
    name: str
    status: RunStatus
    attempt: int
    created_by: UUID
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


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


@dataclass(frozen=True, slots=True)
class Selection:
    """Which runs: those that satisfy every part that is given."""

    project_id: UUID | None = None
    experiment_ids: Sequence[UUID] | None = None
    run_ids: Sequence[UUID] | None = None
    statuses: Sequence[RunStatus] | None = None
    parent_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """What createRun is asked, checked."""

    id: UUID
    project: str
    experiment: str
    name: str
    parent_id: UUID | None
    started_at: datetime | None
    params: Sequence[Param]
    tags: dict[str, str | None]
    source: Source | None
    environment: Environment | None

    def digest(self) -> bytes:
        """SHA-256 that is equal exactly when the same is asked."""
        content = (
            str(self.id),
            self.project,
            self.experiment,
            self.name,
            self.parent_id and str(self.parent_id),
            self.started_at,
            sorted((param.key, param.type, param.text) for param in self.params),
            sorted(self.tags.items()),
            self.source and [*_row(self.source)[:-1], self.source.patch_digest and self.source.patch_digest.hex()],
            self.environment and _row(self.environment),
        )
        return hashlib.sha256(orjson.dumps(content)).digest()


BY_IDS = """
    select id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
        finished_at
    from run
    where id = any($1::uuid[]) and is_visible(project_id, created_by, $2, $3, $4)
"""


async def by_ids(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> list[Run | None]:
    """Runs in the order asked; None where there is none to see."""
    rows = await conn.fetch(BY_IDS, run_ids, *scope.sight)
    found = {row["id"]: Run(**row) for row in rows}
    return [found.get(run_id) for run_id in run_ids]


async def get(conn: Conn, scope: Scope, action: Action, run_id: UUID) -> Run:
    """The run. Raises `NotFound`, or `Forbidden` when `action` is not allowed on it."""
    [run] = await by_ids(conn, scope, [run_id])
    if run is None:
        raise NotFound(f"there is no run {run_id}", path="input.runId")
    access.require(scope, action, f"run {run_id}", run.project_id, run.created_by)
    return run


PAGE = """
    select id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
        finished_at
    from run
    where is_visible(project_id, created_by, $1, $2, $3)
        and ($4::uuid is null or project_id = $4)
        and ($5::uuid[] is null or experiment_id = any($5))
        and ($6::uuid[] is null or id = any($6))
        and ($7::text[] is null or status = any($7))
        and ($8::uuid is null or parent_id = $8)
        and ($9::timestamptz is null or (created_at, id) < ($9, $10::uuid))
    order by created_at desc, id desc
    limit $11
"""


async def page(
    conn: Conn, scope: Scope, selection: Selection, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Run]:
    """Newest first, strictly after the position `after` = (created_at, id)."""
    created_at, run_id = after or (None, None)
    rows = await conn.fetch(PAGE, *scope.sight, *_row(selection), created_at, run_id, limit)
    return [Run(**row) for row in rows]


COUNT = """
    select count(*)
    from run
    where is_visible(project_id, created_by, $1, $2, $3)
        and ($4::uuid is null or project_id = $4)
        and ($5::uuid[] is null or experiment_id = any($5))
        and ($6::uuid[] is null or id = any($6))
        and ($7::text[] is null or status = any($7))
        and ($8::uuid is null or parent_id = $8)
"""


async def count(conn: Conn, scope: Scope, selection: Selection) -> int:
    """How many runs there are to page through."""
    return int(await conn.fetchval(COUNT, *scope.sight, *_row(selection)))


INSERT = """
    insert into run (id, project_id, experiment_id, parent_id, name, created_by, started_at, request_sha256)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (id) do nothing
    returning id
"""

REQUEST = """
    select request_sha256, created_by from run where id = $1
"""


async def start(pool: Pool, scope: Scope, asked: Start) -> tuple[Run, bool]:
    """The run, and whether it was made now; its experiment is made when missing.

    The same request again returns the run. Raises `NotFound`, `Forbidden`, `Invalid`, `Conflict`.
    """
    async with pool.acquire() as conn, conn.transaction():
        project = await projects.get(conn, scope, Action.START, name=asked.project)
        if asked.parent_id is not None:
            parent = await get(conn, scope, Action.READ, asked.parent_id)
            if parent.project_id != project.id:
                raise Invalid("the parent run is in another project", path="input.parentId")
        experiment, _ = await experiments.ensure(
            conn, scope.account_id, project.id, asked.experiment, path="input.experiment"
        )
        created = await conn.fetchval(
            INSERT,
            asked.id,
            project.id,
            experiment.id,
            asked.parent_id,
            asked.name,
            scope.account_id,
            asked.started_at,
            asked.digest(),
        )
        if created is None:
            await _require_same_request(conn, scope, asked)
        else:
            await _open_attempt(conn, scope, asked.id, 1, asked.id, asked.source, asked.environment)
            await params.log(conn, asked.id, 1, asked.params)
            await tags.set(conn, scope.account_id, asked.id, asked.tags)
        run = await get(conn, scope, Action.READ, asked.id)
        return run, created is not None


async def _require_same_request(conn: Connection, scope: Scope, asked: Start) -> None:
    row = await conn.fetchrow(REQUEST, asked.id)
    assert row is not None
    if (row["request_sha256"], row["created_by"]) != (asked.digest(), scope.account_id):
        raise Conflict(
            "this run id was used before, for another run", path="input.id", hint="make a new id for a new run"
        )


INSERT_ATTEMPT = """
    insert into attempt (run_id, number, id, started_by) values ($1, $2, $3, $4)
"""

INSERT_SOURCE = """
    insert into source (run_id, attempt, commit_id, branch, remote, is_dirty, entry_point, argv, patch_digest)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

INSERT_ENVIRONMENT = """
    insert into environment (run_id, attempt, python, platform, hostname, cpu_count, memory_bytes, gpus, packages)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)
"""


async def _open_attempt(
    conn: Connection,
    scope: Scope,
    run_id: UUID,
    number: int,
    attempt_id: UUID,
    source: Source | None,
    environment: Environment | None,
) -> None:
    await conn.execute(INSERT_ATTEMPT, run_id, number, attempt_id, scope.account_id)
    if source is not None:
        await conn.execute(INSERT_SOURCE, run_id, number, *_row(source))
    if environment is not None:
        *columns, packages = _row(environment)
        await conn.execute(INSERT_ENVIRONMENT, run_id, number, *columns, orjson.dumps(packages).decode())


LOCK = """
    select number, id, status, finished_at
    from attempt
    where run_id = $1
    order by number desc
    limit 1
    for no key update
"""

ATTEMPT_NUMBER = """
    select number from attempt where run_id = $1 and id = $2
"""

LEAVE_LOST = """
    update attempt set finished_at = now() where run_id = $1 and number = $2
"""


async def resume(
    pool: Pool,
    scope: Scope,
    run_id: UUID,
    attempt_id: UUID,
    source: Source | None,
    environment: Environment | None,
) -> Run:
    """The run, open for more. A running one is joined; otherwise a new attempt begins and the earlier stay as they are.

    The same `attempt_id` again changes nothing. Raises `NotFound`, `Forbidden`.
    """
    async with pool.acquire() as conn, conn.transaction():
        await get(conn, scope, Action.APPEND, run_id)
        newest = await conn.fetchrow(LOCK, run_id)
        assert newest is not None
        known = await conn.fetchval(ATTEMPT_NUMBER, run_id, attempt_id)
        if known is None and newest["status"] != "RUNNING":
            if newest["finished_at"] is None:
                await conn.execute(LEAVE_LOST, run_id, newest["number"])
            await _open_attempt(conn, scope, run_id, newest["number"] + 1, attempt_id, source, environment)
        return await get(conn, scope, Action.READ, run_id)


HEARTBEAT = """
    update attempt
    set heartbeat_at = now(), status = 'RUNNING'
    from run
    where run.id = $1 and attempt.run_id = run.id and attempt.number = run.attempt and attempt.finished_at is null
"""


async def heartbeat(pool: Pool, scope: Scope, run_id: UUID) -> Run:
    """Note that the run is alive; a lost one is running again. Raises `NotFound`, `Forbidden`, `RunSealed`."""
    run = await get(pool, scope, Action.APPEND, run_id)
    if await pool.execute(HEARTBEAT, run_id) == "UPDATE 0":
        raise RunSealed(f"run {run_id} has ended", status=run.status, path="input.runId")
    return await get(pool, scope, Action.READ, run_id)


FINISH = """
    update attempt
    set status = $2, finished_at = now(), client_finished_at = $3
    from run
    where run.id = $1 and attempt.run_id = run.id and attempt.number = run.attempt and attempt.finished_at is null
"""


async def finish(
    pool: Pool, scope: Scope, run_id: UUID, status: FinalStatus, client_finished_at: datetime | None
) -> Run:
    """End the newest attempt; from now on it is a fixed record. Ending it again the same way changes nothing.

    Raises `NotFound`, `Forbidden`, `RunSealed` when it ended in another way.
    """
    await get(pool, scope, Action.APPEND, run_id)
    ended = await pool.execute(FINISH, run_id, status, client_finished_at)
    run = await get(pool, scope, Action.READ, run_id)
    if ended == "UPDATE 0" and run.status != status:
        raise RunSealed(f"run {run_id} has ended as {run.status}", status=run.status, path="input.status")
    return run


MARK_LOST = """
    update attempt
    set status = 'LOST'
    where status = 'RUNNING' and heartbeat_at < now() - make_interval(secs => $1)
"""


async def mark_lost(conn: Conn, older_than_s: float) -> int:
    """How many running attempts are LOST now, because their last heartbeat is older than this."""
    return int((await conn.execute(MARK_LOST, older_than_s)).removeprefix("UPDATE "))


ATTEMPTS = """
    select attempt.run_id, attempt.number, attempt.status, attempt.started_by, attempt.started_at,
        attempt.heartbeat_at, attempt.finished_at
    from attempt
    join run on run.id = attempt.run_id
    where attempt.run_id = any($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
    order by attempt.run_id, attempt.number
"""


async def attempts(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[UUID, list[Attempt]]:
    """The attempts of each run, the first first."""
    found: dict[UUID, list[Attempt]] = {run_id: [] for run_id in run_ids}
    for row in await conn.fetch(ATTEMPTS, run_ids, *scope.sight):
        found[row["run_id"]].append(Attempt(**row))
    return found


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
    return {(row["run_id"], row["attempt"]): Environment(*row[2:-1], orjson.loads(row["packages"])) for row in rows}


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


def checked_started_at(started_at: datetime | None) -> datetime | None:
    """`started_at` in UTC. Raises `Invalid`."""
    return times.checked(started_at, "input.startedAt")


def _row(record: Any) -> list[Any]:
    """The fields of a dataclass, in the order of the statement that takes them."""
    return [getattr(record, name) for name in record.__dataclass_fields__]


def _camel(name: str) -> str:
    return {"commit_id": "commit", "entry_point": "entryPoint"}.get(name, name)
