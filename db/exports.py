"""Exports: runs written as files for other programs, then kept for some days.

The row is the truth: it says what was asked, and a worker claims it for a while (`next_at`) under a number (`fence`),
of which only the newest counts. An export has no files until all of them are stored.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import orjson

from db import filter_texts, runs
from db.access import READERS, Role, Scope
from db.attempts import RunStatus
from db.errors import Conflict, Invalid, NotFound, QuotaExceeded
from db.pool import Conn, Pool
from db.runs import Selection

T = TypeVar("T")

AT_ONCE_MAX: Final = 3  # of an account


class ExportTable(StrEnum):
    """What an export has a kind of files of."""

    RUNS = "RUNS"
    PARAMS = "PARAMS"
    METRICS = "METRICS"
    POINTS = "POINTS"
    TAGS = "TAGS"
    INPUTS = "INPUTS"
    ARTIFACTS = "ARTIFACTS"
    PACKAGES = "PACKAGES"


class ExportState(StrEnum):
    """QUEUED: it waits for a worker. RUNNING: a worker writes. READY: its files are there, until it is EXPIRED."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    READY = "READY"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


class ExportFailureReason(StrEnum):
    """Why an export is FAILED."""

    FORBIDDEN = "FORBIDDEN"
    TOO_LARGE = "TOO_LARGE"
    TOO_SLOW = "TOO_SLOW"
    POISON = "POISON"


@dataclass(frozen=True, slots=True)
class Asked:
    """What startExport is asked, checked; `request` is how it was said, which is the same when it is asked again."""

    id: UUID
    selection: Selection
    tables: Sequence[ExportTable]
    request: str

    def digest(self) -> bytes:
        """SHA-256 that is equal exactly when the same is asked."""
        return hashlib.sha256(self.request.encode()).digest()


@dataclass(frozen=True, slots=True)
class Export:
    """A row of `export`; `where` is what was asked of the runs, `runs_total` how many these were then."""

    id: UUID
    project_id: UUID
    created_by: UUID
    where: str | None
    tables: list[ExportTable]
    state: ExportState
    runs_total: int
    runs_done: int
    points: int
    failure_reason: ExportFailureReason | None
    failure_message: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class File:
    """A row of `export_file`; the manifest is of no table and has no rows."""

    name: str
    of_table: ExportTable | None
    rows: int | None
    size_bytes: int
    digest: bytes
    object_key: str


def to_json(selection: Selection) -> str:
    """The selection as text, from which `from_json` makes it again; times such as '-7d' are counted from now."""
    content = {
        "projectId": selection.project_id,
        "experimentIds": selection.experiment_ids,
        "runIds": selection.run_ids,
        "statuses": selection.statuses,
        "parentId": selection.parent_id,
        "ancestorId": selection.ancestor_id,
        "where": None if selection.condition is None else filter_texts.to_text(selection.condition),
    }
    given = {name: part for name, part in content.items() if part is not None}
    return orjson.dumps(given, default=str).decode()


def from_json(text: str) -> Selection:
    """The selection in the text. Raises `Invalid` when its filter has become too long."""
    content = orjson.loads(text)

    def part(name: str, read: Callable[[Any], T]) -> T | None:
        return read(content[name]) if name in content else None

    return Selection(
        project_id=part("projectId", UUID),
        experiment_ids=part("experimentIds", _ids),
        run_ids=part("runIds", _ids),
        statuses=part("statuses", lambda statuses: [RunStatus(status) for status in statuses]),
        parent_id=part("parentId", UUID),
        ancestor_id=part("ancestorId", UUID),
        condition=part("where", lambda where: filter_texts.parse(where, "input.select")),
    )


def _ids(texts: Sequence[str]) -> list[UUID]:
    return [UUID(text) for text in texts]


LOCK = """
    select id from account where id = $1 for no key update
"""

INSERT = """
    insert into export (id, project_id, created_by, role, selection, tables, request_sha256, runs_total)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (id) do nothing
"""

