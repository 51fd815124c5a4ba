"""Run events: a subscription to what happens to runs, which continues where it was left."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import ge
from typing import Annotated, Final

import strawberry

from api.connections import opened, signed, signing_key
from api.context import Info
from api.live import Step, Texts
from api.runs import Run
from api.scalars import Cursor
from api.selections import RunSelection
from db import events
from db.attempts import RunStatus
from db.errors import Invalid
from db.events import Event, EventKind
from db.pool import Pool
from db.runs import Selection

READ_AT_ONCE: Final = 500


@strawberry.type(
    description="Something that happened to a run. The first message of a subscription without `after` has no run."
)
class RunEvent:
    kind: EventKind = strawberry.field(description="What happened.")
    at: datetime | None = strawberry.field(description="When it was written, by the clock of the database.")
    run_id: strawberry.ID | None = strawberry.field(description="The run; null where the subscription begins.")
    experiment_id: strawberry.ID | None = strawberry.field(description="The run's experiment.")
    project_id: strawberry.ID | None = strawberry.field(description="The run's project.")
    attempt: int | None = strawberry.field(description="The attempt that it happened in; of changed tags, the newest.")
    status: RunStatus | None = strawberry.field(description="The new state; null when the event did not change it.")
    artifact_id: strawberry.ID | None = strawberry.field(description="The artifact that is READY or FAILED.")
    run: Run | None = strawberry.field(description="The run as it is when the event is sent.")
    seq: strawberry.Private[int]
    cursor_key: strawberry.Private[bytes]
    texts: strawberry.Private[Texts]

    @classmethod
    def beginning(cls, seq: int, cursor_key: bytes) -> "RunEvent":
        """The message that only says where the subscription begins."""
        return cls(
            kind=EventKind.SUBSCRIBED,
            at=None,
            run_id=None,
            experiment_id=None,
            project_id=None,
            attempt=None,
            status=None,
            artifact_id=None,
            run=None,
            seq=seq,
            cursor_key=cursor_key,
            texts=Texts(),
        )

    @classmethod
    def from_row(cls, event: Event, cursor_key: bytes) -> "RunEvent":
        return cls(
            kind=event.kind,
            at=event.at,
            run_id=strawberry.ID(str(event.run.id)),
            experiment_id=strawberry.ID(str(event.run.experiment_id)),
            project_id=strawberry.ID(str(event.run.project_id)),
            attempt=event.attempt,
            status=event.status,
            artifact_id=strawberry.ID(str(event.artifact_id)) if event.artifact_id else None,
            run=Run.from_row(event.run),
            seq=event.seq,
            cursor_key=cursor_key,
            texts=Texts(),
        )

    @strawberry.field(description="Give it as `after` to continue exactly behind this event.")
    def after(self) -> Cursor:
        return signed(signing_key(self.cursor_key, ["runEvents"]), str(self.seq).encode())

    @property
    def is_same_for_all(self) -> bool:
        """Whether it looks the same for everybody who may see it."""
        return False


def _decode(cursor_key: bytes, cursor: str) -> int:
    body = opened(signing_key(cursor_key, ["runEvents"]), cursor)
    if body is None:
        raise Invalid("the cursor is not of run events", path="after", hint="take it from `after` of runEvents")
    return int(body)


@dataclass(frozen=True, slots=True)
class _News:
    """An event, and what is sent of it."""

    event: Event
    message: RunEvent


async def _read(pool: Pool, cursor_key: bytes, after: int, upto: int | None) -> Step[int, _News] | None:
    """The events behind a number; None when there are none."""
    if upto is None:
        await events.number(pool)
    found = await events.behind(pool, after, upto=upto, limit=READ_AT_ONCE)
    (await events.bounds(pool)).check(after)
    if not found:
        return None
    news = [_News(event, RunEvent.from_row(event, cursor_key)) for event in found]
    return Step(news, found[-1].seq, more=len(found) == READ_AT_ONCE)


async def _start(pool: Pool, cursor_key: bytes, after: str | None) -> int:
    """The number behind which the subscription begins. Raises `Invalid`."""
    if after is None:
        await events.number(pool)
        return (await events.bounds(pool)).newest
    seq = _decode(cursor_key, after)
    (await events.bounds(pool)).check(seq)
    return seq


def _chosen(select: RunSelection | None) -> Selection:
    if select is None:
        return Selection()
    for name, given in (("statuses", select.statuses), ("filter", select.filter), ("where", select.where)):
        if given is not None:
            raise Invalid("events cannot be selected by the state of their run", path=f"select.{name}")
    return select.checked()


def _is_in(selection: Selection, event: Event) -> bool:
    run = event.run
    return (
        selection.project_id in (None, run.project_id)
        and (selection.experiment_ids is None or run.experiment_id in selection.experiment_ids)
        and (selection.run_ids is None or run.id in selection.run_ids)
        and (selection.ancestor_id is None or selection.ancestor_id in run.ancestor_ids)
    )


@strawberry.type
class EventSubscription:
    @strawberry.subscription(
        description="What happens to runs: each event once, in one order that all subscribers see alike."
    )
    async def run_events(
        self,
        info: Info,
        select: Annotated[
            RunSelection | None, strawberry.argument(description="Of which runs; absent: of all that you see.")
        ] = None,
        after: Annotated[
            Cursor | None, strawberry.argument(description="Continue behind this event. Absent: from now on.")
        ] = None,
    ) -> AsyncGenerator[RunEvent, None]:
        selection = _chosen(select)
        deps, scope = info.context.deps, info.context.scope
        seq = await _start(deps.pool, deps.cursor_key, after)
        with deps.live.line("runEvents", None, partial(_read, deps.pool, deps.cursor_key), ge) as line:
            if after is None:
                yield RunEvent.beginning(seq, deps.cursor_key)
            while True:
                step = await line.behind(seq)
                for news in step.messages:
                    if news.event.is_visible(scope) and _is_in(selection, news.event):
                        yield news.message
                seq = step.position
