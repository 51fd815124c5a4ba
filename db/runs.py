"""Runs: who trained what, with which settings, from which source and environment."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import orjson

from db import access, attempts, conditions, experiments, filters, finding, projects
from db.access import Action, Scope
from db.attempts import Environment, RunStatus, Source, StopRequest
from db.conditions import NEWEST_FIRST, All, Area, Attribute, Condition, Field, OneOf, Order
from db.errors import Conflict, Invalid, NotFound, RunSealed, Unavailable
from db.filters import Position, Question, Span
from db.params import Param
from db.pool import Conn, Connection, Pool

DEPTH_MAX: Final = 32


STATUSES: Final = {each.value: each for each in RunStatus}  # a lookup takes a fifth of the time of a call


class FinalStatus(StrEnum):
    """How a client ends a run."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(slots=True)  # not frozen, which would take three times as long: a request makes a thousand
class Run:
    """A row of `run`; `started_at` is by the client's clock, the other times by ours.

    The ancestors are those above it, the outermost first and its parent last.
    """

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
    group_name: str | None
    ancestor_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which runs: those that satisfy every part that is given."""

    project_id: UUID | None = None
    experiment_ids: Sequence[UUID] | None = None
    run_ids: Sequence[UUID] | None = None
    statuses: Sequence[RunStatus] | None = None
    parent_id: UUID | None = None
    ancestor_id: UUID | None = None
    condition: Condition | None = None

    def conditions(self) -> tuple[Condition, ...]:
        """What must be true of a run, beside being in the project."""
        among = (
            (Attribute.EXPERIMENT_ID, self.experiment_ids),
            (Attribute.ID, self.run_ids),
            (Attribute.STATUS, self.statuses),
            (Attribute.PARENT, None if self.parent_id is None else [self.parent_id]),
            (Attribute.ANCESTOR, None if self.ancestor_id is None else [self.ancestor_id]),
        )
        parts = [OneOf(Field(Area.ATTRIBUTE, key), tuple(values)) for key, values in among if values is not None]
        return conditions.conjuncts(All((*parts, *([] if self.condition is None else [self.condition]))))


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
    group_name: str | None = None

    @property
    def size_bytes(self) -> int:
        """About what it takes on its way."""
        return 1_000 + sum(100 + len(param.text) for param in self.params)

    def digest(self) -> bytes:
        """SHA-256 that is equal exactly when the same is asked."""
        source = None if self.source is None else attempts.columns(self.source)
        environment = None if self.environment is None else attempts.columns(self.environment)
        content = (
            str(self.id),
            self.project,
            self.experiment,
            self.name,
            self.parent_id and str(self.parent_id),
            self.started_at,
            sorted((param.key, param.type, param.text) for param in self.params),
            sorted(self.tags.items()),
            source,
            environment,
            *([] if self.group_name is None else [self.group_name]),  # what was asked before there were groups is equal
        )
        return hashlib.sha256(orjson.dumps(content, default=bytes.hex)).digest()


BY_IDS = """
    select id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
        finished_at, group_name, ancestor_ids
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


@dataclass(frozen=True, slots=True)
class Placed:
    """A run with its place in the order it was listed in."""

    run: Run
    position: Position


async def page(
    pool: Pool, scope: Scope, selection: Selection, orders: Sequence[Order] = NEWEST_FIRST, *, span: Span
) -> list[Placed]:
    """The selected runs of the span, in order. Raises `Invalid`."""
    question, rows = await _found(pool, scope, selection, orders, span)
    return [Placed(_run(row), filters.position(question, row)) for row in rows]


@dataclass(frozen=True, slots=True)
class Listed:
    """The ids of runs in the order they were listed in."""

    ids: list[UUID]
    rows: Sequence[asyncpg.Record]
    question: Question

    def position(self, place: int) -> Position:
        """The place in that order of the run at `place` of the ids."""
        return filters.position(self.question, self.rows[place])


async def page_of_ids(
    pool: Pool, scope: Scope, selection: Selection, orders: Sequence[Order] = NEWEST_FIRST, *, span: Span
) -> Listed:
    """What `page` gives, without the runs: a thousand take a third of the time. Raises `Invalid`."""
    question, rows = await _found(pool, scope, selection, orders, span, columns=filters.ID_COLUMNS)
    return Listed([row["id"] for row in rows], rows, question)


