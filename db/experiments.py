"""Experiments: named collections of runs in a project."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db import ids, texts
from db.access import Scope
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


PAGE = """
    select id, project_id, name, description, created_by, created_at
    from experiment
    where project_id = any($1::uuid[])
        and ($2::uuid is null or project_id = $2)
        and ($3::text is null or (name, id) > ($3, $4::uuid))
    order by name, id
    limit $5
"""


async def page(
    conn: Conn, scope: Scope, project_id: UUID | None, *, after: tuple[str, UUID] | None, limit: int
) -> list[Experiment]:
    """By name, strictly after the position `after` = (name, id)."""
    name, experiment_id = after or (None, None)
    rows = await conn.fetch(PAGE, list(scope.roles), project_id, name, experiment_id, limit)
    return [Experiment(**row) for row in rows]


COUNT = """
    select count(*)
    from experiment
    where project_id = any($1::uuid[]) and ($2::uuid is null or project_id = $2)
"""


async def count(conn: Conn, scope: Scope, project_id: UUID | None) -> int:
    """How many experiments there are to page through."""
    return int(await conn.fetchval(COUNT, list(scope.roles), project_id))


INSERT = """
    insert into experiment (id, project_id, name, description, created_by)
    values ($1, $2, $3, $4, $5)
    on conflict (project_id, name) do nothing
    returning id, project_id, name, description, created_by, created_at
"""

BY_NAME = """
    select id, project_id, name, description, created_by, created_at
    from experiment
    where project_id = $1 and name = $2
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
