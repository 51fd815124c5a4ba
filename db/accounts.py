"""Accounts as those see them who manage the instance: made, disabled, and given new tokens. None is ever deleted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from db import access, projects, texts, tokens
from db.access import Action, Role, Scope
from db.errors import Conflict, NotFound
from db.pool import Conn, Pool

GIVEN: Final = "given by an administrator"  # the name of a token that its account did not make itself


@dataclass(frozen=True, slots=True)
class ManagedAccount:
    """A row of `account`, and when one of its tokens was last used."""

    id: UUID
    name: str
    is_admin: bool
    created_at: datetime
    disabled_at: datetime | None
    last_used_at: datetime | None


SELECT = """
    select id, name, is_admin, created_at, disabled_at,
        (select max(last_used_at) from token where token.account_id = account.id) as last_used_at
    from account
"""

PAGE = f"""
    {SELECT}
    where ($1::text is null or name > $1) and strpos(lower(name), lower($2)) > 0
    order by name
    limit $3
"""


async def page(conn: Conn, scope: Scope, search: str, *, after: str | None, limit: int) -> list[ManagedAccount]:
    """By name, strictly after the name `after`; only those with `search` in their name. Raises `Forbidden`."""
    access.require_admin(scope, "see all accounts")
    return [ManagedAccount(**row) for row in await conn.fetch(PAGE, after, search, limit)]


COUNT = """
    select count(*) from account where strpos(lower(name), lower($1)) > 0
"""


async def count(conn: Conn, scope: Scope, search: str) -> int:
    """How many `page` has in all. Raises `Forbidden`."""
    access.require_admin(scope, "see all accounts")
    counted: int = await conn.fetchval(COUNT, search)
    return counted


BY_ID = f"""
    {SELECT}
    where id = $1
"""


async def _get(conn: Conn, account_id: UUID) -> ManagedAccount:
    row = await conn.fetchrow(BY_ID, account_id)
    if row is None:
        raise NotFound(f"there is no account {account_id}", path="input.accountId")
    return ManagedAccount(**row)


async def create(
    pool: Pool,
    scope: Scope,
    name: str,
    *,
    is_admin: bool,
    days: int,
    project_id: UUID | None,
    project: str | None,
    role: Role,
) -> tuple[ManagedAccount, str]:
    """A new account and its first token, which works for so many days; it has this role in a project, if one is given.

    Raises `Forbidden`, `Invalid`, `NameTaken`, and `NotFound` for a project that the viewer does not see.
    """
    access.require_admin(scope, "make accounts")
    texts.name(name, "input.name")
    expires_at = tokens.end(days)
    async with pool.acquire() as conn, conn.transaction():
        account_id = await access.create_account(conn, name, is_admin=is_admin)
        if project_id is not None or project is not None:
            found = await projects.get(conn, scope, Action.MANAGE, id=project_id, name=project)
            await access.grant(conn, found.id, account_id, role)
        secret = await access.create_token(conn, account_id, name=GIVEN, expires_at=expires_at)
        return await _get(conn, account_id), secret


SET = """
    update account
    set name = coalesce($2, name),
        is_admin = coalesce($3, is_admin),
        disabled_at = case when $4 then coalesce(disabled_at, now()) when not $4 then null else disabled_at end
    where id = $1
"""


async def set(
    pool: Pool, scope: Scope, account_id: UUID, *, name: str | None, is_admin: bool | None, is_disabled: bool | None
) -> ManagedAccount:
    """Call the account so, let it manage the instance or not, come in or not; None leaves it as it is.

    Raises `Forbidden`, `NotFound`, `Invalid`, `NameTaken`, and `Conflict` when nobody would manage the instance.
    """
    access.require_admin(scope, "change accounts")
    if name is not None:
        texts.name(name, "input.name")
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(SET, account_id, name, is_admin, is_disabled)
        return await _get(conn, account_id)


REVOKE_ALL = """
    update token set revoked_at = now() where account_id = $1 and revoked_at is null
"""


async def replace_tokens(pool: Pool, scope: Scope, account_id: UUID, days: int) -> tuple[ManagedAccount, str]:
    """A new token of the account, which works for so many days; all that it had stop working.

    Raises `Forbidden`, `Invalid`, `NotFound`, and `Conflict` when the account is disabled.
    """
    access.require_admin(scope, "replace tokens of others")
    expires_at = tokens.end(days)
    async with pool.acquire() as conn, conn.transaction():
        account = await _get(conn, account_id)
        if account.disabled_at is not None:
            raise Conflict(f"the account {account.name!r} is disabled", path="input.accountId", hint="let it in first")
        await conn.execute(REVOKE_ALL, account_id)
        return account, await access.create_token(conn, account_id, name=GIVEN, expires_at=expires_at)