async def _found(
    pool: Pool,
    scope: Scope,
    selection: Selection,
    orders: Sequence[Order],
    span: Span,
    columns: tuple[str, ...] = filters.RUN_COLUMNS,
) -> tuple[Question, list[asyncpg.Record]]:
    """What is asked, and the columns of the selected runs of the span, in order."""
    reach = finding.reach_of(scope, selection.project_id)
    if not reach.projects:
        return Question(reach, ()), []
    async with finding.one_view(pool) as conn:
        question = await finding.question(conn, scope, reach, selection.conditions(), orders)
        question = replace(question, columns=columns)
        return question, await finding.page(conn, question, orders, span)


async def first(
    pool: Pool, scope: Scope, selection: Selection, orders: Sequence[Order] = NEWEST_FIRST, *, limit: int
) -> list[Run]:
    """The first of the selected runs, in order. Raises `Invalid`."""
    return [placed.run for placed in await page(pool, scope, selection, orders, span=Span(limit))]


async def first_ids(pool: Pool, scope: Scope, selection: Selection, *, limit: int) -> list[UUID]:
    """The ids of the newest of the selected runs, the newest first. Raises `Invalid`."""
    return (await page_of_ids(pool, scope, selection, span=Span(limit))).ids


async def count(pool: Pool, scope: Scope, selection: Selection) -> int:
    """How many runs are selected. Raises `Invalid`."""
    reach = finding.reach_of(scope, selection.project_id)
    if not reach.projects:
        return 0
    async with finding.one_view(pool) as conn:
        return await finding.count(conn, await finding.question(conn, scope, reach, selection.conditions()))


@dataclass(frozen=True, slots=True)
class Beginning:
    """A start that may be made: its parent and its project were found, and who asks may start runs there."""

    asked: Start
    project_id: UUID
    account_id: UUID


# Runs with everything that they start with, when their experiments are there and their ids are new. Params and tags say
# which of the runs they are of by its place. Their keys, which hold no line break, are sent as one text, and so are the
# texts of params: asyncpg asks of each entry of an array whether it is an array itself.
BEGIN = """
    with made as (
        insert into run
            (id, project_id, experiment_id, parent_id, name, created_by, started_at, request_sha256, group_name)
        select given.id, project.id, experiment.id, given.parent_id, given.name, given.created_by, given.started_at,
            given.request_sha256, given.group_name
        from unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::uuid[], $8::timestamptz[],
            $9::bytea[], $10::text[]
        ) as given (
            id, project_id, project, experiment, parent_id, name, created_by, started_at, request_sha256, group_name
        )
        join project on project.id = given.project_id and project.name = given.project
        join experiment on experiment.project_id = project.id and experiment.name = given.experiment
        order by given.id
        on conflict (id) do nothing
        returning id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
            finished_at, group_name, ancestor_ids
    ), with_attempts as (
        insert into attempt (run_id, number, id, started_by)
        select id, attempt, id, created_by from made
    ), with_params as (
        insert into param (run_id, project_id, attempt, key, type, text, number)
        select ($1::uuid[])[place], ($2::uuid[])[place], 1, key, type, text,
            case when type in ('INT', 'FLOAT') then text::float8 end
        from unnest(
            $11::integer[], string_to_array($12, E'\\n'), string_to_array($13, E'\\n'),
            (string_to_array($14, $15))[2:]
        ) as given (place, key, type, text)
        where ($1::uuid[])[place] = any (array(select id from made))
    ), with_tags as (
        insert into tag (run_id, project_id, key, value, changed_by)
        select ($1::uuid[])[place], ($2::uuid[])[place], key, value, ($7::uuid[])[place]
        from unnest($16::integer[], string_to_array($17, E'\\n'), $18::text[]) as given (place, key, value)
        where ($1::uuid[])[place] = any (array(select id from made))
    ), with_sources as (
        insert into source (run_id, attempt, commit_id, branch, remote, is_dirty, entry_point, argv, patch_digest)
        select given.run_id, 1, told.*
        from unnest($19::uuid[], $20::text[]) as given (run_id, source)
        cross join json_to_record(given.source::json) as told (
            commit_id text, branch text, remote text, is_dirty boolean, entry_point text, argv text[],
            patch_digest bytea
        )
        where given.run_id = any (array(select id from made))
    ), with_environments as (
        insert into environment
            (run_id, attempt, python, platform, hostname, cpu_count, memory_bytes, gpus, packages)
        select given.run_id, 1, told.*
        from unnest($21::uuid[], $22::text[]) as given (run_id, environment)
        cross join json_to_record(given.environment::json) as told (
            python text, platform text, hostname text, cpu_count integer, memory_bytes bigint, gpus text[],
            packages jsonb
        )
        where given.run_id = any (array(select id from made))
    )
    select id, project_id, experiment_id, parent_id, name, status, attempt, created_by, created_at, started_at,
        finished_at, group_name, ancestor_ids
    from made
"""


