"""`make soak`: live load for a long time, and whether the processes stay as they were."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import live, memory, report, server
from benchmarks.load import Generating, Load, Outcome, generating
from benchmarks.report import Section
from benchmarks.server import LOG, Server, payload
from deploy.up import until_signal

SAMPLE_S: Final = 10.0
HEARTBEAT_S: Final = 30.0
WARM_UP: Final = 0.2  # the part of the time that is left out of the slope,
WARM_UP_S_MAX: Final = 600.0  # and its most
SLOPE_MAX: Final = 4.0  # MiB per hour that count as flat
SHARP: Final = 20  # samples without which a slope says nothing

HEARTBEAT: Final = """
mutation Beat($runId: ID!) { heartbeat(input: {runId: $runId}) { __typename ... on UserError { code message } } }
"""


@dataclass(slots=True)
class Samples:
    """Resident memory by time."""

    seconds: list[float] = field(default_factory=list)
    mib: dict[str, list[float]] = field(default_factory=lambda: {package: [] for package in memory.PROCESSES})

    def add(self, seconds: float, mib: dict[str, float]) -> None:
        """Note the memory of each process."""
        self.seconds.append(seconds)
        for package, samples in self.mib.items():
            samples.append(mib[package])

    def slope(self, package: str) -> float | None:
        """MiB per hour, by least squares after the warm-up; None when there are too few samples."""
        seconds = np.array(self.seconds)
        counted = seconds >= min(WARM_UP_S_MAX, seconds[-1] * WARM_UP)
        if counted.sum() < SHARP:
            return None
        return float(np.polyfit(seconds[counted] / 3600, np.array(self.mib[package])[counted], 1)[0])


def main() -> int:
    """Load, print, save."""
    given = argparse.ArgumentParser(prog="make soak", description=__doc__)
    given.add_argument("--minutes", type=float, default=60.0, help="how long")
    given.add_argument("--rate", type=float, default=200.0, help="requests per second, each with 20 points")
    given.add_argument("--output", type=Path, default=Path("build/bench"), help="where soak.md and soak.json go")
    asked = given.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    sections: list[Section] = []
    asyncio.run(until_signal(soak(sections, asked.minutes * 60, asked.rate)))
    about = report.about(f"{asked.minutes:g} minutes at {asked.rate:g} requests/s")
    print(report.markdown(sections, about))
    text, data = report.save(sections, about, asked.output, "soak")
    print(f"Saved {text} and {data}.")
    return 0


async def soak(sections: list[Section], seconds: float, per_s: float) -> None:
    """Add the section that says how it went."""
    with generating() as load:
        async with server.started() as runstone:
            sections.append(await _measure(runstone, load, seconds, per_s))


async def _measure(runstone: Server, load: Generating, seconds: float, per_s: float) -> Section:
    run_ids = [await runstone.create_run() for _ in range(live.RUNS)]
    talkers = live.talkers(runstone.door, LOG, {}, run_ids, b"LogMetricsPayload")
    samples = Samples()
    async with asyncio.TaskGroup() as tasks:
        keeping = [tasks.create_task(_sample(runstone, samples)), tasks.create_task(_keep_alive(runstone, run_ids))]
        outcome = await load.drive(Load(runstone.door, talkers, seconds=seconds, warm_up_s=1.0, per_s=per_s))
        for task in keeping:
            task.cancel()
    idle = await memory.idle_percent(runstone)
    section = _section(samples, outcome, idle)
    requests = sum(outcome.answered)
    with section.trying("read back"):
        await live.expect(runstone, run_ids, outcome.answered)
        section.add("read back", f"all {requests * live.KEYS:,} points of {requests:,} requests, once each")
    return section


async def _sample(runstone: Server, samples: Samples) -> None:
    """Note the memory now and then."""
    start = time.monotonic()
    while True:
        samples.add(time.monotonic() - start, memory.resident_mib(runstone))
        await asyncio.sleep(SAMPLE_S)


async def _keep_alive(runstone: Server, run_ids: Sequence[str]) -> None:
    """Say that the runs live, as their clients do."""
    while True:
        for run_id in run_ids:
            payload(await runstone.ask(HEARTBEAT, runId=run_id))
        await asyncio.sleep(HEARTBEAT_S)


def _section(samples: Samples, outcome: Outcome, idle: dict[str, float]) -> Section:
    section = Section(
        f"Soak: {live.RUNS} runs x {live.KEYS} metrics, one step a request",
        f"Resident memory, sampled every {SAMPLE_S:g} seconds; MiB/hour by least squares, without the warm-up. What "
        "was acknowledged is read back.",
    )
    section.add(
        "load",
        " ".join(outcome.failures)[:300],
        requests_per_s=outcome.per_s,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
    )
    for package, name in memory.PROCESSES.items():
        mib, slope = samples.mib[package], samples.slope(package)
        slopes = {} if slope is None else {"MiB_per_hour": slope}
        section.add(name, MiB_at_start=mib[0], MiB_at_the_end=mib[-1], MiB_most=max(mib), **slopes)
        section.at_most(f"{name}: memory flat", slope, SLOPE_MAX, "MiB/hour")
    section.at_most("api process: idle CPU 0", idle["api"], memory.IDLE_PERCENT_MAX, "% of a core")
    section.at_most("requests that failed", len(outcome.failures), 0, "")
    return section


if __name__ == "__main__":
    sys.exit(main())
