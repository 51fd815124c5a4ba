"""Projects: the unit of access and storage."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db import access, ids, texts
from db.access import Action, Role, Scope
from db.errors import Forbidden, Invalid, NotFound
from db.pool import Conn, Pool

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?")
NAME_LIMIT = "1 to 100 of a-z 0-9 . _ -, beginning and ending with a letter or digit"
DESCRIPTION_CHARACTERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Project:
    """A row of `project`."""

    id: UUID
    name: str
    description: str
    created_by: UUID
    created_at: datetime


BY_IDS = """
    select id, name, description, created_by, created_at
    from project
    where id = any($1::uuid[]) and id = any($2::uuid[])
"""


async def by_ids(conn: Conn, scope: Scope, project_ids: Sequence[UUID]) -> list[Project | None]:
    """Projects in the order asked; None where there is none to see."""
    rows = await conn.fetch(BY_IDS, project_ids, list(scope.roles))
    found = {row["id"]: Project(**row) for row in rows}
    return [found.get(project_id) for project_id in project_ids]


BY_NAME = """
    select id, name, description, created_by, created_at
    from project
    where name = $1 and id = any($2::uuid[])
"""


async def by_name(conn: Conn, scope: Scope, name: str) -> Project | None:
    """The project of this name; None when there is none to see."""
    row = await conn.fetchrow(BY_NAME, name, list(scope.roles))
    return None if row is None else Project(**row)


async def get(conn: Conn, scope: Scope, action: Action, *, id: UUID | None = None, name: str | None = None) -> Project:
    """The project of this id or name. Raises `NotFound`, or `Forbidden` when `action` is not allowed in it."""
    if id is not None:
        [project] = await by_ids(conn, scope, [id])
    else:
        project = await by_name(conn, scope, name or "")
    if project is None:
        raise NotFound(f"there is no project {id or name!r}", hint="createProject makes one")
    access.require(scope, action, f"project {project.name!r}", project.id)
    return project


PAGE = """
    select id, name, description, created_by, created_at
    from project
    where id = any($1::uuid[]) and ($2::text is null or name > $2)
    order by name
    limit $3
"""


async def page(conn: Conn, scope: Scope, *, after: str | None, limit: int) -> list[Project]:
    """By name, strictly after the name `after`."""
    return [Project(**row) for row in await conn.fetch(PAGE, list(scope.roles), after, limit)]


INSERT = """
    insert into project (id, name, description, created_by)
    values ($1, $2, $3, $4)
    returning id, name, description, created_by, created_at
"""


async def insert(conn: Conn, account_id: UUID, name: str, description: str) -> Project:
    """A new project owned by the account. Raises `NameTaken`."""
    row = await conn.fetchrow(INSERT, ids.new(), name, description, account_id)
    assert row is not None
    await access.grant(conn, row["id"], account_id, Role.OWNER)
    return Project(**row)


async def create(pool: Pool, scope: Scope, name: str, description: str) -> Project:
    """A new project owned by the viewer. Raises `Invalid`, `NameTaken`, or `Forbidden` for a narrowed token."""
    if not NAME.fullmatch(name):
        raise Invalid("name cannot name a project", path="input.name", limit=NAME_LIMIT)
    checked_description(description)
    if not scope.may_create_projects:
        raise Forbidden("this token is limited to a project or a role", hint="use a token without limits")
    async with pool.acquire() as conn, conn.transaction():
        return await insert(conn, scope.account_id, name, description)


def checked_description(description: str) -> str:
    """`description` when it can be stored. Raises `Invalid`."""
    texts.storable(description, "input.description")
    if len(description) > DESCRIPTION_CHARACTERS_MAX:
        raise Invalid(
            f"input.description has {len(description)} characters",
            path="input.description",
            limit=f"{DESCRIPTION_CHARACTERS_MAX} characters",
        )
    return description
