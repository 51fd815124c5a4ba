"""Storage: bytes on disk of a point, in Runstone after compaction and in a table of rows."""

from typing import Final

from benchmarks import bulk, limits, points
from benchmarks.bench import Bench
from benchmarks.report import Section

RUNS: Final = 10
KEYS: Final = 20
STEPS: Final = 5_000
COLUMN: Final = "bytes/point"
NARROW: Final = "Runstone, values that float32 holds exactly"
FULL: Final = "Runstone, any float64"

SIZE: Final = "select sum(pg_total_relation_size(name::regclass)) from unnest($1::text[]) as name"


async def measure(bench: Bench) -> Section:
    """Bytes per point."""
    section = Section(
        "Disk bytes of a point",
        f"{RUNS} runs x {KEYS} metrics x {STEPS:,} steps; tables, indexes and TOAST together, after a vacuum. Steps "
        "and times are stored too.",
    )
    section.add(NARROW, bytes_per_point=await _ours(bench, full=False))
    section.add(FULL, bytes_per_point=await _ours(bench, full=True))
    section.add("rows with a primary key", bytes_per_point=await _rows(bench))
    section.at_most("below 6 bytes, float32 exact", section.median(COLUMN, NARROW), 6, "bytes")
    section.at_most("below 12 bytes otherwise", section.median(COLUMN, FULL), 12, "bytes")
    return section


async def _ours(bench: Bench, *, full: bool) -> float:
    """What the tables grow by; first they are made as small as they can be."""
    pool, tables = bench.server.pool, ["block", "chunk"]
    await pool.execute("vacuum full block, chunk")
    before = await pool.fetchval(SIZE, tables)
    given = list(points.batches(RUNS, KEYS, STEPS, bulk.STEPS_PER_BATCH, full=full))
    run_ids = [await bench.server.create_run() for _ in range(RUNS)]
    await bulk.send(bench, run_ids, points.keys(KEYS), given)
    await bench.settle(run_ids)
    await pool.execute("vacuum block, chunk")
    after = await pool.fetchval(SIZE, tables)
    return float(after - before) / (RUNS * KEYS * STEPS)


async def _rows(bench: Bench) -> float:
    given = list(points.batches(RUNS, KEYS, STEPS, bulk.STEPS_PER_BATCH))
    async with (
        limits.database(bench.server.pool, bench.server.database_url, "limits") as url,
        limits.connections(url, bulk.CLIENTS) as conns,
    ):
        await limits.make_tables(conns[0])
        await limits.timed(conns, points.dealt(given, bulk.CLIENTS), limits.copy_binary)
        await conns[0].execute("vacuum point")
        return float(await conns[0].fetchval(SIZE, ["point"])) / (RUNS * KEYS * STEPS)
