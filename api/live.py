"""Live: who waits for news of runs is woken, by this process at once and by others through Redis.

Postgres has the truth. A bell only says that it may be time to look; for bells that are not heard, a look at the
database every second rings them too.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from secrets import token_hex
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import orjson
from arq.connections import ArqRedis

from db import errors, points
from db.errors import Unavailable
from db.pool import Pool
from workers import queue

LOOK_S: Final = 1.0  # between looks at the database, while somebody waits
TELL_S: Final = 0.05  # between messages to other processes
TOLD_MAX: Final = 1_000  # runs in one message; beyond that it says "all"
LISTEN_AGAIN_S: Final = 1.0
READS_AT_ONCE: Final = 3  # connections that subscriptions take from the pool
PACE_S: Final = 0.05  # between looks of one line
STEPS_KEPT: Final = 16
PATIENCE_S: Final = 60.0  # with a database that does not answer
RETRY_S: Final = 0.5

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Hashable)
M = TypeVar("M")
V = TypeVar("V")


class Bell:
    """Wakes everybody who waits when it rings."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake them."""
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    def next(self) -> asyncio.Event:
        """Set when it rings next. Take it before looking, so that nothing is missed between looking and waiting."""
        return self._rung


class Hub:
    """Rings the bells of a process, and tells other processes to ring theirs."""

    def __init__(self, pool: Pool, redis: ArqRedis, redis_url: str) -> None:
        self._pool = pool
        self._redis = redis
        self._redis_url = redis_url
        self._name = token_hex(8)
        self._bells: dict[UUID | None, set[Bell]] = {}  # None: events
        self._watched = asyncio.Event()
        self._untold: set[UUID | None] = set()
        self._has_news = asyncio.Event()
        self.reading = asyncio.Semaphore(READS_AT_ONCE)

    def stored(self, run_id: UUID) -> None:
        """Points of this run were committed."""
        self._note(run_id)

    def changed(self) -> None:
        """Something else may have been committed."""
        self._note(None)

    def _note(self, what: UUID | None) -> None:
        """A few set operations: this is on the way of every acknowledgement."""
        self._ring(what)
        if len(self._untold) <= TOLD_MAX:
            self._untold.add(what)
            self._has_news.set()

    def _ring(self, what: UUID | None) -> None:
        for bell in self._bells.get(what, ()):
            bell.ring()

    def _ring_all(self) -> None:
        for what in list(self._bells):
            self._ring(what)

    @contextmanager
    def bell(self, run_ids: Sequence[UUID] | None) -> Iterator[Bell]:
        """A bell that rings for new points of these runs; with None, for events."""
        bell = Bell()
        watched: Sequence[UUID | None] = [None] if run_ids is None else run_ids
        for what in watched:
            self._bells.setdefault(what, set()).add(bell)
        self._watched.set()
        try:
            yield bell
        finally:
            for what in watched:
                self._bells[what].discard(bell)
                if not self._bells[what]:
                    del self._bells[what]
            if not self._bells:
                self._watched.clear()

    async def tell(self) -> None:
        """Tell other processes what happened here, for ever."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            what, self._untold = self._untold, set()
            runs = None if len(what) > TOLD_MAX else [run_id.hex if run_id else None for run_id in what]
            await queue.tell(self._redis, orjson.dumps({"from": self._name, "runs": runs}))
            await asyncio.sleep(TELL_S)

    async def listen(self) -> None:
        """Ring for what other processes tell, for ever; Redis may come and go."""
        while True:
            await self._watched.wait()
            try:
                async for news in queue.heard(self._redis_url):
                    self._hear(news)
            except queue.UNREACHABLE as error:
                log.warning("Redis does not answer (%s); subscriptions look every second", type(error).__name__)
            await asyncio.sleep(LISTEN_AGAIN_S)

    def _hear(self, news: bytes) -> None:
        try:
            told = orjson.loads(news)
            if told["from"] == self._name:
                return
            for run_id in told["runs"] or ():
                self._ring(UUID(hex=run_id) if run_id else None)
            if told["runs"] is None:
                self._ring_all()
        except (ValueError, KeyError, TypeError):
            log.warning("something else than news came through Redis")

    async def look(self) -> None:
        """Ring for what nobody told, for ever."""
        before: Mapping[UUID, int] = {}
        while True:
            await self._watched.wait()
            await asyncio.sleep(LOOK_S)
            self._ring(None)
            try:
                now = await points.totals(self._pool, [run_id for run_id in self._bells if run_id])
            except Exception as error:
                if not isinstance(errors.known(error), Unavailable):
                    log.exception("looking for new points failed")
                continue
            for run_id, blocks in now.items():
                if before.get(run_id) != blocks:
                    self._ring(run_id)
            before = now


class Texts:
    """What an item looks like to those who ask the same of it: made once, however many wait for it."""

    def __init__(self) -> None:
        self._made: dict[Hashable, str | asyncio.Future[str]] = {}

    async def get(self, key: Hashable, make: Callable[[], str | Awaitable[str]]) -> str:
        """The text of this key."""
        found = self._made.get(key)
        if found is None:
            made = make()
            found = self._made[key] = made if isinstance(made, str) else asyncio.ensure_future(made)
        if isinstance(found, str):
            return found
        try:
            text = await asyncio.shield(found)
        except Exception:
            self._made.pop(key, None)
            raise
        self._made[key] = text
        return text


class Flights(Generic[P, V]):
    """Work that several wait for at once is done once; it goes on when some of them leave."""

    def __init__(self) -> None:
        self._under_way: dict[P, asyncio.Task[V]] = {}

    async def once(self, key: P, work: Callable[[], Awaitable[V]]) -> V:
        """The result of `work`, or of the same that is under way."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(_result(work))
            task.add_done_callback(partial(self._forget, key))
        return await asyncio.shield(task)

    def _forget(self, key: P, task: "asyncio.Task[V]") -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waits has seen it

    def cancel(self) -> None:
        """Nobody waits any more."""
        for task in list(self._under_way.values()):
            task.cancel()


