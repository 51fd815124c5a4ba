"""Events: what happened to runs, in an order that every reader sees alike.

Triggers note events in `event_unread`, in the order of writing. Commits come in another order, so an event gets its
number when it moves to `event`, after its commit and by one session at a time: who sees a number sees all lower ones.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import asyncpg

from db import access
from db.access import Action, Scope
from db.attempts import RunStatus
from db.errors import Invalid
from db.pool import Conn
from db.runs import Run

KEPT_DAYS: Final = 7  # the one place that says how long a subscription may be away
NUMBERED_AT_ONCE: Final = 5_000


class EventKind(StrEnum):
    """What happened."""

    SUBSCRIBED = "SUBSCRIBED"
    RUN_CREATED = "RUN_CREATED"
    ATTEMPT_STARTED = "ATTEMPT_STARTED"
    STATUS_CHANGED = "STATUS_CHANGED"
    STOP_REQUESTED = "STOP_REQUESTED"
    PARAMS_LOGGED = "PARAMS_LOGGED"
    TAGS_CHANGED = "TAGS_CHANGED"
    INPUTS_LOGGED = "INPUTS_LOGGED"
    ARTIFACT_READY = "ARTIFACT_READY"
    ARTIFACT_FAILED = "ARTIFACT_FAILED"


@dataclass(frozen=True, slots=True)
class Event:
    """A row of `event` with its run as it was when the event was read."""

    seq: int
    kind: EventKind
    at: datetime
    attempt: int | None
    status: RunStatus | None
    artifact_id: UUID | None
    run: Run

    def is_visible(self, scope: Scope) -> bool:
        """Whether the viewer may see the run."""
        return access.allows(scope, Action.READ, self.run.project_id, self.run.created_by)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The events that there are: behind `swept_to`, up to `newest`."""

    swept_to: int
    newest: int

    def check(self, after: int) -> None:
        """Raises `Invalid` when there may have been events behind `after` that are no more."""
        if not self.swept_to <= after <= self.newest:
            raise Invalid(
                "events behind this cursor are no longer kept",
                path="after",
                limit=f"{KEPT_DAYS} days",
                hint="load the runs again and subscribe without after",
            )


# In one statement: the lock is held until the numbers are visible. Without news it locks nothing.
NUMBER = """
    with locked as materialized (
        select pg_advisory_xact_lock(1702257012) where exists (select from event_unread)
    ), moved as (
        delete from event_unread
        where id in (select event_unread.id from locked, event_unread order by event_unread.id limit $1)
        returning id, run_id, kind, at, attempt, status, artifact_id
    )
    insert into event (run_id, kind, at, attempt, status, artifact_id)
    select run_id, kind, at, attempt, status, artifact_id from moved order by id
"""


async def number(conn: Conn) -> None:
    """Give a number to every event that was committed before."""
    while await conn.execute(NUMBER, NUMBERED_AT_ONCE) == f"INSERT 0 {NUMBERED_AT_ONCE}":
        pass


BOUNDS = """
    select events_swept_to, greatest(events_swept_to, coalesce((select max(seq) from event), 0)) as newest
    from instance
"""


async def bounds(conn: Conn) -> Bounds:
    """Which numbered events there are."""
    row = await conn.fetchrow(BOUNDS)
    assert row is not None
    return Bounds(row["events_swept_to"], row["newest"])


BEHIND = """
    select event.seq, event.kind, event.at, event.attempt as of_attempt, event.status as to_status, event.artifact_id,
        run.id, run.project_id, run.experiment_id, run.parent_id, run.name, run.status, run.attempt, run.created_by,
        run.created_at, run.started_at, run.finished_at, run.group_name, run.ancestor_ids
    from event
    join run on run.id = event.run_id
    where event.seq > $1 and ($2::bigint is null or event.seq <= $2)
    order by event.seq
    limit $3
"""


async def behind(conn: Conn, after: int, *, upto: int | None = None, limit: int) -> list[Event]:
    """The events behind the number `after`, in order; with `upto` none behind that."""
    return [_event(row) for row in await conn.fetch(BEHIND, after, upto, limit)]


def _event(row: asyncpg.Record) -> Event:
    status = row["to_status"]
    run = Run(**{name: row[name] for name in RUN_COLUMNS} | {"status": RunStatus(row["status"])})
    return Event(
        row["seq"],
        EventKind(row["kind"]),
        row["at"],
        row["of_attempt"],
        None if status is None else RunStatus(status),
        row["artifact_id"],
        run,
    )


RUN_COLUMNS: Final = tuple(Run.__dataclass_fields__)

# The newest event stays, so that a number that was seen is never again greater than all that there are.
SWEEP = """
    with swept as (
        delete from event
        where seq < (select max(seq) from event) and seq <= (
            select max(oldest.seq)
            from (select seq, at from event order by seq limit $2) as oldest
            where oldest.at < now() - make_interval(days => $1)
        )
        returning seq
    )
    update instance
    set events_swept_to = greatest(events_swept_to, (select max(seq) from swept))
    where exists (select from swept)
"""


async def sweep(conn: Conn, *, kept_days: int = KEPT_DAYS, limit: int = 50_000) -> None:
    """Delete old events, the oldest first; who is behind them is told so."""
    await conn.execute(SWEEP, kept_days, limit)
