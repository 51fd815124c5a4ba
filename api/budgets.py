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
from workers.queue import UNREACHABLE

if TYPE_CHECKING:  # it knows prices, and through them the context, which knows budgets
    from api.cost import Cost

MINUTE_S: Final = 60.0
TOKENS_KEPT: Final = 10_000
SHARE_S: Final = 0.5  # between messages to other processes
SHARED_AT_ONCE: Final = 1_000
REDIS_S: Final = 2.0
RETRY_S: Final = 5.0  # until a Redis that does not answer is asked again

READING: Final = 2.0  # what a character of a document costs that was not read lately
SHORT: Final = 4_096  # characters of a document that is read for any token: those of trainings are as short

COSTLY: Final = 200_000
COSTLY_AT_ONCE: Final = 2
COSTLY_WAITING: Final = 50
COSTLY_WAIT_S: Final = 10.0

log = logging.getLogger(__name__)


class RateLimited(RunstoneError):
    """The token has spent what it may in a minute."""

    code = Code.RATE_LIMITED
    retryable = True

    def __init__(self, message: str, *, limit: str, retry_after_s: int, cost: dict[str, Any]) -> None:
        super().__init__(message, limit=limit, hint=f"ask again in {retry_after_s} seconds, or for less at a time")
        self.retry_after_s = retry_after_s
        self.more = {"retryAfterSeconds": retry_after_s, "cost": cost}


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


class Budgets:
    """What tokens have left. A budget fills up by itself within a minute.

    What was spent is kept as the time that the budget needs to be full again.
    """

    def __init__(self, redis: Redis, per_minute: int, cost_max: int) -> None:
        self._redis = redis
        self._cost_max = cost_max
        self._per_minute = per_minute
        self._full_at: dict[str, float] = {}
        self._unshared: dict[str, float] = {}  # seconds spent that other processes do not know of
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
        return max(0, int(self._per_minute * (1 - self._empty_s(token_id) / MINUTE_S)))

    def spend(self, token_id: str, cost: int) -> None:
        """Spend so much. Raises `RateLimited` when the token has less."""
        if self.remaining(token_id) < min(cost, self._per_minute):
            wait_s = self._empty_s(token_id) + self._seconds(cost) - MINUTE_S
            raise RateLimited(
                "this token has spent its budget for queries",
                limit=f"{self._per_minute:,} of cost a minute",
                retry_after_s=max(1, ceil(wait_s)),
                cost={"requested": cost, "allowed": self._per_minute, "remaining": self.remaining(token_id)},
            )
        self.charge(token_id, cost)

    def read(self, token_id: str, text: str) -> None:
        """Spend what it costs to read a document. Raises `RateLimited` when it is long and the token has nothing."""
        cost = int(min(len(text), SHORT) * READING)
        if len(text) > SHORT:
            self.spend(token_id, cost)
        else:
            self.charge(token_id, cost)

    def charge(self, token_id: str, cost: float) -> None:
        """Spend so much, also when there is less."""
        spent_s = min(self._seconds(cost), MINUTE_S)
        self._full_at[token_id] = time.monotonic() + min(self._empty_s(token_id) + spent_s, MINUTE_S)
        self._unshared[token_id] = min(self._unshared.get(token_id, 0.0) + spent_s, MINUTE_S)
        self._has_news.set()
        if len(self._full_at) > TOKENS_KEPT:
            self._forget()

    def _seconds(self, cost: float) -> float:
        return cost / self._per_minute * MINUTE_S

    def _empty_s(self, token_id: str) -> float:
        """How long the budget needs to be full again."""
        return max(0.0, self._full_at.get(token_id, 0.0) - time.monotonic())

    def _forget(self) -> None:
        """Keep those of tokens that spend the most."""
        kept = sorted(self._full_at.items(), key=lambda item: item[1])[TOKENS_KEPT // 2 :]
        self._full_at = dict(kept)
        self._unshared = {token_id: self._unshared[token_id] for token_id, _ in kept if token_id in self._unshared}

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
            for token_id, spent_s in told.items():
                pipeline.eval(SPEND, 1, f"runstone:spent:{token_id}", str(spent_s), str(MINUTE_S))
            answers = await pipeline.execute()
        now = time.monotonic()
        for (token_id, spent_s), empty_s in zip(told.items(), answers, strict=True):
            left_s = self._unshared.get(token_id, 0.0) - spent_s
            self._unshared.pop(token_id, None)
            if left_s > 0:
                self._unshared[token_id] = left_s
            self._full_at[token_id] = max(self._full_at.get(token_id, 0.0), now + float(empty_s))
        if self._unshared:
            self._has_news.set()


# The same sum in Redis, by its clock: adds what was spent, and says how long the budget needs to be full again.
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
            sharing.cancel()


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
