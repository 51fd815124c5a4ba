"""How work is done: rows are claimed and done a few at a time; upkeep happens at intervals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from arq.connections import ArqRedis

from db import errors
from db.pool import Pool
from settings import Settings
from storage.store import Store, StoreError

Item = TypeVar("Item")

RESTS: Final = 8  # times as long as the upkeep took: more at a time is less work
REST_MOST_S: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deps:
    """What one worker process has."""

    pool: Pool
    store: Store
    settings: Settings
    redis: ArqRedis


@dataclass(frozen=True, slots=True)
class Job(Generic[Item]):
    """Work whose rows say what is to be done.

    `claim(deps, n)` makes up to n items that are due the caller's for a while; `do(deps, item)` does one, may run twice
    and may be cancelled. What it leaves undone is claimed again when the claim has run out.
    """

    name: str
    claim: Callable[[Deps, int], Awaitable[Sequence[Item]]]
    do: Callable[[Deps, Item], Awaitable[None]]
    at_once: int = 4
    look_every_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """Upkeep that is done every so often. `do` gives the seconds that it only rested, if it rested in between."""

    name: str
    do: Callable[[Deps], Awaitable[float | None]]
    every_s: float


async def keep_working(deps: Deps, job: Job[Any], bell: asyncio.Event) -> None:
    """Do what is due, one item after the other, and look again when the bell rings or some seconds have passed.

    `job.at_once` of these run side by side.
    """
    while True:
        bell.clear()  # before looking, so that a bell that rings meanwhile is heard
        try:
            items = await job.claim(deps, 1)
            for item in items:
                await job.do(deps, item)
        except Exception as error:  # noqa: BLE001 - reported, and tried again
            report(job.name, error)
            items = ()
        if not items:
            await _heard(bell, job.look_every_s)


async def _heard(bell: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        pass


async def keep_sweeping(deps: Deps, sweep: Sweep) -> None:
    """Do the upkeep now and every `sweep.every_s` seconds, or less often while it takes long."""
    clock = asyncio.get_running_loop().time
    while True:
        begun, rested_s = clock(), None
        try:
            rested_s = await sweep.do(deps)
        except Exception as error:  # noqa: BLE001 - reported, and tried again
            report(sweep.name, error)
        worked_s = clock() - begun - (rested_s or 0.0)
        await asyncio.sleep(max(sweep.every_s, min(RESTS * worked_s, REST_MOST_S)))


def report(what: str, error: Exception) -> None:
    """Note a failure: in a line when it passes by itself, with its cause when it is a bug."""
    if isinstance(error, StoreError) or errors.known(error) is not None:
        log.warning("%s failed and is tried again: %s: %s", what, type(error).__name__, error)
    else:
        log.error("%s failed", what, exc_info=error)
