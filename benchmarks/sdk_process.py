"""A training of the benchmarks: `python -P -m benchmarks.sdk_process WHAT ...` prints what it measured as JSON.

The server, the token and the spool are in the environment, as for any training.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

import runstone
from benchmarks.peak import peak_mib
from benchmarks.peers.mlflow_script import PARAMS, STEPS

CALLS: Final = 20_000
BLOCK_STEPS: Final = 10
STEP_S: Final = 0.010
KEYS: Final = 10


def metrics(count: int) -> dict[str, float]:
    """So many scalars."""
    return {f"train/metric_{number:02}": 1 / (number + 3) for number in range(count)}


def calls(count: int, file: str) -> dict[str, float]:
    """Microseconds of `run.log`, and of writing a line of JSON with write(2), both with so many scalars."""
    given, line = metrics(int(count)), os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    run = runstone.start_run(experiment="calls")

    def write(step: int) -> None:
        os.write(line, orjson.dumps({"step": step, **given}, option=orjson.OPT_APPEND_NEWLINE))

    ours = _timed(lambda step: run.log(given, step=step))
    theirs = _timed(write)
    finished = run.finish()
    if finished.points != CALLS * int(count):
        raise SystemExit(f"{finished.points} points are stored of {CALLS * int(count)}")
    return {f"{name}_{part}": us for name, us_of in (("log", ours), ("write", theirs)) for part, us in us_of.items()}


def _timed(call: Callable[[int], None]) -> dict[str, float]:
    """The median and the 99th percentile of the calls."""
    clock = time.perf_counter_ns
    taken = []
    for step in range(CALLS):
        start = clock()
        call(step)
        taken.append(clock() - start)
    taken.sort()
    return {"p50": taken[CALLS // 2] / 1000, "p99": taken[CALLS * 99 // 100] / 1000}


def loop(blocks: str) -> dict[str, list[float]]:
    """Steps in turns without and with logging; what is left in the spool at the end is of no interest."""
    run = runstone.start_run(experiment="loop")
    given = metrics(KEYS)
    taken = _blocks(int(blocks), lambda: run.log(given))
    run.finish(patience_s=0.0)
    return taken


def nothing(blocks: str) -> dict[str, list[float]]:
    """The same where nothing is logged in any of them: what there is besides, is noise."""
    run = runstone.start_run(experiment="loop")
    taken = _blocks(int(blocks), None)
    run.finish(patience_s=0.0)
    return taken


def unplugged(blocks: str) -> dict[str, list[float]]:
    """The same as `loop`, to an end at which all must be stored; `drained_s` is how long that took."""
    run = runstone.start_run(experiment="loop")
    given = metrics(KEYS)
    taken = _blocks(int(blocks), lambda: run.log(given))
    before = time.monotonic()
    finished = run.finish()
    wanted = int(blocks) * BLOCK_STEPS * KEYS
    if finished.points != wanted:
        raise SystemExit(f"{finished.points} points are stored of {wanted}")
    return {**taken, "drained_s": [time.monotonic() - before]}


def _blocks(count: int, log: Callable[[], None] | None) -> dict[str, list[float]]:
    """Of each block when it began, in Unix seconds, and its median steps of either kind and `log` alone, in seconds.

    The two kinds take turns step by step, because the speed of a machine changes within a tenth of a second.
    """
    work = _work()
    blocks: dict[str, list[float]] = {"began": [], "plain": [], "logging": [], "log": []}
    for _ in range(count):
        blocks["began"].append(time.time())
        plain, logging = zip(*[(_step(work, None), _step(work, log)) for _ in range(BLOCK_STEPS)], strict=True)
        blocks["plain"].append(median(step for step, _ in plain))
        blocks["logging"].append(median(step for step, _ in logging))
        blocks["log"].append(median(logged for _, logged in logging))
    return blocks


def _work() -> Callable[[], object]:
    """Hashing that takes about 10 ms and, like a step on an accelerator, leaves the interpreter to others."""
    data = bytes(1_000_000)
    start = time.perf_counter()
    sha256(data)
    data = bytes(int(len(data) * STEP_S / (time.perf_counter() - start)))
    return lambda: sha256(data)


def _step(work: Callable[[], object], log: Callable[[], None] | None) -> tuple[float, float]:
    """Seconds of the step, and of those the ones of its `log`."""
    start = time.perf_counter()
    work()
    worked = time.perf_counter()
    if log is not None:
        log()
    end = time.perf_counter()
    return end - start, end - worked


def upload(folder: str) -> dict[str, float]:
    """Seconds until the files of the folder are in the store, and the most memory that this process ever had."""
    run = runstone.start_run(experiment="uploads")
    time.sleep(1.0)
    before = time.perf_counter()
    run.log_artifacts(Path(folder)).wait()
    seconds = time.perf_counter() - before
    run.finish()
    return {"seconds": seconds, "mib": peak_mib()}


def script(path: str) -> int:
    """What `peers.mlflow_script` does; the points that are stored."""
    with runstone.start_run(experiment="script", params={f"param_{number}": number for number in range(PARAMS)}) as run:
        for step in range(STEPS):
            run.log({"loss": 1 / (step + 1), "accuracy": step / STEPS}, step=step)
        run.log_artifact(path)
    return run.finish().points


MEASURES: Final[dict[str, Callable[..., Any]]] = {
    "calls": calls,
    "loop": loop,
    "nothing": nothing,
    "unplugged": unplugged,
    "upload": upload,
    "script": script,
}


def main(what: str, given: Sequence[str]) -> None:
    """Measure and print."""
    print(json.dumps(MEASURES[what](*given)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