OPEN = """
    select count(*) from export where created_by = $1 and state in ('QUEUED', 'RUNNING')
"""


async def start(pool: Pool, scope: Scope, asked: Asked, *, runs_max: int) -> Export:
    """The export, QUEUED from now on. The same request again returns it as it is by then.

    It will hold what the viewer sees of the project, with the role that it has now.
    Raises `NotFound`, `Invalid`, `Conflict`, `QuotaExceeded`.
    """
    known = await _known(pool, scope, asked)
    if known is not None:
        return known
    project_id = asked.selection.project_id
    if project_id is None:
        raise Invalid("an export is of one project", path="input.select.projectId", hint="name the project")
    selection = to_json(asked.selection)
    from_json(selection)
    role = scope.roles.get(project_id)
    if role is None:
        raise NotFound(f"there is no project {project_id}", path="input.select.projectId")
    runs_total = await runs.count(pool, scope, asked.selection)
    if runs_total > runs_max:
        raise Invalid(
            f"the selection has {runs_total} runs",
            path="input.select",
            limit=f"{runs_max} runs in an export",
            hint="select fewer, and start several exports",
        )
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(LOCK, scope.account_id)
        await conn.execute(
            INSERT,
            asked.id,
            project_id,
            scope.account_id,
            role,
            selection,
            asked.tables,
            asked.digest(),
            runs_total,
        )
        open_exports = await conn.fetchval(OPEN, scope.account_id)
        if open_exports > AT_ONCE_MAX:
            raise QuotaExceeded(
                f"{AT_ONCE_MAX} exports of yours are not done yet",
                path="input",
                limit=f"{AT_ONCE_MAX} exports at once",
                hint="wait until one is done",
            )
        started = await _known(conn, scope, asked)
        assert started is not None
        return started


REQUEST = """
    select request_sha256, created_by from export where id = $1
"""


async def _known(conn: Conn, scope: Scope, asked: Asked) -> Export | None:
    """The export when it was asked for before. Raises `Conflict` when that was another one."""
    row = await conn.fetchrow(REQUEST, asked.id)
    if row is None:
        return None
    [export] = await by_ids(conn, scope, [asked.id])
    if export is None or (row["request_sha256"], row["created_by"]) != (asked.digest(), scope.account_id):
        raise Conflict(
            "this export id was used before, for another export", path="input.id", hint="make a new id for a new export"
        )
    return export


# Who sees only its own runs does not see an export that it made when it saw all.
BY_IDS = """
    select id, project_id, created_by, selection ->> 'where' as where, tables, state, runs_total, runs_done, points,
        failure_reason, failure_message, created_at, started_at, finished_at, expires_at
    from export
    where id = any($1::uuid[]) and is_visible(project_id, created_by, $2, $3, $4)
        and (project_id = any($2) or role = 'LOGGER')
"""


async def by_ids(conn: Conn, scope: Scope, export_ids: Sequence[UUID]) -> list[Export | None]:
    """Exports in the order asked; None where there is none to see."""
    rows = await conn.fetch(BY_IDS, export_ids, *scope.sight)
    found = {row["id"]: _export(row) for row in rows}
    return [found.get(export_id) for export_id in export_ids]


PAGE = """
    select id, project_id, created_by, selection ->> 'where' as where, tables, state, runs_total, runs_done, points,
        failure_reason, failure_message, created_at, started_at, finished_at, expires_at
    from export
    where project_id = $1 and is_visible(project_id, created_by, $2, $3, $4)
        and (project_id = any($2) or role = 'LOGGER')
        and ($5::timestamptz is null or (created_at, id) < ($5, $6::uuid))
    order by created_at desc, id desc
    limit $7
"""


async def page(
    conn: Conn, scope: Scope, project_id: UUID, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Export]:
    """Of one project, newest first, strictly after the position `after` = (created_at, id)."""
    created_at, export_id = after or (None, None)
    rows = await conn.fetch(PAGE, project_id, *scope.sight, created_at, export_id, limit)
    return [_export(row) for row in rows]


