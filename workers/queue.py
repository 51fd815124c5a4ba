"""What processes tell each other: the worker to look at its rows now, subscribers that there is news.

When Redis is lost, each looks a little later by itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from arq.connections import ArqRedis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

NAME: Final = "runstone"
WAKE: Final = "wake"
WAIT_S: Final = 1.0
CONNECTIONS_MAX: Final = 8
NEWS: Final = "runstone:news"
EVENTS: Final = orjson.dumps({"from": "worker", "runs": [None]})  # what api.live says of events
ALIVE_S: Final = 15  # between questions to a Redis that says nothing
CANCEL_AGAIN_S: Final = 2.5
CANCELS_MAX: Final = 3
OVERHEARD_S: Final = 0.3  # after so long a task that waited for Redis has overheard that it is cancelled

# What goes wrong between us and Redis.
UNREACHABLE: Final = (RedisError, OSError, TimeoutError)

log = logging.getLogger(__name__)


def dumps(job: dict[str, Any]) -> bytes:
    """Jobs travel as JSON: whoever writes to Redis can wake the worker and nothing else."""
    return orjson.dumps(job)


def loads(job: bytes) -> dict[str, Any]:
    """The job in `job`."""
    found: dict[str, Any] = orjson.loads(job)
    return found


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[ArqRedis]:
    """A client that connects when it is used; no call of it waits longer than a second for one answer."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=WAIT_S,
        socket_timeout=WAIT_S,
        socket_connect_timeout=WAIT_S,
    )
    redis = ArqRedis(pool, job_serializer=dumps, job_deserializer=loads, default_queue_name=NAME)
    try:
        yield redis
    finally:
        await redis.aclose(close_connection_pool=True)


async def wake(redis: ArqRedis, work: str) -> None:
    """Ask the worker to look at the rows of `work` now. Never fails and never takes longer than a second."""
    try:
        async with asyncio.timeout(WAIT_S):
            await redis.enqueue_job(WAKE, work)
    except UNREACHABLE as error:
        log.warning("Redis does not answer (%s); the worker looks within seconds by itself", type(error).__name__)


async def tell(redis: ArqRedis, news: bytes) -> None:
    """Send news to every process that hears them. Never fails and never takes longer than a second."""
    try:
        async with asyncio.timeout(WAIT_S):
            await redis.publish(NEWS, news)
    except UNREACHABLE as error:
        log.debug("Redis does not answer (%s); subscribers look within a second by themselves", type(error).__name__)


async def tell_of_events(redis: ArqRedis) -> None:
    """Let those who are subscribed to run events look now."""
    await tell(redis, EVENTS)


async def heard(url: str) -> AsyncIterator[bytes]:
    """The news that processes tell, as they come. Raises one of `UNREACHABLE` when Redis is lost."""
    async with (
        Redis.from_url(url, socket_connect_timeout=WAIT_S, health_check_interval=ALIVE_S) as redis,
        redis.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        await pubsub.subscribe(NEWS)
        while True:
            message = await pubsub.get_message(timeout=ALIVE_S)
            if message is not None:
                yield message["data"]


async def ended(tasks: Collection[asyncio.Task[Any]], *, again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancel the tasks until all have ended, three times at most: libraries sometimes overhear the first time."""
    left = set(tasks)
    for _ in range(CANCELS_MAX):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
