"""The worker's compaction gives way to those who log, as long as it does not fall behind."""

import asyncio
from uuid import UUID, uuid4

import numpy as np
import pytest

from db import chunks
from db.metrics import Columns, open_recorder
from db.runs import FinalStatus
from tests.workers.conftest import Place
from workers import series
from workers.work import Sweep, keep_sweeping


async def ended(place: Place, runs: int) -> list[UUID]:
    """New runs with a point each, that have ended."""
    assert place.settings.database_url is not None
    block = Columns(0, ("loss",), np.array([1], "<i8").tobytes(), bytes(8), np.array([0.5]).tobytes())
    run_ids = [await place.run() for _ in range(runs)]
    async with open_recorder(place.pool, place.settings.database_url, statement_timeout_s=20) as recorder:
        for run_id in run_ids:
            await recorder.append(place.scope, run_id, uuid4(), [block])
            await recorder.finish(place.scope, run_id, FinalStatus.FINISHED, None)
    return run_ids


async def chunks_of(place: Place, run_ids: list[UUID]) -> int:
    count: int = await place.pool.fetchval("select count(*) from chunk where run_id = any($1)", run_ids)
    return count


async def test_it_rests_between_few_runs(place: Place) -> None:
    run_ids = await ended(place, chunks.RUNS_AT_ONCE + 1)
    assert await series.compact(place.deps) > 0
    assert await chunks_of(place, run_ids) == len(run_ids)
    assert not await chunks.due(place.pool)


async def test_it_does_not_rest_while_many_runs_wait(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run_ids = await ended(place, chunks.RUNS_AT_ONCE + 1)
    monkeypatch.setattr(series, "FEW_RUNS", chunks.RUNS_AT_ONCE)
    assert await series.compact(place.deps) == 0
    assert await chunks_of(place, run_ids) == len(run_ids)


async def test_it_does_not_rest_while_a_run_has_many_blocks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run_ids = await ended(place, 1)
    monkeypatch.setattr(chunks, "LIVE_BLOCKS_MAX", 0)
    assert await series.compact(place.deps) == 0
    assert await chunks_of(place, run_ids) == 1


async def test_what_a_sweep_rests_puts_off_the_next_no_further(place: Place) -> None:
    """It rests eight times as long as it worked, which would be 2.4 seconds here."""
    swept = asyncio.Semaphore(0)

    async def upkeep(_: object) -> float:
        clock = asyncio.get_running_loop().time
        begun = clock()
        await asyncio.sleep(0.3)
        swept.release()
        return clock() - begun

    task = asyncio.create_task(keep_sweeping(place.deps, Sweep("sweep", upkeep, every_s=0.01)))
    try:
        async with asyncio.timeout(5):
            for _ in range(3):
                await swept.acquire()
    finally:
        task.cancel()
        await asyncio.wait([task])