COUNT = """
    select count(*)
    from export
    where project_id = $1 and is_visible(project_id, created_by, $2, $3, $4)
        and (project_id = any($2) or role = 'LOGGER')
"""


async def count(conn: Conn, scope: Scope, project_id: UUID) -> int:
    """How many exports there are to page through."""
    return int(await conn.fetchval(COUNT, project_id, *scope.sight))


FILES = """
    select export_file.export_id, export_file.name, export_file.of_table, export_file.rows, export_file.size_bytes,
        export_file.digest, export_file.object_key
    from export_file
    join export on export.id = export_file.export_id
    where export_file.export_id = any($1::uuid[])
        and is_visible(export.project_id, export.created_by, $2, $3, $4)
        and (export.project_id = any($2) or export.role = 'LOGGER')
    order by export_file.export_id, export_file.number
"""


async def files(conn: Conn, scope: Scope, export_ids: Sequence[UUID]) -> dict[UUID, list[File]]:
    """The files of each export, in their order; none unless it is READY, or was."""
    found: dict[UUID, list[File]] = {export_id: [] for export_id in export_ids}
    for row in await conn.fetch(FILES, export_ids, *scope.sight):
        export_id, name, of_table, *rest = row
        found[export_id].append(File(name, ExportTable(of_table) if of_table else None, *rest))
    return found


def _export(row: asyncpg.Record) -> Export:
    reason = row["failure_reason"]
    changed: dict[str, Any] = {
        "tables": [ExportTable(table) for table in row["tables"]],
        "state": ExportState(row["state"]),
        "failure_reason": None if reason is None else ExportFailureReason(reason),
    }
    return Export(**{**row, **changed})


@dataclass(frozen=True, slots=True)
class Claim:
    """An export that a worker holds until its lease ends.

    `attempts` counts the claims that did not say how they ended, with this one. `scope` is that of the asker, with the
    role that it had; None when it may no longer see what it saw then.
    """

    id: UUID
    project_id: UUID
    project: str
    selection: Selection
    tables: list[ExportTable]
    runs_total: int
    created_at: datetime
    started_at: datetime
    waited_s: float
    account: str
    scope: Scope | None
    fence: int
    attempts: int


CLAIM = """
    with due as (
        select id
        from export
        where state in ('QUEUED', 'RUNNING') and next_at <= now()
        order by next_at
        limit $1
        for no key update skip locked
    ), claimed as (
        update export
        set state = 'RUNNING', fence = fence + 1, attempts = attempts + 1, started_at = now(), runs_done = 0,
            points = 0, next_at = now() + make_interval(secs => $2)
        from due
        where export.id = due.id
        returning export.*
    )
    select claimed.id, claimed.project_id, project.name as project, claimed.selection, claimed.tables,
        claimed.runs_total, claimed.created_at, claimed.started_at,
        extract(epoch from now() - claimed.created_at)::float8 as waited_s,
        claimed.created_by, account.name as account, account.disabled_at is not null as is_disabled,
        claimed.role as role_then, membership.role as role_now, claimed.fence, claimed.attempts
    from claimed
    join project on project.id = claimed.project_id
    join account on account.id = claimed.created_by
    left join membership on membership.account_id = claimed.created_by
        and membership.project_id = claimed.project_id
"""


async def claim(conn: Conn, limit: int, *, lease_s: float) -> list[Claim]:
    """Up to `limit` exports that wait for a worker, now the caller's for `lease_s` seconds; they begin anew."""
    return [_claim(row) for row in await conn.fetch(CLAIM, limit, lease_s)]


def _claim(row: asyncpg.Record) -> Claim:
    then, now = Role(row["role_then"]), row["role_now"] and Role(row["role_now"])
    is_allowed = now in READERS or (now is Role.LOGGER and then is Role.LOGGER)
    scope = Scope(row["created_by"], row["account"], False, {row["project_id"]: then})
    return Claim(
        row["id"],
        row["project_id"],
        row["project"],
        from_json(row["selection"]),
        [ExportTable(table) for table in row["tables"]],
        row["runs_total"],
        row["created_at"],
        row["started_at"],
        row["waited_s"],
        row["account"],
        scope if is_allowed and not row["is_disabled"] else None,
        row["fence"],
        row["attempts"],
    )