async def begin(conn: Conn, beginnings: Sequence[Beginning]) -> list[Run | None]:
    """The new runs, in the order given, all or none; None for one whose id is known or whose experiment is missing."""
    by_id: dict[UUID, Beginning] = {}
    for one in beginnings:
        by_id.setdefault(one.asked.id, one)
    asked = [one.asked for one in by_id.values()]
    rows = await conn.fetch(
        BEGIN,
        list(by_id),
        [one.project_id for one in by_id.values()],
        [one.project for one in asked],
        [one.experiment for one in asked],
        [one.parent_id for one in asked],
        [one.name for one in asked],
        [one.account_id for one in by_id.values()],
        [one.started_at for one in asked],
        [one.digest() for one in asked],
        [one.group_name for one in asked],
        [place for place, one in enumerate(asked, 1) for _ in one.params],
        "\n".join([param.key for one in asked for param in one.params]),
        "\n".join([param.type for one in asked for param in one.params]),
        *_strung([param.text for one in asked for param in one.params]),
        [place for place, one in enumerate(asked, 1) for _ in one.tags],
        "\n".join([key for one in asked for key in one.tags]),
        [value for one in asked for value in one.tags.values()],
        [one.id for one in asked if one.source],
        [attempts.as_json(one.source) for one in asked if one.source],
        [one.id for one in asked if one.environment],
        [attempts.as_json(one.environment) for one in asked if one.environment],
    )
    made = {row["id"]: _run(row) for row in rows}
    return [made.get(one.asked.id) if by_id[one.asked.id] is one else None for one in beginnings]


def _strung(strings: Sequence[str]) -> tuple[str, str]:
    """One text with each of these behind a separator, and the separator, which is in none of them."""
    separator = "\n"
    text = "".join([separator + each for each in strings])
    while text.count(separator) > len(strings):
        separator = uuid4().hex
        text = "".join([separator + each for each in strings])
    return text, separator


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
            if len(parent.ancestor_ids) >= DEPTH_MAX:
                raise Invalid(
                    f"run {asked.id} would have {DEPTH_MAX + 1} runs above it; there may be {DEPTH_MAX}",
                    path="input.parentId",
                    hint="give it a run further up as its parent",
                )
        await experiments.ensure(conn, scope.account_id, project.id, asked.experiment, path="input.experiment")
        [run] = await begin(conn, [Beginning(asked, project.id, scope.account_id)])
        if run is not None:
            return run, True
        await _require_same_request(conn, scope, asked)
        return await get(conn, scope, Action.READ, asked.id), False


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
        run.created_by, run.created_at, run.started_at, run.finished_at, run.group_name, run.ancestor_ids,
        attempt.stop_requested_at, attempt.stop_requested_by, attempt.stop_reason
"""


async def heartbeat(pool: Pool, scope: Scope, run_id: UUID) -> tuple[Run, StopRequest | None]:
    """Note that the run is alive, and hear whether it is to stop; a lost one is running again.

    Raises `NotFound`, `Forbidden`, `RunSealed`.
    """
    row = await pool.fetchrow(HEARTBEAT, run_id, *scope.reach)
    if row is not None:
        return _run(row), attempts.stop_request(row)
    run = await get(pool, scope, Action.APPEND, run_id)
    raise RunSealed(f"run {run_id} has ended", status=run.status, path="input.runId")


REQUEST_STOP = """
    update attempt
    set stop_requested_at = now(), stop_requested_by = $2, stop_reason = $3
    from run
    where run.id = $1 and attempt.run_id = run.id and attempt.number = run.attempt
        and attempt.finished_at is null and attempt.stop_requested_at is null
    returning attempt.stop_requested_at, attempt.stop_requested_by, attempt.stop_reason
