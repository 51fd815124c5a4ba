"""The processes of one home, among all that a test session runs."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

WAIT_S = 60.0
T = TypeVar("T")


def children(home: Path, log: str | None = None, *, of: int | None = None) -> list[psutil.Process]:
    """The children (of this process, or `of`) that write to the logs in `home`, or to LOG.log there."""
    return [child for child in psutil.Process(of).children() if _writes_to(child, home / "logs", log)]


def family(pid: int) -> list[psutil.Process]:
    """All that the process started, and what those started."""
    return list(psutil.Process(pid).children(recursive=True))


def listening(process: psutil.Process) -> set[int]:
    """The TCP ports on which it takes connections."""
    return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


async def gone(processes: list[psutil.Process]) -> None:
    """Wait until all of them have ended."""
    await until(lambda: not any(map(_runs, processes)))


async def until(condition: Callable[[], T]) -> T:
    """Wait until the condition gives something true, and return that."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if found := condition():
                return found
            await asyncio.sleep(0.02)


async def healed(ask: Callable[[], Awaitable[T]], *while_broken: type[Exception]) -> T:
    """What `ask` gives once it no longer raises these."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with suppress(*while_broken):
                return await ask()
            await asyncio.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def _writes_to(process: psutil.Process, logs: Path, log: str | None) -> bool:
    with suppress(OSError):
        output = Path(f"/proc/{process.pid}/fd/1").readlink()
        return output == logs / f"{log}.log" if log else output.parent == logs
    return False