ADVANCE = """
    update export
    set runs_done = $3, points = $4, next_at = now() + make_interval(secs => $5)
    where id = $1 and fence = $2 and state = 'RUNNING'
"""


async def advance(conn: Conn, claimed: Claim, runs_done: int, points: int, *, lease_s: float) -> bool:
    """Say how far it is, and hold the claim for `lease_s` seconds more; False when it is no longer the caller's."""
    return await conn.execute(ADVANCE, claimed.id, claimed.fence, runs_done, points, lease_s) == "UPDATE 1"


RELEASE = """
    update export
    set next_at = now() + make_interval(secs => $3), attempts = attempts - case when $4 then 0 else 1 end
    where id = $1 and fence = $2 and state = 'RUNNING'
"""


async def release(conn: Conn, claimed: Claim, *, delay_s: float, counts: bool) -> None:
    """Let another claim begin after `delay_s` seconds; `counts` says that this one was a failed attempt."""
    await conn.execute(RELEASE, claimed.id, claimed.fence, delay_s, counts)


FINISH = """
    with ended as (
        update export
        set state = 'READY', runs_done = $3, points = $4, finished_at = now(),
            expires_at = now() + make_interval(secs => $5)
        where id = $1 and fence = $2 and state = 'RUNNING'
        returning id
    ), stored as (
        insert into export_file (export_id, number, name, of_table, rows, size_bytes, digest, object_key)
        select ended.id, given.number, given.name, given.of_table, given.rows, given.size_bytes, given.digest,
            given.object_key
        from ended
        cross join unnest($6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bytea[], $11::text[])
            with ordinality as given (name, of_table, rows, size_bytes, digest, object_key, number)
    )
    select id from ended
"""


async def finish(
    conn: Conn, claimed: Claim, runs_done: int, points: int, files: Sequence[File], *, expiry_s: float
) -> bool:
    """All files are stored: the export is READY. False when the claim is no longer the caller's."""
    columns = [
        [getattr(file, name) for file in files]
        for name in ("name", "of_table", "rows", "size_bytes", "digest", "object_key")
    ]
    ended = await conn.fetchval(FINISH, claimed.id, claimed.fence, runs_done, points, expiry_s, *columns)
    return ended is not None


FAIL = """
    update export
    set state = 'FAILED', failure_reason = $3, failure_message = $4, finished_at = now(),
        expires_at = now() + make_interval(secs => $5)
    where id = $1 and fence = $2 and state = 'RUNNING'
"""


async def fail(conn: Conn, claimed: Claim, reason: ExportFailureReason, message: str, *, expiry_s: float) -> bool:
    """The export is FAILED. False when the claim is no longer the caller's."""
    return await conn.execute(FAIL, claimed.id, claimed.fence, reason, message, expiry_s) == "UPDATE 1"


EXPIRE = """
    update export
    set state = 'EXPIRED'
    where state = 'READY' and expires_at < now()
"""


async def expire(conn: Conn) -> int:
    """How many exports are EXPIRED now, because they were kept long enough."""
    return int((await conn.execute(EXPIRE)).removeprefix("UPDATE "))


UNCLEARED = """
    select id, project_id
    from export
    where cleared_at is null and expires_at < now() and state in ('FAILED', 'EXPIRED')
    order by expires_at
    limit $1
"""


async def uncleared(conn: Conn, limit: int) -> list[tuple[UUID, UUID]]:
    """(export, project) of exports whose bytes are to be deleted."""
    return [(row["id"], row["project_id"]) for row in await conn.fetch(UNCLEARED, limit)]


CLEARED = """
    update export set cleared_at = now() where id = $1 and state in ('FAILED', 'EXPIRED')
"""


async def cleared(conn: Conn, export_id: UUID) -> None:
    """The store holds nothing of the export any more."""
    await conn.execute(CLEARED, export_id)
