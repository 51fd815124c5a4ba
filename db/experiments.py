"""Experiments: named collections of runs in a project."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from db import ids, texts
from db.access import Scope
from db.attempts import RunStatus
from db.pool import Conn


@dataclass(frozen=True, slots=True)
class Experiment:
    """A row of `experiment`."""

    id: UUID
    project_id: UUID
    name: str
    description: str
    created_by: UUID
    created_at: datetime


BY_IDS = """
    select id, project_id, name, description, created_by, created_at
    from experiment
    where id = any($1::uuid[]) and project_id = any($2::uuid[])
"""


async def by_ids(conn: Conn, scope: Scope, experiment_ids: Sequence[UUID]) -> list[Experiment | None]:
    """Experiments in the order asked; None where there is none to see."""
    rows = await conn.fetch(BY_IDS, experiment_ids, list(scope.roles))
    found = {row["id"]: Experiment(**row) for row in rows}
    return [found.get(experiment_id) for experiment_id in experiment_ids]


BY_NAME = """
    select id, project_id, name, description, created_by, created_at
    from experiment
    where project_id = $1 and name = $2
"""


async def by_name(conn: Conn, scope: Scope, project_id: UUID, name: str) -> Experiment | None:
    """The experiment of this name; None when there is none to see."""
    row = await conn.fetchrow(BY_NAME, project_id, name) if project_id in scope.roles else None
    return None if row is None else Experiment(**row)


@dataclass(frozen=True, slots=True)
class Overview:
    """What an experiment has in runs; `last_activity_at` is when one of them was last heard of, None without runs."""

    run_counts: Mapping[RunStatus, int]
    last_activity_at: datetime | None


# A run that is open, or was lost, was last heard of by the heartbeat of its newest attempt.
OVERVIEWS = """
    select run.experiment_id, run.status, count(*) as runs,
        max(coalesce(run.finished_at, attempt.heartbeat_at, run.created_at)) as last_activity_at
    from run
    left join attempt on attempt.run_id = run.id and attempt.number = run.attempt
        and run.status in ('RUNNING', 'LOST')
    where run.experiment_id = any($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
    group by run.experiment_id, run.status
    order by run.experiment_id, array_position(array['RUNNING', 'FINISHED', 'FAILED', 'KILLED', 'LOST'], run.status)
"""


async def overviews(conn: Conn, scope: Scope, experiment_ids: Sequence[UUID]) -> list[Overview]:
    """What is in them, in the order asked; of the runs only those that the viewer sees."""
    counts: dict[UUID, dict[RunStatus, int]] = {each: {} for each in experiment_ids}
    latest: dict[UUID, datetime] = {}
    for row in await conn.fetch(OVERVIEWS, experiment_ids, *scope.sight):
        experiment_id, heard_at = row["experiment_id"], row["last_activity_at"]
        counts[experiment_id][RunStatus(row["status"])] = row["runs"]
        latest[experiment_id] = max(latest.get(experiment_id, heard_at), heard_at)
    return [Overview(counts[each], latest.get(each)) for each in experiment_ids]


class ExperimentOrder(StrEnum):
    """How experiments are listed: by name, or the one whose runs were heard of last first."""

    NAME = "NAME"
    ACTIVITY = "ACTIVITY"


PAGE = """
    select id, project_id, name, description, created_by, created_at
    from experiment
    where project_id = any($1::uuid[])
        and ($2::uuid is null or project_id = $2)
        and strpos(lower(name), lower($3)) > 0
        and ($4::text is null or (name, id) > ($4, $5::uuid))
    order by name, id
    limit $6
"""


async def page(
    conn: Conn,
    scope: Scope,
    project_id: UUID | None,
    *,
    search: str = "",
    after: tuple[str, UUID] | None,
    limit: int,
) -> list[Experiment]:
    """Those whose name has `search` in it, by name, strictly after the position `after` = (name, id)."""
    name, experiment_id = after or (None, None)
    rows = await conn.fetch(PAGE, list(scope.roles), project_id, search, name, experiment_id, limit)
    return [Experiment(**row) for row in rows]


ACTIVE = """
    with heard as (
        select run.experiment_id, max(coalesce(run.finished_at, attempt.heartbeat_at, run.created_at)) as active_at
        from run
        left join attempt on attempt.run_id = run.id and attempt.number = run.attempt
            and run.status in ('RUNNING', 'LOST')
        where run.project_id = any($1::uuid[]) and ($2::uuid is null or run.project_id = $2)
            and is_visible(run.project_id, run.created_by, $3, $4, $5)
        group by run.experiment_id
    ), listed as (
        select experiment.*, coalesce(active_at, created_at) as active_at
        from experiment
        left join heard on heard.experiment_id = experiment.id
        where project_id = any($1::uuid[]) and ($2::uuid is null or project_id = $2)
            and strpos(lower(name), lower($6)) > 0
    )
    select id, project_id, name, description, created_by, created_at, active_at
    from listed
    where $7::timestamptz is null or (active_at, id) < ($7, $8::uuid)
    order by active_at desc, id desc
    limit $9
"""


@dataclass(frozen=True, slots=True)
class Active:
    """An experiment, and when a run of it was last heard of, or else when it was made."""

    experiment: Experiment
    active_at: datetime


async def active(
    conn: Conn,
    scope: Scope,
    project_id: UUID | None,
    *,
    search: str = "",
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Active]:
    """As `page`, by activity, the newest first, strictly after the position `after` = (active_at, id)."""
    active_at, experiment_id = after or (None, None)
    projects = list(scope.roles)
    rows = await conn.fetch(ACTIVE, projects, project_id, *scope.sight, search, active_at, experiment_id, limit)
    return [Active(Experiment(*tuple(row)[:-1]), row["active_at"]) for row in rows]


COUNT = """
    select count(*)
    from experiment
    where project_id = any($1::uuid[]) and ($2::uuid is null or project_id = $2)
        and strpos(lower(name), lower($3)) > 0
"""


async def count(conn: Conn, scope: Scope, project_id: UUID | None, search: str = "") -> int:
    """How many experiments there are to page through."""
    return int(await conn.fetchval(COUNT, list(scope.roles), project_id, search))


INSERT = """
    insert into experiment (id, project_id, name, description, created_by)
    values ($1, $2, $3, $4, $5)
    on conflict (project_id, name) do nothing
    returning id, project_id, name, description, created_by, created_at
"""


async def ensure(
    conn: Conn, account_id: UUID, project_id: UUID, name: str, description: str = "", *, path: str = "input.name"
) -> tuple[Experiment, bool]:
    """The experiment of this name, and whether it was made now. Raises `Invalid`.

    Two callers who race get the same one: the second insert waits for the first, and the select that
    follows it sees what the first committed.
    """
    texts.name(name, path)
    row = await conn.fetchrow(BY_NAME, project_id, name)
    if row is not None:
        return Experiment(**row), False
    row = await conn.fetchrow(INSERT, ids.new(), project_id, name, description, account_id)
    if row is not None:
        return Experiment(**row), True
    row = await conn.fetchrow(BY_NAME, project_id, name)
    assert row is not None
    return Experiment(**row), False
