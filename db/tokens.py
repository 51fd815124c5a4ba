"""Tokens that accounts make for themselves: none can do more than the one that made it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from db import access, projects, texts
from db.access import Action, Limits, Role, Scope
from db.errors import Forbidden, Invalid, NotFound
from db.pool import Conn, Pool

DAYS_MAX: Final = 365
PER_ACCOUNT_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Token:
    """A row of `token`, but for its secret. One that the server made has no name and may have no end."""

    id: str
    name: str
    limits: Limits
    created_at: datetime
    last_used_at: datetime | None


OF_ACCOUNT = """
    select id, name, project_id, role, expires_at, created_at, last_used_at
    from token
    where account_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())
    order by created_at desc, id desc
"""


async def of_viewer(conn: Conn, scope: Scope) -> list[Token]:
    """The viewer's live tokens that can do no more than the one that asks, and that one; the newest first."""
    rows = await conn.fetch(OF_ACCOUNT, scope.account_id)
    return [token for token in map(_token, rows) if token.id == scope.token_id or _within(scope, token.limits)]


def _token(row: asyncpg.Record) -> Token:
    role = Role(row["role"]) if row["role"] else None
    limits = Limits(row["project_id"], role, row["expires_at"])
    return Token(row["id"], row["name"], limits, row["created_at"], row["last_used_at"])


def _within(scope: Scope, limits: Limits) -> bool:
    return scope.limits is None or scope.limits.allow(limits)


def end(days: int) -> datetime:
    """When a token ends that is made now for so many days. Raises `Invalid`."""
    if not 1 <= days <= DAYS_MAX:
        raise Invalid(f"input.days is {days}", path="input.days", limit=f"1 to {DAYS_MAX} days")
    return datetime.now(UTC) + timedelta(days=days)


async def create(
    pool: Pool, scope: Scope, name: str, *, project_id: UUID | None, role: Role | None, days: int
) -> tuple[Token, str]:
    """A new token of the viewer, and its secret. Raises `Invalid`, `NotFound`, `Forbidden`.

    What is left open is as in the token that asks.
    """
    texts.name(name, "input.name")
    own = scope.limits or Limits(None, None, None)
    ends = [end(days), *([own.expires_at] if own.expires_at else [])]
    limits = Limits(project_id or own.project_id, role or own.role, min(ends))
    async with pool.acquire() as conn, conn.transaction():
        if project_id is not None:
            await projects.get(conn, scope, Action.READ, id=project_id)
        if not own.allow(limits):
            raise Forbidden("a token cannot make one that may do more", hint="use a token without limits")
        if len(await conn.fetch(OF_ACCOUNT, scope.account_id)) >= PER_ACCOUNT_MAX:
            raise Invalid("you have too many tokens", limit=f"{PER_ACCOUNT_MAX} tokens", hint="revoke one first")
        secret = await access.create_token(
            conn,
            scope.account_id,
            project_id=limits.project_id,
            role=limits.role,
            name=name,
            expires_at=limits.expires_at,
        )
        made = await of_viewer(conn, scope)
    return next(token for token in made if token.id == secret.split("_")[1]), secret


async def revoke(pool: Pool, scope: Scope, token_id: str) -> None:
    """The token stops working, as `access.revoke_token` says. Raises `NotFound`, also for one that can do more."""
    async with pool.acquire() as conn, conn.transaction():
        if not any(token.id == token_id for token in await of_viewer(conn, scope)):
            raise NotFound("you have no such token", path="id")
        await access.revoke_token(conn, token_id)
