"""Alice's script without its training, from the start of Python to its end: with Runstone and with MLflow's client."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import sdk
from benchmarks.bench import Bench
from benchmarks.peers import mlflow, mlflow_script
from benchmarks.peers.rest import Peer
from benchmarks.report import Section
from benchmarks.wire import Refused

OURS: Final = "Runstone"
COLUMN: Final = "seconds"
FILE_BYTES: Final = 100_000
SCRIPT_S: Final = 120.0


async def measure(bench: Bench) -> Section:
    """Seconds of the script of each contender."""
    section = Section(
        f"A script: {mlflow_script.PARAMS} params, {mlflow_script.STEPS} steps of 2 metrics, a file of 100 kB",
        "A process of its own from start to end, with imports, against a server of its own; all of it is stored then.",
    )
    with tempfile.TemporaryDirectory(prefix="runstone-script-") as folder:
        path = _made(Path(folder, "model.bin"))
        repeat = range(bench.choose(full=5, quick=2))
        section.add(OURS, seconds=[await _ours(bench, path) for _ in repeat])
        for peer in bench.peers:
            if peer.name == mlflow.NAME and peer.venv is not None:
                with section.trying(peer.name):
                    section.add(peer.name, seconds=[await _theirs(peer, path) for _ in repeat])
    bench.note_absent(section)
    section.at_most("at most a fifth of MLflow", section.ratio(COLUMN, OURS, mlflow.NAME), 0.2)
    return section


def _made(path: Path) -> Path:
    path.write_bytes(os.urandom(FILE_BYTES))
    return path


async def _ours(bench: Bench, path: Path) -> float:
    start = time.perf_counter()
    await sdk.process(bench.server, bench.server.settings.url, "script", str(path))
    return time.perf_counter() - start


async def _theirs(peer: Peer, path: Path) -> float:
    assert peer.venv is not None
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        str(peer.venv / "bin" / "python"),
        *("-I", str(Path(mlflow_script.__file__)), peer.door.url, str(path)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SCRIPT_S):
        _, errors = await process.communicate()
    if process.returncode:
        raise Refused(f"MLflow's script ended with {process.returncode}: {errors.decode()[-300:]}")
    return time.perf_counter() - start