"""


async def request_stop(pool: Pool, scope: Scope, run_id: UUID, reason: str | None) -> tuple[Run, StopRequest, bool]:
    """The run, the request that its newest attempt ends, and whether it was made now: the first one stands.

    Raises `NotFound`, `Forbidden`, `RunSealed` when the run has ended, `Unavailable` while it is being resumed.
    """
    run = await get(pool, scope, Action.STOP, run_id)
    row = await pool.fetchrow(REQUEST_STOP, run_id, scope.account_id, reason)
    if row is not None and (made := attempts.stop_request(row)) is not None:
        return run, made, True
    newest = (await attempts.of_runs(pool, scope, [run_id]))[run_id][-1]
    if newest.finished_at is not None:
        raise RunSealed(f"run {run_id} has ended: it is {newest.status}", status=newest.status, path="input.runId")
    if newest.stop_request is None:
        raise Unavailable(f"run {run_id} is being resumed", hint="ask again")
    return run, newest.stop_request, False


@dataclass(frozen=True, slots=True)
class Ending:
    """An end that may be made: who asks may append to the run."""

    run_id: UUID
    status: FinalStatus
    client_finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended; `is_settled` when all its artifacts are READY."""

    run: Run
    is_settled: bool


# The attempts are locked in the order in which others lock them, so that no two wait in a circle.
END = """
    with open as materialized (
        select attempt.run_id, attempt.number
        from run
        join attempt on attempt.run_id = run.id and attempt.number = run.attempt
        where run.id = any ($1::uuid[]) and attempt.finished_at is null
        order by attempt.run_id
        for no key update of attempt
    )
    update attempt
    set status = given.status, finished_at = now(), client_finished_at = given.client_finished_at
    from open
    join unnest($1::uuid[], $2::text[], $3::timestamptz[]) as given (run_id, status, client_finished_at)
        on given.run_id = open.run_id
    join run on run.id = open.run_id
    where attempt.run_id = open.run_id and attempt.number = open.number
    returning run.id, run.project_id, run.experiment_id, run.parent_id, run.name, attempt.status,
        attempt.number as attempt, run.created_by, run.created_at, run.started_at, attempt.finished_at,
        run.group_name, run.ancestor_ids,
        not exists (select from artifact where artifact.run_id = run.id and artifact.state <> 'READY') as is_settled
"""


async def end(conn: Conn, endings: Sequence[Ending]) -> list[Ended | None]:
    """The runs that end now, in the order given; None for one whose newest attempt has ended before."""
    by_id: dict[UUID, Ending] = {}
    for one in endings:
        by_id.setdefault(one.run_id, one)
    rows = await conn.fetch(
        END,
        list(by_id),
        [one.status for one in by_id.values()],
        [one.client_finished_at for one in by_id.values()],
    )
    found = {row["id"]: ended(row) for row in rows}
    return [found.get(one.run_id) if by_id[one.run_id] is one else None for one in endings]


def ended(row: asyncpg.Record) -> Ended:
    """The run of a row that says how it ended."""
    return Ended(_run(row), row["is_settled"])


async def finish(
    pool: Pool, scope: Scope, run_id: UUID, status: FinalStatus, client_finished_at: datetime | None
) -> Ended:
    """End the newest attempt; from now on it is a fixed record. Ending it again the same way changes nothing.

    Raises `NotFound`, `Forbidden`, `RunSealed` when it ended in another way.
    """
    await get(pool, scope, Action.APPEND, run_id)
    [now] = await end(pool, [Ending(run_id, status, client_finished_at)])
    if now is not None:
        return now
    run = await get(pool, scope, Action.READ, run_id)
    if run.status.value != status.value:
        raise RunSealed(f"run {run_id} has ended as {run.status}", status=run.status, path="input.status")
    return Ended(run, is_settled=False)


# Who is beating or ending right now is not lost, and nobody waits for anybody.
MARK_LOST = """
    with silent as materialized (
        select run_id, number
        from attempt
        where status = 'RUNNING' and heartbeat_at < now() - make_interval(secs => $1)
        order by run_id
        for no key update skip locked
    )
    update attempt
    set status = 'LOST'
    from silent
    where attempt.run_id = silent.run_id and attempt.number = silent.number
"""


async def mark_lost(conn: Conn, older_than_s: float) -> int:
    """How many running attempts are LOST now, because their last heartbeat is older than this."""
    return int((await conn.execute(MARK_LOST, older_than_s)).removeprefix("UPDATE "))


def _run(row: asyncpg.Record) -> Run:
    return Run(
        row["id"],
        row["project_id"],
        row["experiment_id"],
        row["parent_id"],
        row["name"],
        STATUSES[row["status"]],
        row["attempt"],
        row["created_by"],
        row["created_at"],
        row["started_at"],
        row["finished_at"],
        row["group_name"],
        row["ancestor_ids"],
    )