async def _result(work: Callable[[], Awaitable[V]]) -> V:
    return await work()


@dataclass(frozen=True, slots=True)
class Step(Generic[P, M]):
    """What was found behind a position, and the position behind it; `more` when that is not all there was."""

    messages: list[M]
    position: P
    more: bool


# Reads behind a position, and no further than another one when that is given; None when there is nothing.
Read = Callable[[P, P | None], Awaitable[Step[P, M] | None]]


class Line(Generic[P, M]):
    """Reads once for all who ask the same: who stands at the same position gets the same messages.

    The line itself reads on from the farthest position, its tip. Who is behind is led to the tip, and waits there.
    """

    def __init__(self, hub: Hub, bell: Bell, read: Read[P, M], reaches: Callable[[P, P], bool]) -> None:
        self._hub = hub
        self._bell = bell
        self._read = read
        self._reaches = reaches
        self._tip: P | None = None
        self._steps: OrderedDict[P, Step[P, M]] = OrderedDict()
        self._flights: Flights[P, Step[P, M] | None] = Flights()
        self._moved = Bell()
        self._failure: Exception | None = None
        self._leading = asyncio.ensure_future(self._lead())

    async def behind(self, position: P) -> Step[P, M]:
        """The next messages behind the position, as soon as there are some.

        Raises what reading raised; `Unavailable` only when somebody who is behind has waited for long.
        """
        given_up_s = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            moved = self._moved.next()
            step = self._steps.get(position)
            if step is None and position != self._tip:
                step = await self._caught_up(position, given_up_s)
            if step is not None:
                return step
            if self._failure is not None:
                raise self._failure
            if position == self._tip:
                await moved.wait()

    async def _caught_up(self, position: P, given_up_s: float) -> Step[P, M] | None:
        """The next messages of somebody who is not at the tip; None when there are none, or the database is away."""
        try:
            return await self._flights.once(position, partial(self._follow, position))
        except Exception as error:
            if not isinstance(errors.known(error), Unavailable) or asyncio.get_running_loop().time() > given_up_s:
                raise
            await asyncio.sleep(RETRY_S)
            return None

    async def _follow(self, position: P) -> Step[P, M] | None:
        """Go on to the tip, but no further; who is ahead of the tip, or the first, makes a new tip."""
        tip = self._tip
        if tip is None or not self._reaches(tip, position):
            step = await self._look(position)
            self._bell.ring()  # for what came while there was another tip
            return step
        step = await self._read_now(position, tip)
        # Without a step it is the same place by another name.
        return self._keep(position, step or Step([], tip, more=True))

    async def _lead(self) -> None:
        """Move the tip whenever the bell rings."""
        while True:
            rung = self._bell.next()
            try:
                step = None if self._tip is None else await self._look(self._tip)
            except Exception as error:  # noqa: BLE001 - raised for everybody who waits
                if isinstance(errors.known(error), Unavailable):
                    await asyncio.sleep(RETRY_S)
                    continue
                self._failure = error
                self._moved.ring()
                return
            if step is not None:
                self._moved.ring()
                await asyncio.sleep(PACE_S)  # what comes in quick succession is read together
            if step is None or not step.more:
                await rung.wait()

    async def _look(self, position: P) -> Step[P, M] | None:
        """What is behind the position now, however far that is."""
        step = await self._read_now(position, None)
        end = position if step is None else step.position
        if self._tip is None or self._reaches(end, self._tip):
            self._tip = end
        return None if step is None else self._keep(position, step)

    def _keep(self, position: P, step: Step[P, M]) -> Step[P, M]:
        self._steps[position] = step
        if len(self._steps) > STEPS_KEPT:
            self._steps.popitem(last=False)
        return step

    async def _read_now(self, position: P, upto: P | None) -> Step[P, M] | None:
        async with self._hub.reading:
            return await self._read(position, upto)

    def close(self) -> None:
        """Nobody asks any more."""
        self._leading.cancel()
        self._flights.cancel()


@dataclass
class _Shared:
    line: Line[Any, Any]
    closing: ExitStack
    users: int = 0


@dataclass
class Live:
    """What the subscriptions of one process share."""

    hub: Hub
    _lines: dict[Hashable, _Shared] = field(default_factory=dict)

    @contextmanager
    def line(
        self, key: Hashable, run_ids: Sequence[UUID] | None, read: Read[P, M], reaches: Callable[[P, P], bool]
    ) -> Iterator[Line[P, M]]:
        """The line of this key, which is made for the first who joins and closed when the last one leaves.

        It is woken for points of these runs; with None, for events.
        """
        shared = self._lines.get(key)
        if shared is None:
            closing = ExitStack()
            line = Line(self.hub, closing.enter_context(self.hub.bell(run_ids)), read, reaches)
            closing.callback(line.close)
            shared = self._lines[key] = _Shared(line, closing)
        shared.users += 1
        try:
            yield shared.line
        finally:
            shared.users -= 1
            if shared.users == 0:
                del self._lines[key]
                shared.closing.close()


@asynccontextmanager
async def open_live(pool: Pool, redis: ArqRedis, redis_url: str) -> AsyncIterator[Live]:
    """What subscriptions need, with the tasks that wake them."""
    hub = Hub(pool, redis, redis_url)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work()) for work in (hub.tell, hub.listen, hub.look)]
        try:
            yield Live(hub)
        finally:
            await queue.ended(running, again_s=queue.OVERHEARD_S)
