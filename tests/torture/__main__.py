"""`python -P -m tests.torture --cycles 200 --seed 7 --minutes 30`: exactly-once under fire.

Exit code 1 when a promise is broken: the journals, the logs and the data then stay, and the same seed repeats the
faults. The summary is printed, and kept in build/torture.
"""

import argparse
import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.torture import report
from tests.torture.story import ROOT, Plan, torture

KEPT = ROOT / "build" / "torture"


def main() -> int:
    """Torture as the arguments say; the exit code."""
    parser = argparse.ArgumentParser(prog="make torture", description="Exactly-once under fire.")
    parser.add_argument("--cycles", type=int, default=200, help="faults, 200 unless given")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule of faults; random unless given")
    parser.add_argument("--minutes", type=float, default=30, help="after so long no fault follows; 30 unless given")
    parser.add_argument("--rate", type=float, default=60, help="batches a second of each of two writing processes")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("torture").setLevel(logging.INFO)
    logging.getLogger("deploy").setLevel(logging.ERROR)  # that things end is what we want
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    home = Path(tempfile.mkdtemp(prefix="runstone-torture-"))
    logging.getLogger("torture").info("seed %d, in %s", seed, home)
    plan = Plan(home=home, seed=seed, cycles=given.cycles, minutes=given.minutes, rate=given.rate)
    result = asyncio.run(torture(plan))
    print(report.write(result, KEPT))
    if not result.violations:
        shutil.rmtree(home)
        return 0
    print(f"Repeat it with --seed {seed} --cycles {len(result.outcomes)}. Everything is kept in {home}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
