"""A worker that needs Redis at its start, and then waits for ever."""

import asyncio

from redis.asyncio import Redis

from settings import Settings


async def main() -> None:
    settings = Settings.from_env()
    assert settings.redis_url is not None
    async with Redis.from_url(settings.redis_url) as redis:
        await redis.incr("starts")
    await asyncio.Event().wait()


asyncio.run(main())
