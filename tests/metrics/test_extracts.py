"""Reading many runs a bounded number of bytes at a time gives every point once, while they are compacted meanwhile."""

from collections.abc import AsyncIterator
from itertools import cycle
from uuid import UUID, uuid4

import numpy as np
import pytest

from db import extracts
from db.extracts import Points
from tests.metrics.conftest import Lab, Stored, bits, block, points_of

KEYSETS = (("loss",), ("accuracy", "loss"), ("loss", "time"))


def stored(points: Points) -> list[Stored]:
    """The points, one by one."""
    return [
        (key, *point)
        for key, row in zip(points.keys, points.values, strict=True)
        for point in zip(points.steps.tolist(), points.times.tolist(), bits(row).tolist(), strict=True)
    ]


async def read(lab: Lab, run_ids: list[UUID], between: AsyncIterator[None] | None = None) -> dict[UUID, list[Stored]]:
    """All points of the runs, sorted; between two pages something happens."""
    found: dict[UUID, list[Stored]] = {run_id: [] for run_id in run_ids}
    async for page in extracts.PointReader().read(lab.pool, run_ids):
        for points in page:
            found[points.run_id] += stored(points)
        if between is not None:
            await anext(between, None)
    return {run_id: sorted(points) for run_id, points in found.items()}


async def test_every_point_is_read_once_while_runs_are_compacted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracts, "STORED_MAX", 7)
    monkeypatch.setattr(extracts, "BYTES", 2_000)
    logged: dict[UUID, list[Stored]] = {}
    writers = [uuid4(), uuid4()]

    async def log(first_seq: int, end_seq: int) -> None:
        for run_id in logged:
            for writer_id in writers:
                blocks = [
                    block(seq, keys=keys, values=np.random.default_rng(seq).normal(size=(len(keys), 3)))
                    for seq, keys in zip(range(first_seq, end_seq), cycle(KEYSETS), strict=False)
                ]
                await lab.send(run_id, writers_of[run_id, writer_id], *blocks)
                logged[run_id] += points_of(*blocks)

    for _ in range(3):
        logged[await lab.run()] = []
    writers_of = {(run_id, writer_id): uuid4() for run_id in logged for writer_id in writers}
    await log(0, 20)
    for run_id in list(logged)[:2]:
        await lab.compact(run_id)
    await log(20, 31)

    async def compactions() -> AsyncIterator[None]:
        for run_id in cycle(logged):
            await lab.compact(run_id)
            yield

    expected = {run_id: sorted(points) for run_id, points in logged.items()}
    assert await read(lab, list(logged)) == expected
    assert await read(lab, list(logged), compactions()) == expected
    assert await read(lab, list(logged)) == expected
