"""Everything Runstone stands on, started on this machine where the settings name nothing of the user's own.

    async with services(settings) as settings:    # now with database_url, redis_url and s3 filled in
        ...

`runstone up` and the fixture of the tests both come through this door.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from deploy.local import home, postgres, swift, valkey
from deploy.local.keep import keeping
from settings import Settings

T = TypeVar("T")

READY = "ready"
Show = Callable[[str, str], None]  # called with a part and what it does now; `READY` comes last


def silent(part: str, state: str) -> None:
    """Show no progress."""


@asynccontextmanager
async def services(settings: Settings, *, progress: Show = silent) -> AsyncIterator[Settings]:
    """Start what `settings` leave as None under `settings.home`, and yield them completed.

    Each service is started again by itself when it ends, on the same port, and all are stopped when the block ends.
    Raises `CannotStart`; also into the block when a service cannot be kept running.
    """
    with home.locked(settings.home) as held:
        async with keeping() as keeper:

            async def part(name: str, given: T | None, start: Callable[[], Awaitable[T]]) -> T:
                if given is not None:
                    return given
                progress(name, "starting")
                made = await start()
                progress(name, READY)
                return made

            async with asyncio.TaskGroup() as tasks:
                database_url = tasks.create_task(
                    part("Postgres", settings.database_url, lambda: postgres.start(keeper, held))
                )
                redis_url = tasks.create_task(part("Valkey", settings.redis_url, lambda: valkey.start(keeper, held)))
                s3 = tasks.create_task(part("S3 store", settings.s3, lambda: swift.start(keeper, held, settings)))
            yield replace(settings, database_url=database_url.result(), redis_url=redis_url.result(), s3=s3.result())
