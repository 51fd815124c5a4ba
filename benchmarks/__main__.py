"""`make bench`: measure Runstone beside the limits of its machine and beside its peers, in one run."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks import (
    abuse,
    bulk,
    compaction,
    finding,
    large,
    lifecycle,
    live,
    memory,
    peers,
    reading,
    report,
    script,
    sdk,
    server,
    storage,
    subscribers,
    uploads,
)
from benchmarks.bench import Bench
from benchmarks.load import generating
from benchmarks.report import Section
from deploy.up import until_signal

Measure: TypeAlias = Callable[[Bench], Awaitable[Section]]

log = logging.getLogger(__name__)

# In this order; each is a row or a few of the table of goals.
SUBJECTS: Final[dict[str, Measure]] = {
    "bulk": bulk.measure,
    "live": live.measure,
    "lifecycle": lifecycle.measure,
    "storage": storage.measure,
    "reading": reading.measure,
    "compaction": compaction.measure,
    "large": large.measure,
    "subscribers": subscribers.measure,
    "finding": finding.measure,
    "sdk": sdk.measure,
    "uploads": uploads.measure,
    "script": script.measure,
    "abuse": abuse.measure,
    "memory": memory.measure,
}

# What the quick form leaves out unless it is named: with these it takes four minutes.
SLOW: Final = ("subscribers", "sdk", "uploads", "script", "abuse")


def main() -> int:
    """Measure, print, save; 1 when a subject could not be measured."""
    given = argparse.ArgumentParser(prog="make bench", description=__doc__)
    given.add_argument(
        "--quick",
        action="store_true",
        help=f"within two minutes: smaller amounts; unless named, none of {', '.join(SLOW)}",
    )
    given.add_argument(
        "--peers", type=Path, nargs="+", default=[], metavar="VENV", help="venvs with mlflow or fasttrackml, in turn"
    )
    given.add_argument("--only", nargs="+", choices=SUBJECTS, help="some of the subjects")
    given.add_argument("--output", type=Path, default=Path("build/bench"), help="where bench.md and bench.json go")
    asked = given.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    subjects = asked.only or [name for name in SUBJECTS if not (asked.quick and name in SLOW)]
    sections: list[Section] = []
    asyncio.run(until_signal(measure(sections, subjects, asked.peers, quick=asked.quick)))
    about = report.about("quick" if asked.quick else "full")
    print(report.markdown(sections, about))
    text, data = report.save(sections, about, asked.output, "bench")
    print(f"Saved {text} and {data}.")
    return int(len(sections) < len(subjects))


async def measure(sections: list[Section], subjects: Sequence[str], venvs: Sequence[Path], *, quick: bool) -> None:
    """Add a section for each subject that can be measured."""
    with generating() as load:
        async with server.started() as runstone, peers.started(runstone, venvs) as (running, absent):
            bench = Bench(runstone, load, running, absent, quick, memory.resident_mib(runstone))
            for subject in subjects:
                start = time.monotonic()
                try:
                    sections.append(await SUBJECTS[subject](bench))
                except Exception:
                    log.exception("%s cannot be measured", subject)
                print(f"{subject}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
