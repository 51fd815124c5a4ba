"""Runs: who trained what, with which settings, from which source and environment."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg
import orjson

from db import access, attempts, experiments, params, projects
from db.access import Action, Scope
from db.attempts import Environment, RunStatus, Source
from db.errors import Conflict, Invalid, NotFound, RunSealed
from db.params import Param
from db.pool import Conn, Connection, Pool


class FinalStatus(StrEnum):
    """How a client ends a run."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


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
        source = None if self.source is None else attempts.columns(self.source)
        environment = None if self.environment is None else attempts.columns(self.environment)
        content = (
            str(self.id),
            self.project,
            self.experiment,
            self.name,
            self.parent_id,
            self.started_at,
            sorted((param.key, param.type, param.text) for param in self.params),
            sorted(self.tags.items()),
            source,
            environment,
        )
        return hashlib.sha256(orjson.dumps(content, default=bytes.hex)).digest()


BY_IDS = """
    select id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
        finished_at
    from run
    where id = any($1::uuid[]) and is_visible(project_id, created_by, $2, $3, $4)
"""


async def by_ids(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> list[Run | None]:
    """Runs in the order asked; None where there is none to see."""
    rows = await conn.fetch(BY_IDS, run_ids, *scope.sight)
    found = {row["id"]: _run(row) for row in rows}
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
    rows = await conn.fetch(PAGE, *scope.sight, *attempts.columns(selection), created_at, run_id, limit)
    return [_run(row) for row in rows]


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
    return int(await conn.fetchval(COUNT, *scope.sight, *attempts.columns(selection)))


# Everything that a run starts with, when its project, experiment and parent are there and its id is new.
CREATE = """
    with place as (
        select experiment.project_id, experiment.id as experiment_id
        from project
        join experiment on experiment.project_id = project.id and experiment.name = $3
        where project.name = $2 and project.id = any($9::uuid[])
            and ($4::uuid is null or exists (
                select from run as parent
                where parent.id = $4 and parent.project_id = project.id
                    and is_visible(parent.project_id, parent.created_by, $10, $11, $7)
            ))
    ), made as (
        insert into run (id, project_id, experiment_id, parent_id, name, created_by, started_at, request_sha256)
        select $1, project_id, experiment_id, $4, $5, $7, $6, $8 from place
        on conflict (id) do nothing
        returning id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
            finished_at
    ), with_attempt as (
        insert into attempt (run_id, number, id, started_by)
        select id, attempt, id, created_by from made
    ), with_params as (
        insert into param (run_id, attempt, key, type, text, number)
        select made.id, made.attempt, given.key, given.type, given.text, given.number
        from made, unnest($12::text[], $13::text[], $14::text[], $15::float8[]) as given (key, type, text, number)
    ), with_tags as (
        insert into tag (run_id, key, value, changed_by)
        select made.id, given.key, given.value, made.created_by
        from made, unnest($16::text[], $17::text[]) as given (key, value)
    ), with_source as (
        insert into source (run_id, attempt, commit_id, branch, remote, is_dirty, entry_point, argv, patch_digest)
        select id, attempt, $19, $20, $21, $22, $23, $24, $25 from made where $18::boolean
    ), with_environment as (
        insert into environment
            (run_id, attempt, python, platform, hostname, cpu_count, memory_bytes, gpus, packages)
        select id, attempt, $27, $28, $29, $30, $31, $32, $33::text::jsonb from made where $26::boolean
    )
    select id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
        finished_at
    from made
"""


async def start(pool: Pool, scope: Scope, asked: Start) -> tuple[Run, bool]:
    """The run, and whether it was made now; its experiment is made when missing.

    The same request again returns the run. Raises `NotFound`, `Forbidden`, `Invalid`, `Conflict`.
    """
    run = await _create(pool, scope, asked)
    if run is not None:
        return run, True
    async with pool.acquire() as conn, conn.transaction():
        await _make_place(conn, scope, asked)
        run = await _create(conn, scope, asked)
        if run is not None:
            return run, True
        await _require_same_request(conn, scope, asked)
        return await get(conn, scope, Action.READ, asked.id), False


async def _create(conn: Conn, scope: Scope, asked: Start) -> Run | None:
    """The new run; None when its id is known or something that it needs is not there, or not to be seen."""
    readable, own, account_id = scope.sight
    row = await conn.fetchrow(
        CREATE,
        asked.id,
        asked.project,
        asked.experiment,
        asked.parent_id,
        asked.name,
        asked.started_at,
        account_id,
        asked.digest(),
        access.projects_allowing(scope, Action.START),
        readable,
        own,
        *params.columns(asked.params),
        list(asked.tags),
        list(asked.tags.values()),
        *attempts.source_columns(asked.source),
        *attempts.environment_columns(asked.environment),
    )
    return None if row is None else _run(row)


async def _make_place(conn: Connection, scope: Scope, asked: Start) -> None:
    """See that the run can be made in its project, and make its experiment when that is missing."""
    project = await projects.get(conn, scope, Action.START, name=asked.project)
    if asked.parent_id is not None:
        parent = await get(conn, scope, Action.READ, asked.parent_id)
        if parent.project_id != project.id:
            raise Invalid("the parent run is in another project", path="input.parentId")
    await experiments.ensure(conn, scope.account_id, project.id, asked.experiment, path="input.experiment")


REQUEST = """
    select request_sha256, created_by from run where id = $1
"""


async def _require_same_request(conn: Connection, scope: Scope, asked: Start) -> None:
    row = await conn.fetchrow(REQUEST, asked.id)
    assert row is not None
    if (row["request_sha256"], row["created_by"]) != (asked.digest(), scope.account_id):
        raise Conflict(
            "this run id was used before, for another run", path="input.id", hint="make a new id for a new run"
        )


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
            await attempts.open(conn, scope, run_id, newest["number"] + 1, attempt_id, source, environment)
        return await get(conn, scope, Action.READ, run_id)


HEARTBEAT = """
    update attempt
    set heartbeat_at = now(), status = 'RUNNING'
    from run
    where run.id = $1 and is_visible(run.project_id, run.created_by, $2, $3, $4)
        and attempt.run_id = run.id and attempt.number = run.attempt and attempt.finished_at is null
    returning run.id, run.project_id, run.experiment_id, run.parent_id, run.name, attempt.status, run.attempt,
        run.created_by, run.created_at, run.started_at, run.finished_at
"""


async def heartbeat(pool: Pool, scope: Scope, run_id: UUID) -> Run:
    """Note that the run is alive; a lost one is running again. Raises `NotFound`, `Forbidden`, `RunSealed`."""
    row = await pool.fetchrow(HEARTBEAT, run_id, *scope.reach)
    if row is not None:
        return _run(row)
    run = await get(pool, scope, Action.APPEND, run_id)
    raise RunSealed(f"run {run_id} has ended", status=run.status, path="input.runId")


FINISH = """
    update attempt
    set status = $2, finished_at = now(), client_finished_at = $3
    from run
    where run.id = $1 and is_visible(run.project_id, run.created_by, $4, $5, $6)
        and attempt.run_id = run.id and attempt.number = run.attempt and attempt.finished_at is null
    returning run.id, run.project_id, run.experiment_id, run.parent_id, run.name, attempt.status, run.attempt,
        run.created_by, run.created_at, run.started_at, attempt.finished_at
"""


async def finish(
    pool: Pool, scope: Scope, run_id: UUID, status: FinalStatus, client_finished_at: datetime | None
) -> Run:
    """End the newest attempt; from now on it is a fixed record. Ending it again the same way changes nothing.

    Raises `NotFound`, `Forbidden`, `RunSealed` when it ended in another way.
    """
    row = await pool.fetchrow(FINISH, run_id, status, client_finished_at, *scope.reach)
    if row is not None:
        return _run(row)
    run = await get(pool, scope, Action.APPEND, run_id)
    if run.status.value != status.value:
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


def _run(row: asyncpg.Record) -> Run:
    return Run(**{**row, "status": RunStatus(row["status"])})
