"""Budgets: what a token may spend in a minute, and how many costly queries run at once.

A process decides by itself, at once, and tells the others through Redis what it has spent; without Redis each counts
for itself. What a training sends costs nothing and waits for nobody.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis

from api import limits
from db.errors import Code, RunstoneError, Unavailable
from workers.queue import OVERHEARD_S, UNREACHABLE, ended

if TYPE_CHECKING:  # it knows prices, and through them the context, which knows budgets
    from api.cost import Cost

MINUTE_S: Final = 60.0
TOKENS_KEPT: Final = 10_000
SHARE_S: Final = 0.5  # between messages to other processes
SHARED_AT_ONCE: Final = 1_000
REDIS_S: Final = 2.0
RETRY_S: Final = 5.0  # until a Redis that does not answer is asked again

READING: Final = 5.0  # what a character of a document costs that was not read lately,
READING_CHARACTERS: Final = 8_192  # up to here: no document that has more is read to its end
READING_PER_S: Final = 50_000.0  # for each token in each process: a twentieth of a core
READING_AT_ONCE: Final = 1_000_000.0
SHORT: Final = 4_096  # characters of a document that is read also then, because a training may need it,
SHORT_PER_S: Final = 2.0  # so often: it has few, and waits for each

COSTLY: Final = 200_000
COSTLY_AT_ONCE: Final = 2
COSTLY_WAITING: Final = 50
COSTLY_WAIT_S: Final = 10.0

log = logging.getLogger(__name__)


class RateLimited(RunstoneError):
    """The token has spent what it may in a minute."""

    code = Code.RATE_LIMITED
    retryable = True

    def __init__(
        self, message: str, *, limit: str, retry_after_s: int, hint: str = "ask for less at a time", **more: Any
    ) -> None:
        super().__init__(message, limit=limit, hint=f"wait {retry_after_s} s; {hint}")
        self.retry_after_s = retry_after_s
        self.more = {"retryAfterSeconds": retry_after_s, **more}


@dataclass(frozen=True, slots=True)
class Bill:
    """What an operation costs, and what is left."""

    requested: int
    allowed: int
    remaining: int
    depth: int

    def shown(self) -> dict[str, int]:
        """As clients see it."""
        return {
            "requested": self.requested,
            "allowed": self.allowed,
            "remaining": self.remaining,
            "depth": self.depth,
        }


class Buckets:
    """A bucket for each token, which fills up by itself; kept is when each is full again."""

    def __init__(self, per_s: float, most: float) -> None:
        self._per_s = per_s
        self._fill_s = most / per_s
        self._full_at: dict[str, float] = {}

    def left(self, token_id: str) -> float:
        """What is in it now."""
        return (self._fill_s - self._empty_s(token_id)) * self._per_s

    def wait_s(self, token_id: str, amount: float) -> float:
        """How long until it has so much; zero when it has, or has all that it can have."""
        return max(0.0, self._empty_s(token_id) + min(amount / self._per_s, self._fill_s) - self._fill_s)

    def take(self, token_id: str, amount: float) -> None:
        """Take so much, or all that there is."""
        self.fill(token_id, self._empty_s(token_id) + amount / self._per_s)
        if len(self._full_at) > TOKENS_KEPT:  # those that are the emptiest stay
            self._full_at = dict(sorted(self._full_at.items(), key=lambda item: item[1])[TOKENS_KEPT // 2 :])

    def fill(self, token_id: str, after_s: float) -> None:
        """Let it be full after this time."""
        self._full_at[token_id] = time.monotonic() + min(after_s, self._fill_s)

    def _empty_s(self, token_id: str) -> float:
        return max(0.0, self._full_at.get(token_id, 0.0) - time.monotonic())


class Budgets:
    """What tokens have left, for queries and for reading documents."""

    def __init__(self, redis: Redis, per_minute: int, cost_max: int) -> None:
        self._redis = redis
        self._cost_max = cost_max
        self._per_minute = per_minute
        self._buckets = Buckets(per_minute / MINUTE_S, per_minute)
        self._reading = Buckets(READING_PER_S, READING_AT_ONCE)
        self._short = Buckets(SHORT_PER_S, 1.0)
        self._unshared: dict[str, float] = {}  # what other processes do not know of
        self._has_news = asyncio.Event()

    def bill(self, token_id: str, cost: "Cost", variables: dict[str, Any] | None) -> Bill:
        """Spend what an operation costs with these variables. Raises `TooComplex`, `RateLimited`."""
        limits.check_variables(variables)
        requested = cost.with_variables(variables)
        cost.check(requested, self._cost_max)
        self.spend(token_id, requested)
        return Bill(requested, self._cost_max, self.remaining(token_id), cost.depth)

    def remaining(self, token_id: str) -> int:
        """What the token may spend now."""
        return int(self._buckets.left(token_id))

    def spend(self, token_id: str, cost: int) -> None:
        """Spend so much. Raises `RateLimited` when the token has less."""
        wait_s = self._buckets.wait_s(token_id, cost)
        if wait_s > 0:
            raise RateLimited(
                "this token has spent its budget for queries",
                limit=f"{self._per_minute:,} of cost a minute",
                retry_after_s=ceil(wait_s),
                cost={"requested": cost, "allowed": self._per_minute, "remaining": self.remaining(token_id)},
            )
        self._buckets.take(token_id, cost)
        if len(self._unshared) < TOKENS_KEPT:
            self._unshared[token_id] = self._unshared.get(token_id, 0.0) + cost
        self._has_news.set()

    def read(self, token_id: str, text: str) -> None:
        """Spend what reading a new document costs. Raises `RateLimited`; of short ones only when they come too fast."""
        cost = min(len(text), READING_CHARACTERS) * READING
        wait_s = self._reading.wait_s(token_id, cost)
        if wait_s > 0 and len(text) <= SHORT:
            wait_s = self._short.wait_s(token_id, 1.0)
            self._short.take(token_id, 0.0 if wait_s else 1.0)
        if wait_s > 0:
            raise RateLimited(
                "this token sends too many documents that the server does not know",
                limit=f"{READING_PER_S / READING:,.0f} characters a second",
                retry_after_s=ceil(wait_s),
                hint="send the same documents again, with other variables",
            )
        self._reading.take(token_id, cost)

    async def share(self) -> None:
        """Tell other processes what was spent here, and learn what was spent there, for ever."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            try:
                async with asyncio.timeout(REDIS_S):
                    await self._share()
            except UNREACHABLE as error:
                log.debug("Redis does not answer (%s); budgets are those of this process", type(error).__name__)
                self._has_news.set()
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(SHARE_S)

    async def _share(self) -> None:
        told = dict(list(self._unshared.items())[:SHARED_AT_ONCE])
        async with self._redis.pipeline(transaction=False) as pipeline:
            for token_id, spent in told.items():
                spent_s = spent / self._per_minute * MINUTE_S
                pipeline.eval(SPEND, 1, f"runstone:spent:{token_id}", f"{spent_s:.6f}", f"{MINUTE_S}")
            answers = await pipeline.execute()
        for (token_id, spent), empty_s in zip(told.items(), answers, strict=True):
            since = self._unshared.pop(token_id) - spent  # what was spent while we asked
            self._buckets.fill(token_id, float(empty_s))
            self._buckets.take(token_id, since)
            if since > 0:
                self._unshared[token_id] = since
        if self._unshared:
            self._has_news.set()


