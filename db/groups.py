"""Groups: what many ask at once goes into the database together.

All that comes while one group is there waits and goes into the next. An idle server answers at once, a busy one does
hundreds in one statement.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import asyncpg

from db import errors
from db.errors import Unavailable
from db.pool import Connection, Pool

QUIET_TURNS = 2  # of the loop without anything new: nobody else is ready
PAUSE_S = 0.2  # before asking a database again that did not answer
LEAVE_S = 0.3  # for what nobody waits for any more, when the block ends

log = logging.getLogger(__name__)

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")
# What answers a group, in its order; if it raises, the database was left as it was or is away.
Do: TypeAlias = Callable[[Connection, list[Ask]], Awaitable[Sequence[Answer]]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a group stays open while more come, how much may wait and makes a group, and how long who waits does."""

    gather_s: float
    timeout_s: float
    waiting_max: int
    waiting_bytes_max: int
    group_max: int
    group_bytes_max: int


@dataclass(slots=True)  # not frozen, which would take three times as long: there is one for each step of a training
class _Waiting(Generic[Ask, Answer]):
    """An ask whose sender waits for `answer`, but not longer than `until_s` of the loop's clock."""

    ask: Ask
    size_bytes: int
    answer: asyncio.Future[Answer]
    until_s: float


@asynccontextmanager
async def open_groups(
    pool: Pool, do: Do[Ask, Answer], bounds: Bounds, *, what: str
) -> AsyncIterator["Groups[Ask, Answer]"]:
    """Groups with a connection of their own; what somebody waits for when the block ends is done before it ends."""
    groups = Groups(pool, do, bounds, what)
    task = asyncio.create_task(groups._run())
    try:
        yield groups
    finally:
        await groups._close(task)


class Groups(Generic[Ask, Answer]):
    """Does what is asked in groups, one group at a time; `what` names the asks in messages."""

    def __init__(self, pool: Pool, do: Do[Ask, Answer], bounds: Bounds, what: str) -> None:
        self._pool = pool
        self._do = do
        self._bounds = bounds
        self._what = what
        self._waiting: deque[_Waiting[Ask, Answer]] = deque()
        self._waiting_bytes = 0
        self._group: list[_Waiting[Ask, Answer]] = []  # what is being done
        self._patience: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._closed = False

    async def ask(self, one: Ask, size_bytes: int = 0) -> Answer:
        """What `do` answers to this one; it is durable.

        Raises `Unavailable` when too much waits already, or when the database does not answer: then it may have been
        done.
        """
        bounds = self._bounds
        is_full = len(self._waiting) >= bounds.waiting_max or self._waiting_bytes >= bounds.waiting_bytes_max
        if self._closed or is_full:
            raise Unavailable(f"too many {self._what} wait to be stored", hint="send it again after 1 second")
        loop = asyncio.get_running_loop()
        until_s = loop.time() + bounds.timeout_s
        waiting: _Waiting[Ask, Answer] = _Waiting(one, size_bytes, loop.create_future(), until_s)
        self._waiting.append(waiting)
        self._waiting_bytes += size_bytes
        self._wake.set()
        if self._patience is None:
            self._patience = loop.call_at(until_s, self._tell_late)
        return await waiting.answer

    def _tell_late(self) -> None:
        """Tell those who have waited long enough, and look again when the next one has; all wait equally long."""
        loop = asyncio.get_running_loop()
        patient = [each for each in (*self._group, *self._waiting) if not each.answer.done()]
        now_s = loop.time()
        _tell(each for each in patient if each.until_s <= now_s)
        next_s = min((each.until_s for each in patient if each.until_s > now_s), default=None)
        self._patience = None if next_s is None else loop.call_at(next_s, self._tell_late)

    async def _close(self, running: asyncio.Task[None]) -> None:
        """Take no more, and let `_run` end; what nobody waits for is broken off, since a lock may hold it up."""
        self._closed = True
        self._wake.set()
        is_awaited = any(not waiting.answer.done() for waiting in (*self._group, *self._waiting))
        await asyncio.wait([running], timeout=self._bounds.timeout_s if is_awaited else LEAVE_S)
        running.cancel()
        await asyncio.wait([running], timeout=LEAVE_S)

    async def _run(self) -> None:
        """Hold one connection and do group after group; after a fault tell who waits, and go on."""
        try:
            while self._waiting or not self._closed:
                try:
                    async with self._pool.acquire() as conn:
                        await self._do_all(conn)
                except Exception as error:
                    if not isinstance(errors.known(error), Unavailable):
                        log.exception("the connection for %s was lost in an unknown way", self._what)
                    self._give_up()
                    await asyncio.sleep(0 if self._closed else PAUSE_S)
        finally:
            self._closed = True
            self._give_up()
            if self._patience is not None:
                self._patience.cancel()

    def _give_up(self) -> None:
        """Tell everyone who waits that nothing was done that they know of."""
        _tell(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    async def _do_all(self, conn: Connection) -> None:
        """Until there is nothing to wait for any more, or the connection is lost."""
        size: float = math.inf  # of the group before
        while not _is_lost(conn):
            await self._wake.wait()
            if len(self._waiting) < size:  # else all who come in turns are here: the database need not wait for them
                await self._gather()
            if group := self._take():
                self._group, size = group, len(group)
                try:
                    await self._do_group(conn, group)
                finally:
                    _tell(group)  # who has no answer by now gets this one
                    self._group = []
            elif self._closed:
                return
            else:
                self._wake.clear()

    async def _gather(self) -> None:
        """Let all who are ready join: as long as the turns of the loop bring more, for a few milliseconds."""
        loop = asyncio.get_running_loop()
        until_s, quiet = loop.time() + self._bounds.gather_s, 0
        while quiet < QUIET_TURNS and len(self._waiting) < self._bounds.group_max and loop.time() < until_s:
            count = len(self._waiting)
            await asyncio.sleep(0)
            quiet = 0 if len(self._waiting) > count else quiet + 1

    def _take(self) -> list[_Waiting[Ask, Answer]]:
        """The longest waiting, within the bounds of a group; those whose sender has left are dropped."""
        group: list[_Waiting[Ask, Answer]] = []
        size_bytes = 0
        while self._waiting and len(group) < self._bounds.group_max and size_bytes < self._bounds.group_bytes_max:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= waiting.size_bytes
            if not waiting.answer.done():
                size_bytes += waiting.size_bytes
                group.append(waiting)
        return group

    async def _do_group(self, conn: Connection, group: list[_Waiting[Ask, Answer]]) -> None:
        """Do the group and tell each sender. If the database refuses the group, each half is tried alone."""
        try:
            answers = await self._do(conn, [waiting.ask for waiting in group])
        except Exception as error:  # noqa: BLE001 - whatever it was, each sender must hear of it
            if _is_lost(conn) or isinstance(errors.known(error), Unavailable):
                _tell(group)
            elif len(group) == 1:
                _tell(group, error)
            else:
                await self._do_group(conn, group[: len(group) // 2])
                await self._do_group(conn, group[len(group) // 2 :])
            return
        for waiting, answer in zip(group, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)


def _is_lost(conn: Connection) -> bool:
    """Whether the connection is gone; a pool's proxy of one that is gone raises when it is asked."""
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:
        return True


def _unknown() -> Unavailable:
    """Nobody knows whether it was done."""
    return Unavailable("the database does not answer now", hint="send the same again; it is stored once")


def _tell(group: Iterable[_Waiting[Ask, Answer]], failure: Exception | None = None) -> None:
    """Raise the failure at each who still waits; without one, each gets an exception of its own for the unknown."""
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(failure or _unknown())
