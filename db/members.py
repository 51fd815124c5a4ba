"""Members of projects: who may do what there. Owners decide, and one always stays."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db import access, projects
from db.access import Action, Role, Scope
from db.errors import NotFound
from db.pool import Conn, Pool
from db.projects import Project


@dataclass(frozen=True, slots=True)
class Member:
    """A row of `membership`."""

    account_id: UUID
    role: Role
    granted_at: datetime


OF_PROJECT = """
    select account.id, membership.role, membership.granted_at
    from membership
    join account on account.id = membership.account_id
    where membership.project_id = $1
        and (membership.project_id = any($2::uuid[]) or (membership.project_id = any($3::uuid[]) and account.id = $4))
    order by account.name
"""


async def of_project(conn: Conn, scope: Scope, project_id: UUID) -> list[Member]:
    """By name. A logger sees itself alone."""
    rows = await conn.fetch(OF_PROJECT, project_id, *scope.sight)
    return [Member(row["id"], Role(row["role"]), row["granted_at"]) for row in rows]


ACCOUNT = """
    select id from account where name = $1 and disabled_at is null
"""


async def set(pool: Pool, scope: Scope, project_id: UUID, account: str, role: Role) -> Project:
    """Let the account of this name into the project, or give it another role.

    Raises `NotFound`, `Forbidden`, and `Conflict` when no owner would be left.
    """
    async with pool.acquire() as conn, conn.transaction():
        project = await projects.get(conn, scope, Action.MANAGE, id=project_id)
        account_id = await conn.fetchval(ACCOUNT, account)
        if account_id is None:
            raise NotFound(f"there is no account {account!r}", path="input.account")
        await access.grant(conn, project.id, account_id, role)
    return project


REMOVE = """
    delete from membership where project_id = $1 and account_id = $2
"""


async def remove(pool: Pool, scope: Scope, project_id: UUID, account_id: UUID) -> Project:
    """The account has no part in the project any more; what it made stays.

    Raises `NotFound`, `Forbidden`, and `Conflict` when no owner would be left.
    """
    async with pool.acquire() as conn, conn.transaction():
        project = await projects.get(conn, scope, Action.MANAGE, id=project_id)
        if await conn.execute(REMOVE, project.id, account_id) == "DELETE 0":
            raise NotFound(f"the project has no member {account_id}", path="input.accountId")
    return project