# The same in Redis, by its clock: adds what was spent, and says how long the bucket needs to be full again.
SPEND: Final = """
    local clock = redis.call('TIME')
    local now = clock[1] + clock[2] / 1000000
    local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + tonumber(ARGV[1])
    full_at = math.min(full_at, now + tonumber(ARGV[2]))
    redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', math.ceil((full_at - now) * 1000) + 1)
    return string.format('%.6f', full_at - now)
"""


@asynccontextmanager
async def open_budgets(redis: Redis, per_minute: int, cost_max: int) -> AsyncIterator[Budgets]:
    """Budgets that this process shares with others."""
    budgets = Budgets(redis, per_minute, cost_max)
    async with asyncio.TaskGroup() as tasks:
        sharing = tasks.create_task(budgets.share())
        try:
            yield budgets
        finally:
            await ended([sharing], again_s=OVERHEARD_S)


class CostlyLane:
    """Costly queries run a few at a time, so that the others find connections and time."""

    def __init__(self, at_once: int = COSTLY_AT_ONCE, waiting_max: int = COSTLY_WAITING) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._waiting_max = waiting_max

    @asynccontextmanager
    async def turn(self, cost: int) -> AsyncIterator[None]:
        """Wait for a place when the query is costly. Raises `Unavailable` when too many wait, or for too long."""
        if cost < COSTLY:
            yield
            return
        await self._wait()
        try:
            yield
        finally:
            self._places.release()

    async def _wait(self) -> None:
        if self._waiting >= self._waiting_max:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(COSTLY_WAIT_S):
                await self._places.acquire()
        except TimeoutError as error:
            raise _busy() from error
        finally:
            self._waiting -= 1


def _busy() -> Unavailable:
    return Unavailable("too many costly queries run now", hint="send the same request again, or ask for less at a time")
