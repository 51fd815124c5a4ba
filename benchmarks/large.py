"""Large runs: a run with ten thousand metrics, and one with millions of points."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from benchmarks import bulk, points
from benchmarks.bench import Bench
from benchmarks.points import START_MS, Batch
from benchmarks.reading import query, timed
from benchmarks.report import Section
from benchmarks.wire import Refused

LONG: Final = 1_000_000
BUCKETS: Final = 1_000
TENTH: Final = (500_000, 599_999)
WIDE: Final = 10_000
WIDE_STEPS: Final = 5
APART_S: Final = 0.3  # all first views at once would tell of one moment of the machine

LIST: Final = """
query List($id: ID!) { run(id: $id) { metrics(first: 500) { nodes { key count first last min max } } } }
"""

COMPARE: Final = """
query Compare($runIds: [ID!]!) {
  compareRuns(select: {runIds: $runIds}) {
    totalKeys differingKeys metrics { key differs last min max count delta relativeDelta }
  }
}
"""


async def measure(bench: Bench) -> Section:
    """Milliseconds over HTTP."""
    keys = points.keys(bench.choose(full=10, quick=3))
    section = Section(
        f"Large runs: {WIDE:,} metrics; {len(keys)} metrics x {LONG:,} points",
        f"Zoomed: cut to {BUCKETS:,} points. First views are of series that nobody has read before, after one of "
        f"another series, {APART_S:g} s apart.",
    )
    with section.trying("long"):
        await _long(bench, section, keys)
    with section.trying("wide"):
        await _wide(bench, section)
    section.at_most(
        f"first view of {LONG:,} points, {BUCKETS:,} buckets: below 10 ms", section.median("ms", FIRST), 10, "ms"
    )
    slowest = max((row.median("ms") for row in section.rows if row.figures), default=None)
    section.at_most("list, compare and zoomed series: below a second", slowest, 1000, "ms")
    return section


FIRST: Final = "long run: first view of a zoomed series"


async def _long(bench: Bench, section: Section, keys: Sequence[str]) -> None:
    server = bench.server
    long, other = [await server.create_run() for _ in range(2)]
    await bulk.send(bench, [long], keys, list(points.batches(1, len(keys), LONG, bulk.MOST // len(keys))), clients=1)
    await bulk.send(bench, [other], keys, list(points.batches(1, len(keys), 100, 100)), clients=1)
    await bench.settle([long, other])

    async def zoom(chosen: Sequence[str]) -> None:
        curves = await server.read([long], chosen, max_points=BUCKETS)
        if [curve.count for curve in curves] != [LONG] * len(chosen) or not len(curves[0].values):
            raise Refused("the long series is not answered whole")

    await zoom(keys[:1])
    section.add(FIRST, "over HTTP", ms=await _first_views(zoom, keys[1:]))
    times = bench.choose(full=9, quick=5)
    section.add("long run: zoomed series again", "over HTTP", ms=await timed(times, lambda: zoom(keys[:1])))
    section.add(
        "long run: the query function for it",
        "without HTTP",
        ms=await timed(times, lambda: query(server, [long], keys[:1], BUCKETS)),
    )
    section.add(
        "long run: zoomed into a tenth of the steps",
        "over HTTP",
        ms=await timed(times, lambda: server.read([long], keys[:1], max_points=BUCKETS, steps=TENTH)),
    )
    section.add(f"long run: all {len(keys)} series zoomed", "over HTTP", ms=await timed(times, lambda: zoom(keys)))
    section.add("long run: list its metrics", ms=await timed(times, lambda: server.ask(LIST, id=long)))
    section.add(
        "long run: compare with another", ms=await timed(times, lambda: server.ask(COMPARE, runIds=[long, other]))
    )


async def _first_views(zoom: Callable[[Sequence[str]], Awaitable[None]], keys: Sequence[str]) -> list[float]:
    taken: list[float] = []
    for key in keys:
        await asyncio.sleep(APART_S)
        taken += await timed(1, partial(zoom, [key]), warm=False)
    return taken


async def _wide(bench: Bench, section: Section) -> None:
    server = bench.server
    run_ids = [await server.create_run() for _ in range(2)]
    keys = [f"layer/{number:05}" for number in range(WIDE)]
    given = [
        Batch(run, np.array([step]), np.array([START_MS + step]), points.curve(WIDE, 1, seed=run * 100 + step))
        for run in range(2)
        for step in range(WIDE_STEPS)
    ]
    await bulk.send(bench, run_ids, keys, given, clients=1)
    await bench.settle(run_ids)
    times = bench.choose(full=9, quick=3)
    section.add("wide run: a page of 500 metrics", ms=await timed(times, lambda: server.ask(LIST, id=run_ids[0])))
    section.add("wide run: compare with another", ms=await timed(times, lambda: server.ask(COMPARE, runIds=run_ids)))
    section.add(
        "wide run: zoomed series",
        "of one metric of both runs",
        ms=await timed(times, lambda: server.read(run_ids, keys[5000:5001], max_points=BUCKETS)),
    )
