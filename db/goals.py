"""Goals: whether a project wants a metric small or large. Changeable at any time, every change kept; never guessed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from db import projects, texts
from db.access import Action, Scope
from db.errors import Invalid
from db.pool import Conn, Pool

PER_PROJECT_MAX: Final = 1_000


class Goal(StrEnum):
    """The declared direction of a metric."""

    MINIMIZE = "MINIMIZE"
    MAXIMIZE = "MAXIMIZE"


@dataclass(frozen=True, slots=True)
class MetricGoal:
    """A row of `metric_goal` that has a value."""

    project_id: UUID
    key: str
    goal: Goal
    changed_by: UUID
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `metric_goal_change`; `before` is None for a new goal, `after` for one that was taken back."""

    key: str
    before: Goal | None
    after: Goal | None
    changed_by: UUID
    changed_at: datetime


# What does not change is not written, so that the change and its author stay those of the last real change.
SET = """
    insert into metric_goal (project_id, key, goal, changed_by)
    select $1, $2, $3, $4
    where $3::text is not null or exists (select from metric_goal where project_id = $1 and key = $2)
    on conflict (project_id, key) do update
    set goal = excluded.goal, changed_by = excluded.changed_by, changed_at = now()
    where metric_goal.goal is distinct from excluded.goal
"""


TOTAL = """
    select count(*) from metric_goal where project_id = $1 and goal is not null
"""


async def set(
    pool: Pool, scope: Scope, key: str, goal: Goal | None, *, project_id: UUID | None = None, project: str = ""
) -> projects.Project:
    """Declare the goal of a metric in a project, by id or by name; None takes it back.

    Raises `Invalid`, `NotFound`, `Forbidden`.
    """
    texts.name(key, "input.key")
    async with pool.acquire() as conn, conn.transaction():
        found = await projects.get(conn, scope, Action.DECLARE, id=project_id, name=project)
        await conn.execute(SET, found.id, key, goal, scope.account_id)
        total = int(await conn.fetchval(TOTAL, found.id))
        if total > PER_PROJECT_MAX:
            raise Invalid(
                f"the project would have {total} goals", path="input.key", limit=f"{PER_PROJECT_MAX} goals per project"
            )
    return found


OF_PROJECTS = """
    select project_id, key, goal, changed_by, changed_at
    from metric_goal
    where project_id = any($1::uuid[]) and project_id = any($2::uuid[]) and goal is not null
        and ($3::text[] is null or key = any($3))
    order by key, project_id
"""


async def of_projects(
    conn: Conn, scope: Scope, project_ids: Iterable[UUID], keys: Sequence[str] | None = None
) -> list[MetricGoal]:
    """What these projects declare of these metrics, or of all, by key."""
    rows = await conn.fetch(OF_PROJECTS, list(project_ids), list(scope.roles), keys)
    return [
        MetricGoal(row["project_id"], row["key"], Goal(row["goal"]), row["changed_by"], row["changed_at"])
        for row in rows
    ]


HISTORY = """
    select key, before, after, changed_by, changed_at
    from metric_goal_change
    where project_id = $1 and project_id = any($2::uuid[]) and ($3::text is null or key = $3)
    order by id desc
    limit $4
"""


async def history(conn: Conn, scope: Scope, project_id: UUID, key: str | None, *, limit: int) -> list[Change]:
    """Changes of the goals of a project, of one metric or of all, the newest first."""
    rows = await conn.fetch(HISTORY, project_id, list(scope.roles), key, limit)
    return [
        Change(
            row["key"],
            Goal(row["before"]) if row["before"] else None,
            Goal(row["after"]) if row["after"] else None,
            row["changed_by"],
            row["changed_at"],
        )
        for row in rows
    ]
