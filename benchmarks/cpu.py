"""CPU of everything that serves a contender: its own processes, and Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psutil


@dataclass(slots=True)
class Spent:
    """Seconds, known when the block has ended."""

    servers_s: float = 0.0
    postgres_s: float = 0.0


@asynccontextmanager
async def spending(settled: Callable[[], Awaitable[None]]) -> AsyncIterator[Spent]:
    """What is spent in the block, and then until `settled` returns: work that is done after the answers counts too."""
    spent = Spent()
    before = _total()
    yield spent
    await settled()
    after = _total()
    spent.servers_s, spent.postgres_s = (after[kind] - before[kind] for kind in (False, True))


def _total() -> dict[bool, float]:
    """Seconds so far of all that the benchmark started except the load generator; whether they are Postgres's."""
    total = {False: 0.0, True: 0.0}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "multiprocessing" not in " ".join(process.cmdline()):
                times = process.cpu_times()
                total[process.name().startswith("postgres")] += sum(times[:4])  # with children that have ended
    return total
