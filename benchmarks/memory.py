"""Memory and idle CPU of the processes that stay."""

import asyncio
from typing import Final

import psutil

from benchmarks.bench import Bench
from benchmarks.report import Section
from benchmarks.server import Server

IDLE_S: Final = 5.0
IDLE_PERCENT_MAX: Final = 0.5  # the loop of asyncio and the pool wake now and then
SETTLE_S: Final = 5.0
PROCESSES: Final = {"api": "api process", "workers": "worker process"}


def resident_mib(server: Server) -> dict[str, float]:
    """Resident memory of each process."""
    return {package: server.process(package).memory_info().rss / 2**20 for package in PROCESSES}


async def idle_percent(server: Server) -> dict[str, float]:
    """What each process uses of a core while nobody asks anything."""
    await asyncio.sleep(SETTLE_S)
    processes = {package: server.process(package) for package in PROCESSES}
    before = {package: cpu_s(process) for package, process in processes.items()}
    await asyncio.sleep(IDLE_S)
    return {package: (cpu_s(process) - before[package]) / IDLE_S * 100 for package, process in processes.items()}


def cpu_s(process: psutil.Process) -> float:
    """Seconds of CPU that the process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(bench: Bench) -> Section:
    """Memory at the start and now, and idle CPU."""
    section = Section(
        "Memory and idle CPU",
        f"Resident memory when everything had started and after all that was measured before; CPU over {IDLE_S:g} s "
        "without requests. `make soak` shows memory over hours.",
    )
    after, idle = resident_mib(bench.server), await idle_percent(bench.server)
    for package, name in PROCESSES.items():
        section.add(
            name,
            MiB_at_start=bench.memory_at_start[package],
            MiB_after=after[package],
            **{"idle_%_of_a_core": idle[package]},
        )
    section.at_most("api: idle CPU 0", idle["api"], IDLE_PERCENT_MAX, "% of a core")
    return section
