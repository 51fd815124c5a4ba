"""Compaction: how fast blocks of live runs become chunks, and in how much memory.

`python -m benchmarks.compaction URL RUN ...` compacts these runs as the worker does, in a process of its own.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from benchmarks import live
from benchmarks.bench import Bench
from benchmarks.load import Load
from benchmarks.peak import peak_mib
from benchmarks.report import Section
from benchmarks.server import LOG, Server, blocks_of
from benchmarks.wire import Refused
from db import chunks
from db.pool import open_pool
from deploy.local import environment

OURS: Final = "chunks.compact"
INGEST: Final = "live ingest just before"


async def measure(bench: Bench) -> Section:
    """Points per second, and the most memory that the process had."""
    section = Section(
        f"Compaction of live blocks: {live.RUNS} open runs, {live.KEYS} metrics x 1 step a block",
        "The worker sleeps while the blocks come; then a process like it compacts them all, alone. Memory is its "
        "largest resident size, interpreter and libraries included.",
    )
    rates, memories, ingested = [], [], []
    for _ in range(bench.choose(full=3, quick=1)):
        with sleeping(bench.server):
            ingest, points_per_s, memory_mib = await _once(bench)
        ingested.append(ingest)
        rates.append(points_per_s)
        memories.append(memory_mib)
    section.add(OURS, points_per_s=rates, MiB=memories)
    section.add(INGEST, points_per_s=ingested)
    section.at_least("at least 3 x live ingest", section.ratio("points/s", OURS, INGEST), 3)
    section.at_most("memory below 300 MB", section.median("MiB", OURS), 286, "MiB")
    return section


@contextmanager
def sleeping(server: Server) -> Iterator[None]:
    """The worker stands still while the block runs."""
    worker = server.process("workers")
    worker.suspend()
    try:
        yield
    finally:
        worker.resume()


async def _once(bench: Bench) -> tuple[float, float, float]:
    """Points per second in, points per second compacted, and MiB."""
    server = bench.server
    run_ids = [await server.create_run() for _ in range(live.RUNS)]
    talkers = live.talkers(server.door, LOG, {}, run_ids, b"LogMetricsPayload")
    outcome = await bench.load.drive(Load(server.door, talkers, seconds=bench.choose(full=10, quick=4)))
    if outcome.failures:
        raise Refused(outcome.failures[0])
    result = await _compacted(server, run_ids)
    if result["blocks"] != sum(outcome.answered) or await blocks_of(server.pool, run_ids):
        raise Refused(f"{result['blocks']} of {sum(outcome.answered)} blocks were compacted")
    await server.finish(run_ids)
    return outcome.per_s * live.KEYS, result["blocks"] * live.KEYS / result["seconds"], result["mib"]


async def _compacted(server: Server, run_ids: Sequence[str]) -> dict[str, float]:
    """What the process said that compacted these runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "benchmarks.compaction", server.database_url, *run_ids),
        env=environment.for_child(server.settings),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(600):
        output, _ = await process.communicate()
    if process.returncode:
        raise Refused(f"the compacting process ended with {process.returncode}")
    result: dict[str, float] = json.loads(output)
    return result


async def compact(url: str, run_ids: Sequence[str]) -> None:
    """Compact all blocks of the runs, round by round, and print what it took."""
    groups, blocks = chunks.grouped(dict.fromkeys(map(UUID, run_ids), chunks.LIVE_BLOCKS_MAX + 1)), 0
    async with open_pool(url, size_max=2, statement_timeout_s=60, name="benchmark") as pool:
        start = time.perf_counter()
        while compacted := sum([await chunks.compact(pool, group) for group in groups]):
            blocks += compacted
        seconds = time.perf_counter() - start
    print(json.dumps({"blocks": blocks, "seconds": seconds, "mib": peak_mib()}))


if __name__ == "__main__":
    asyncio.run(compact(sys.argv[1], sys.argv[2:]))
