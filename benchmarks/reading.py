"""Reading: whole series, by a client that decodes them, beside the database's own time."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import asyncpg

from benchmarks import bulk, limits, points
from benchmarks.bench import Bench
from benchmarks.peers.rest import Peer
from benchmarks.points import Batch
from benchmarks.report import Section
from benchmarks.server import Server
from benchmarks.wire import Refused
from db import series

LONG: Final = 100_000
RUNS: Final = 20
STEPS: Final = 5_000
KEY: Final = "metric_00"
OURS: Final = "Runstone over HTTP"
PLAIN: Final = "Runstone over HTTP, BASE64"
ANY: Final = "Runstone over HTTP, any float64"
QUERY: Final = "Runstone's query function"
ROWS: Final = "rows through asyncpg"
ONE: Final = "one series ms"
MANY: Final = "20 series ms"

SELECT: Final = "select run, step, value from point where run = any ($1::integer[]) and key = 0 order by run, step"


async def measure(bench: Bench) -> Section:
    """Milliseconds of each contender."""
    section = Section(
        f"Exact series: one of {LONG:,} points, and {RUNS} runs x 1 metric x {STEPS:,} points",
        "Until the client has numbers: GraphQL columns become numpy arrays, rows records, the peers' JSON lists. "
        "Columns come as COMPACT unless it says BASE64; float32 holds the values unless it says any float64. The query "
        "function is the one that GraphQL calls, without HTTP.",
    )
    given = [
        *points.batches(1, 1, LONG, 10_000),
        *(replace(batch, run=batch.run + 1) for batch in points.batches(RUNS, 1, STEPS, STEPS)),
    ]
    times = bench.choose(full=15, quick=7)
    run_ids = [await bench.server.create_run() for _ in range(1 + RUNS + 1)]
    of_any = (replace(batch, run=1 + RUNS) for batch in points.batches(1, 1, LONG, 10_000, full=True))
    await bulk.send(bench, run_ids, [KEY], [*given, *of_any], clients=1)
    await bench.settle(run_ids)
    one, many, any_float = run_ids[:1], run_ids[1:-1], run_ids[-1:]
    async with _rows(bench, given) as conn:
        await _in_turns(
            section,
            times,
            {
                (OURS, ONE): partial(_read, bench.server, one, LONG),
                (OURS, MANY): partial(_read, bench.server, many, STEPS),
                (PLAIN, ONE): partial(_read, bench.server, one, LONG, "BASE64"),
                (PLAIN, MANY): partial(_read, bench.server, many, STEPS, "BASE64"),
                (ANY, ONE): partial(_read, bench.server, any_float, LONG),
                (QUERY, ONE): partial(query, bench.server, one, [KEY]),
                (QUERY, MANY): partial(query, bench.server, many, [KEY]),
                (ROWS, ONE): partial(conn.fetch, SELECT, [0]),
                (ROWS, MANY): partial(conn.fetch, SELECT, list(range(1, RUNS + 1))),
            },
        )
    for peer in bench.peers:
        with section.trying(peer.name):
            await _peer(bench, peer, section, given, min(times, 5))
    bench.note_absent(section)
    section.at_most("one series: at most 0.15 x rows through asyncpg", section.ratio(ONE, OURS, ROWS), 0.15)
    _faster_than_peers(bench, section, ONE, "one series")
    over_http, alone = section.median(MANY, OURS), section.median(MANY, QUERY)
    if over_http is not None and alone is not None:
        section.at_most("20 series: at most 15 ms more than the query function", over_http - alone, 15, "ms")
    _faster_than_peers(bench, section, MANY, "20 series")
    return section


def _faster_than_peers(bench: Bench, section: Section, column: str, what: str) -> None:
    found = [section.ratio(column, OURS, peer.name) for peer in bench.peers]
    slowest = max((ratio for ratio in found if ratio is not None), default=None)
    section.at_most(f"{what}: faster than every peer", slowest, 1)


async def _in_turns(
    section: Section, times: int, actions: Mapping[tuple[str, str], Callable[[], Awaitable[object]]]
) -> None:
    """Milliseconds of each action, by its row and column; they take turns, so that a slow minute hits all of them."""
    found: dict[str, dict[str, list[float]]] = {}
    for turn in range(times + 1):
        for (row, column), action in actions.items():
            samples = found.setdefault(row, {}).setdefault(column.replace(" ", "_"), [])
            taken = await timed(1, action, warm=False)
            if turn > 0:
                samples += taken
    for row, columns in found.items():
        section.add(row, **columns)


async def timed(times: int, action: Callable[[], Awaitable[Any]], *, warm: bool = True) -> list[float]:
    """Milliseconds of each repetition, when `warm` after one that is not counted."""
    if warm:
        await action()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await action()
        taken.append((time.perf_counter() - start) * 1000)
    return taken


async def _read(server: Server, run_ids: Sequence[str], steps: int, encoding: str = "COMPACT") -> None:
    curves = await server.read(run_ids, [KEY], encoding=encoding)
    _expect([len(curve.values) for curve in curves], len(run_ids), steps)


async def query(
    server: Server, run_ids: Sequence[str], keys: Sequence[str], max_points: int | None = None
) -> list[series.Curve]:
    """The same series straight from the database."""
    ids = [UUID(run_id) for run_id in run_ids]
    return await series.read(server.pool, server.scope, ids, keys, max_points=max_points)


@asynccontextmanager
async def _rows(bench: Bench, given: Sequence[Batch]) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a table that has the same points as rows."""
    async with (
        limits.database(bench.server.pool, bench.server.database_url, "limits") as url,
        limits.connections(url, 1) as [conn],
    ):
        await limits.make_tables(conn)
        await limits.timed([conn], [given], limits.copy_binary)
        await conn.execute("vacuum analyze point")
        yield conn


async def _peer(bench: Bench, peer: Peer, section: Section, given: Sequence[Batch], times: int) -> None:
    """A peer's metric history, a request for each series and page."""
    small = [part for batch in given for part in points.cut(batch, peer.points_per_request)]
    with peer.connected() as client:
        run_ids = await peer.create_runs(client, 1 + RUNS)
        await bulk.send_to(bench, peer, run_ids, [KEY], small)

        async def read(chosen: Sequence[str], steps: int) -> None:
            _expect([len(await peer.history(client, run_id, KEY)) for run_id in chosen], len(chosen), steps)

        section.add(
            peer.name,
            one_series_ms=await timed(times, lambda: read(run_ids[:1], LONG)),
            **{"20_series_ms": await timed(times, lambda: read(run_ids[1:], STEPS))},
        )


def _expect(found: list[int], runs: int, steps: int) -> None:
    if found != [steps] * runs:
        raise Refused(f"series of {found} points were answered instead of {runs} of {steps}")
