"""Print the path of the Python that suits Runstone best: 3.11 or later, able to make a venv, the newest that is quick.

Builds of one version differ: CPython without profile-guided optimization, as `pyenv` compiles it unless it is told
otherwise, takes a third more time than that of a Linux distribution. So the Pythons in PATH are tried, and one that is
clearly quicker goes before a newer one. It imports nothing but the standard library, since nothing else is there yet.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NAMES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python")
CLEARLY = 0.9  # of the time of a newer one
ROUNDS = 3  # in turns, since the speed of a machine may change
TRY_S = 10  # a Python that needs longer to start is none

# Prints its version, and the microseconds for what a server does most: calls, dicts, texts and objects.
TRIAL = """
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
import ensurepip, time, venv

class Param:
    def __init__(self, key, value):
        self.key = key
        self.value = value

def once():
    params = [Param("param_%d" % number, number * 0.5) for number in range(2000)]
    texts = {param.key: repr(param.value) for param in params}
    return sum(len(texts[param.key]) for param in params if param.value >= 0)

def timed():
    start = time.perf_counter_ns()
    once()
    return time.perf_counter_ns() - start

print(*sys.version_info[:2], min(timed() for _ in range(20)) // 1000)
"""


@dataclass(frozen=True)
class Trial:
    """What a Python answered; the newer the greater."""

    version: tuple[int, int]
    time_us: int


def main() -> int:
    """Print the path; 1 when there is none."""
    best = quickest(pythons(os.environ.get("PATH", "")))
    if best is None:
        return 1
    print(best)
    return 0


def pythons(path: str) -> list[Path]:
    """The Pythons in these folders, each once, in the order in which a shell would find them."""
    folders = [Path(folder) for folder in path.split(os.pathsep) if folder]
    found: dict[Path, Path] = {}
    for python in (folder / name for name in NAMES for folder in folders):
        if os.access(python, os.X_OK):
            found.setdefault(python.resolve(), python)
    return list(found.values())


def quickest(candidates: list[Path]) -> Path | None:
    """The newest of those that can carry Runstone, unless another one is clearly quicker."""
    trials = [{python: trial for python in candidates if (trial := tried(python)) is not None}]
    trials += [{python: tried(python) or trial for python, trial in trials[0].items()} for _ in range(ROUNDS - 1)]
    best, best_us = None, float("inf")
    for python in sorted(trials[0], key=lambda python: trials[0][python].version, reverse=True):
        time_us = min(each[python].time_us for each in trials)
        if best is None or time_us < CLEARLY * best_us:
            best, best_us = python, time_us
    return best


def tried(python: Path) -> Trial | None:
    """One trial; None for a Python that does not start, is too old or cannot make a venv."""
    try:
        done = subprocess.run([python, "-c", TRIAL], capture_output=True, text=True, timeout=TRY_S, check=True)
        major, minor, time_us = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Trial((major, minor), time_us)


if __name__ == "__main__":
    sys.exit(main())
