"""Saved views: what somebody looked at, by a name; members who read a project see all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from db import access, experiments, ids, projects, texts
from db.access import Action, Scope
from db.errors import Invalid, NotFound
from db.pool import Conn, Pool

SEARCH_BYTES_MAX: Final = 16_384
PER_PROJECT_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class SavedView:
    """A row of `saved_view`; `experiment_id` is None when it is of the whole project."""

    id: UUID
    project_id: UUID
    experiment_id: UUID | None
    name: str
    search: str
    created_by: UUID
    created_at: datetime


BY_IDS = """
    select id, project_id, experiment_id, name, search, created_by, created_at
    from saved_view
    where id = any($1::uuid[]) and project_id = any($2::uuid[])
"""


async def by_ids(conn: Conn, scope: Scope, view_ids: Sequence[UUID]) -> list[SavedView | None]:
    """Views in the order asked; None where there is none to see."""
    found = {row["id"]: SavedView(**row) for row in await conn.fetch(BY_IDS, view_ids, scope.readable)}
    return [found.get(view_id) for view_id in view_ids]


PAGE = """
    select id, project_id, experiment_id, name, search, created_by, created_at
    from saved_view
    where project_id = any($1::uuid[])
        and ($2::uuid is null or project_id = $2)
        and ($3::uuid is null or experiment_id = $3)
        and ($4::timestamptz is null or (created_at, id) < ($4, $5::uuid))
    order by created_at desc, id desc
    limit $6
"""


async def page(
    conn: Conn,
    scope: Scope,
    project_id: UUID | None,
    experiment_id: UUID | None,
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[SavedView]:
    """The newest first, strictly after the position `after` = (created_at, id)."""
    created_at, view_id = after or (None, None)
    rows = await conn.fetch(PAGE, scope.readable, project_id, experiment_id, created_at, view_id, limit)
    return [SavedView(**row) for row in rows]


COUNT = """
    select count(*)
    from saved_view
    where project_id = any($1::uuid[]) and ($2::uuid is null or project_id = $2)
        and ($3::uuid is null or experiment_id = $3)
"""


async def count(conn: Conn, scope: Scope, project_id: UUID | None, experiment_id: UUID | None) -> int:
    """How many views there are to page through."""
    return int(await conn.fetchval(COUNT, scope.readable, project_id, experiment_id))


INSERT = """
    insert into saved_view (id, project_id, experiment_id, name, search, created_by)
    values ($1, $2, $3, $4, $5, $6)
    returning id, project_id, experiment_id, name, search, created_by, created_at
"""


async def save(
    pool: Pool, scope: Scope, name: str, search: str, *, project_id: UUID | None, experiment_id: UUID | None
) -> SavedView:
    """A new view of the experiment, or else of the project. Raises `Invalid`, `NotFound`, `Forbidden`."""
    texts.name(name, "input.name")
    texts.value(search, "input.search", SEARCH_BYTES_MAX)
    async with pool.acquire() as conn, conn.transaction():
        if experiment_id is not None:
            [experiment] = await experiments.by_ids(conn, scope, [experiment_id])
            if experiment is None:
                raise NotFound(f"there is no experiment {experiment_id}", path="input.experimentId")
            project_id = experiment.project_id
        project = await projects.get(conn, scope, Action.SAVE_VIEW, id=project_id)
        row = await conn.fetchrow(INSERT, ids.new(), project.id, experiment_id, name, search, scope.account_id)
        assert row is not None
        total = await count(conn, scope, project.id, None)
        if total > PER_PROJECT_MAX:
            raise Invalid(f"the project would have {total} views", limit=f"{PER_PROJECT_MAX} views per project")
    return SavedView(**row)


DELETE = """
    delete from saved_view where id = $1
"""


async def delete(pool: Pool, scope: Scope, view_id: UUID) -> SavedView:
    """The view that was deleted; its link leads nowhere then. Raises `NotFound`, `Forbidden`."""
    async with pool.acquire() as conn, conn.transaction():
        [view] = await by_ids(conn, scope, [view_id])
        if view is None:
            raise NotFound(f"there is no saved view {view_id}", path="id")
        access.require(scope, Action.DELETE_VIEW, f"saved view {view_id}", view.project_id, view.created_by)
        await conn.execute(DELETE, view_id)
    return view
