"""A worker that dies by kill -9 at the point that its argument names; without one it is an ordinary worker."""

import asyncio
import logging
import os
import signal
import sys
from typing import Any

from db import uploads
from settings import Settings
from storage import store
from workers import artifacts, main


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def die_at_once(*_: Any, **__: Any) -> Any:
    die()


async def die_after(*arguments: Any) -> Any:
    await finalize(*arguments)
    die()


async def die_in_the_middle(*arguments: Any) -> Any:
    global blocks
    blocks += 1
    if blocks == 2:
        die()
    return await read(*arguments)


async def never(*_: Any) -> Any:
    logging.info("the bytes are being read")
    await asyncio.sleep(3600)


blocks = 0
finalize, read = uploads.finalize, store._read

FAILPOINTS: dict[str, tuple[Any, str, Any]] = {
    "after_claim": (artifacts, "verified", die_at_once),
    "during_hash": (store, "_read", die_in_the_middle),
    "after_copy_before_db": (uploads, "finalize", die_at_once),
    "after_commit_before_job_done": (uploads, "finalize", die_after),
    "endless": (store, "_read", never),
}
if sys.argv[1]:
    setattr(*FAILPOINTS[sys.argv[1]])

logging.basicConfig(level=logging.INFO)
logging.getLogger("arq").setLevel(logging.ERROR)
asyncio.run(main.main(Settings.from_env()))
