"""Who asks, and what that viewer may do: the one place where permission is decided."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from secrets import token_hex, token_urlsafe
from uuid import UUID

import asyncpg

from db import ids
from db.errors import Forbidden, NotFound
from db.pool import Conn


class Role(StrEnum):
    """What a member may do in a project.

    VIEWER reads all. LOGGER starts runs, appends to its own and reads those back. EDITOR reads and writes all.
    OWNER manages the project too.
    """

    VIEWER = "VIEWER"
    LOGGER = "LOGGER"
    EDITOR = "EDITOR"
    OWNER = "OWNER"


class Action(StrEnum):
    """What is asked for."""

    READ = "read"
    START = "start a run"
    APPEND = "append to this run"
    ANNOTATE = "annotate this run"
    STOP = "stop this run"
    DECLARE = "declare the goal of a metric"
    SAVE_VIEW = "save a view"
    DELETE_VIEW = "delete this view"
    MANAGE = "manage the members"


READERS = frozenset({Role.VIEWER, Role.EDITOR, Role.OWNER})
WRITERS = frozenset({Role.EDITOR, Role.OWNER})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a token may do less than its account: in one project only, at most as this role, until then.

    Each is None for no such limit.
    """

    project_id: UUID | None
    role: Role | None
    expires_at: datetime | None

    def allow(self, other: "Limits") -> bool:
        """Whether a token with the limits `other` can do nothing that one with these cannot."""
        return (
            self.project_id in (None, other.project_id)
            and (self.role is None or (other.role is not None and _capped(other.role, self.role) is other.role))
            and (self.expires_at is None or (other.expires_at is not None and other.expires_at <= self.expires_at))
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """The viewer and the projects it belongs to; every query function takes one."""

    account_id: UUID
    account_name: str
    is_admin: bool
    roles: Mapping[UUID, Role]
    may_create_projects: bool = True  # no for a token that is limited to a project or a role
    token_id: str = ""
    limits: "Limits | None" = None  # of the token; None without any

    @property
    def readable(self) -> list[UUID]:
        """Projects in which the viewer sees everything."""
        return [project for project, role in self.roles.items() if role in READERS]

    @property
    def own(self) -> list[UUID]:
        """Projects in which the viewer sees only what it made itself."""
        return [project for project, role in self.roles.items() if role == Role.LOGGER]

    @property
    def sight(self) -> tuple[list[UUID], list[UUID], UUID]:
        """The last arguments of `is_visible(project, owner, readable, own, account)`."""
        return self.readable, self.own, self.account_id

    @property
    def reach(self) -> tuple[list[UUID], list[UUID], UUID]:
        """The same for the runs that the viewer may append to, as `allows` says."""
        return [project for project, role in self.roles.items() if role in WRITERS], self.own, self.account_id


def allows(scope: Scope, action: Action, project_id: UUID, owner_id: UUID | None = None) -> bool:
    """The policy. `owner_id` is who made the object; None when the question is about the project itself."""
    role = scope.roles.get(project_id)
    if role is None:
        return False
    if action is Action.READ:
        return role in READERS or owner_id is None or owner_id == scope.account_id
    if action is Action.START:
        return role in WRITERS or role is Role.LOGGER
    if action is Action.MANAGE:
        return role is Role.OWNER
    if action is Action.DELETE_VIEW:
        return role is Role.OWNER or (role is Role.EDITOR and owner_id == scope.account_id)
    return role in WRITERS or (role is Role.LOGGER and owner_id == scope.account_id)


def projects_allowing(scope: Scope, action: Action) -> list[UUID]:
    """Where the viewer may do this."""
    return [project for project in scope.roles if allows(scope, action, project)]


def require(
    scope: Scope, action: Action, what: str, project_id: UUID, owner_id: UUID | None = None, *, path: str | None = None
) -> None:
    """Raises `NotFound` when the viewer cannot see `what`, `Forbidden` when it sees it but may not do this.

    `path` is where it is named in the request.
    """
    if not allows(scope, Action.READ, project_id, owner_id):
        raise NotFound(f"there is no {what}", path=path)
    if not allows(scope, action, project_id, owner_id):
        role = scope.roles[project_id]
        may = Role.OWNER if role is Role.EDITOR else Role.EDITOR
        raise Forbidden(f"the role {role} may not {action}", hint=f"ask an owner of the project for the role {may}")


def require_admin(scope: Scope, action: str) -> None:
    """Raises `Forbidden` unless the viewer manages the instance, with a token that has no limits."""
    if not scope.is_admin:
        raise Forbidden(f"only those who manage the instance may {action}", hint="ask one of them")


SCOPES = """
    select token.id as token_id, account.id, account.name, account.is_admin, token.secret_sha256,
        coalesce(token.last_used_at > now() - interval '1 minute', false) as is_noted,
        token.project_id as token_project_id, token.role as token_role, token.expires_at,
        array(select membership.project_id from membership
            where membership.account_id = account.id order by membership.project_id) as project_ids,
        array(select membership.role from membership
            where membership.account_id = account.id order by membership.project_id) as roles
    from token
    join account on account.id = token.account_id
    where token.id = any ($1::text[])
        and token.revoked_at is null
        and (token.expires_at is null or token.expires_at > now())
        and account.disabled_at is null
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A live token: what it may do, the SHA-256 of its secret, and whether its use was noted in the last minute."""

    scope: Scope
    secret_sha256: bytes
    is_noted: bool


async def find_token(conn: Conn, token_id: str) -> Found | None:
    """The live token of this id; None when there is none."""
    row = await conn.fetchrow(SCOPES, [token_id])
    return None if row is None else Found(_scope(row), row["secret_sha256"], row["is_noted"])


NOTE_USE = """
    update token set last_used_at = now() where id = $1
"""


async def note_use(conn: Conn, token_id: str) -> None:
    """The token is used now. Where the database can be read but not written, nothing is noted."""
    with contextlib.suppress(asyncpg.PostgresError):
        await conn.execute(NOTE_USE, token_id)


async def scopes_of(conn: Conn, token_ids: Sequence[str]) -> dict[str, Scope]:
    """The scopes of those tokens that are live."""
    return {row["token_id"]: _scope(row) for row in await conn.fetch(SCOPES, token_ids)}


def _scope(row: asyncpg.Record) -> Scope:
    cap = Role(row["token_role"]) if row["token_role"] else None
    is_narrowed = cap is not None or row["token_project_id"] is not None
    roles = {
        project: capped
        for project, role in zip(row["project_ids"], row["roles"], strict=True)
        if row["token_project_id"] in (None, project) and (capped := _capped(Role(role), cap))
    }
    return Scope(
        account_id=row["id"],
        account_name=row["name"],
        is_admin=row["is_admin"] and not is_narrowed,
        roles=roles,
        may_create_projects=not is_narrowed,
        token_id=row["token_id"],
        limits=Limits(row["token_project_id"], cap, row["expires_at"]) if is_narrowed else None,
    )


def _capped(role: Role, cap: Role | None) -> Role | None:
    """What both the member's role and the token's allow; a viewer and a logger have nothing in common."""
    if cap in (None, role):
        return role
    wide = [each for each in (Role.OWNER, Role.EDITOR) if each in (role, cap)]
    if not wide:
        return None
    return cap if role == wide[0] else role


CREATE_ACCOUNT = """
    insert into account (id, name, is_admin) values ($1, $2, $3)
"""


async def create_account(conn: Conn, name: str, *, is_admin: bool = False) -> UUID:
    """A new account's id."""
    account_id = ids.new()
    await conn.execute(CREATE_ACCOUNT, account_id, name, is_admin)
    return account_id


ACCOUNTS = """
    select id, name
    from account
    where id = any($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Account:
    """Who did something: a row of `account`."""

    id: UUID
    name: str


async def accounts(conn: Conn, account_ids: Sequence[UUID]) -> list[Account]:
    """Accounts in the order asked."""
    found = {row["id"]: Account(**row) for row in await conn.fetch(ACCOUNTS, account_ids)}
    return [found[account_id] for account_id in account_ids]


GRANT = """
    insert into membership (project_id, account_id, role) values ($1, $2, $3)
    on conflict (account_id, project_id) do update set role = excluded.role, granted_at = now()
"""


async def grant(conn: Conn, project_id: UUID, account_id: UUID, role: Role) -> None:
    """Make the account a member with this role; an earlier role is replaced."""
    await conn.execute(GRANT, project_id, account_id, role)


CREATE_TOKEN = """
    insert into token (id, account_id, secret_sha256, project_id, role, name, expires_at)
    values ($1, $2, $3, $4, $5, $6, $7)
"""


async def create_token(
    conn: Conn,
    account_id: UUID,
    *,
    project_id: UUID | None = None,
    role: Role | None = None,
    name: str = "",
    expires_at: datetime | None = None,
) -> str:
    """A new token `rs_<id>_<secret>`, shown this once; the secret has 256 random bits and is kept as SHA-256."""
    token_id, secret = token_hex(8), token_urlsafe(32)
    digest = sha256(secret.encode()).digest()
    await conn.execute(CREATE_TOKEN, token_id, account_id, digest, project_id, role, name, expires_at)
    return f"rs_{token_id}_{secret}"


REVOKE_TOKEN = """
    update token set revoked_at = now() where id = $1 and revoked_at is null
"""


async def revoke_token(conn: Conn, token_id: str) -> None:
    """The token stops working at once; revoking it again changes nothing."""
    await conn.execute(REVOKE_TOKEN, token_id)
