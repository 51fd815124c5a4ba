"""Compacting changes how points are stored, and nothing that anyone can read."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import numpy as np
import pytest

from db import chunks, series, standings, summaries
from db.packing import Matrix, cut, joined
from tests.metrics.conftest import Lab, block, points_of

SIZES = """
    select array_agg(chunk.n order by chunk.first_seq) from chunk where chunk.run_id = $1
"""


async def sizes(lab: Lab, run_id: UUID) -> list[int]:
    """The points a key of each chunk, in order."""
    return list(await lab.pool.fetchval(SIZES, run_id) or [])


async def test_compacting_twice_changes_nothing(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, *map(block, range(5)))
    assert await chunks.compact(lab.pool, [run_id]) == 5
    rows = await lab.pool.fetch("select * from chunk where run_id = $1", run_id)
    assert await chunks.compact(lab.pool, [run_id]) == 0
    assert await lab.pool.fetch("select * from chunk where run_id = $1", run_id) == rows


async def test_only_long_or_ended_runs_are_due(lab: Lab) -> None:
    short, long, ended = [await lab.run() for _ in range(3)]
    for run_id, blocks in ((short, 32), (long, 33), (ended, 1)):
        await lab.send(run_id, uuid4(), *map(block, range(blocks)))
    assert {short, long, ended} & set(await chunks.due(lab.pool)) == {long}
    await lab.finish(ended)
    due = await chunks.due(lab.pool)
    assert {run_id: due.get(run_id) for run_id in (short, long, ended)} == {short: None, long: 33, ended: 1}
    await lab.compact(long)
    await lab.compact(ended)
    assert not {short, long, ended} & set(await chunks.due(lab.pool))


async def test_a_run_that_is_quiet_is_due_although_it_may_go_on(lab: Lab) -> None:
    """A lost run never ends, and lists sum up what is not compacted."""
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0))
    assert run_id not in await chunks.due(lab.pool)
    await asyncio.sleep(0.05)
    assert run_id in await chunks.due(lab.pool, quiet_s=0.01)
    await lab.compact(run_id)
    assert run_id not in await chunks.due(lab.pool, quiet_s=0)
    await lab.send(run_id, writer_id, block(1))
    assert await lab.points(run_id) == points_of(block(0), block(1))


async def test_many_short_runs_are_compacted_together_and_few_long_ones() -> None:
    short, long = {uuid4(): 2 for _ in range(150)}, {uuid4(): 33 for _ in range(40)}

    groups = chunks.grouped({**short, **long})

    assert [run_id for group in groups for run_id in group] == [*short, *long]
    assert [len(group) for group in groups] == [64, 64, 22 + 15, 16, 9]
    assert chunks.grouped({}) == []


METRICS = """
    select run_id, key, count, last from metric where run_id = any($1) order by run_id, key
"""


async def test_metrics_of_many_wide_runs_are_written_in_parts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = []
    of_tallies = standings._of_tallies

    def noted(rows: Sequence[asyncpg.Record], keys_of: dict[int, list[str]]) -> Any:
        at_once.append(len(rows) * len(keys_of[rows[0]["keyset_id"]]))
        return of_tallies(rows, keys_of)

    monkeypatch.setattr(standings, "AT_ONCE", 6)
    monkeypatch.setattr(standings, "_of_tallies", noted)
    run_ids = [await lab.run() for _ in range(9)]
    for number, run_id in enumerate(run_ids):
        keys = [f"k{key}" for key in range((2, 3, 10)[number % 3])]
        blocks = [block(0, keys=keys), block(1, keys=["k0", "other"])] if number < 3 else [block(0, keys=keys)]
        await lab.send(run_id, uuid4(), *blocks)

    await chunks.compact(lab.pool, run_ids)

    assert max(at_once) == 10
    assert sum(at_once) == 3 * (2 + 3 + 10) + 3 * 2
    expected = []
    for number, run_id in enumerate(run_ids):
        stored = {f"k{key}": (1, key / 8) for key in range((2, 3, 10)[number % 3])}
        stored |= {"k0": (2, 1.0), "other": (1, 1.125)} if number < 3 else {}
        expected += [(run_id, key, *of_key) for key, of_key in sorted(stored.items())]
    assert [tuple(row) for row in await lab.pool.fetch(METRICS, run_ids)] == sorted(expected)


async def test_small_chunks_are_taken_in_by_larger_ones(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    seen = []
    for first in range(0, 80, 10):
        await lab.send(run_id, writer_id, *map(block, range(first, first + 10)))
        await lab.compact(run_id)
        seen.append(await sizes(lab, run_id))
    assert seen[:4] == [[10], [20], [20, 10], [40]]
    assert seen[7] == [80]
    assert await lab.points(run_id) == points_of(*map(block, range(80)))


async def test_the_end_of_a_run_leaves_no_small_chunks(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    for first in (0, 20, 30):
        await lab.send(run_id, writer_id, *map(block, range(first, first + 10 + 10 * (first == 0))))
        await lab.compact(run_id)
    await lab.send(run_id, writer_id, block(40))
    await lab.finish(run_id)
    await lab.compact(run_id)
    assert await sizes(lab, run_id) == [41]


async def test_many_runs_and_keys_are_compacted_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [await lab.run() for _ in range(5)]
    sent = {run_id: [block(seq, keys=(f"k{seq % 40}", "all")) for seq in range(80)] for run_id in runs}
    for run_id in runs:
        await lab.send(run_id, uuid4(), *sent[run_id][:60])
        await lab.send(run_id, uuid4(), *[replace(one, seq=one.seq - 60) for one in sent[run_id][60:]])
    monkeypatch.setattr(chunks, "ROUND_BLOCKS_MAX", 150)
    monkeypatch.setattr(chunks, "REWRITTEN_POINTS_MAX", 50)
    await lab.finish(runs[0])
    rounds = []
    while blocks := await chunks.compact(lab.pool, runs):
        rounds.append(blocks)
    assert (sum(rounds), max(rounds) <= 150) == (5 * 80, True)
    found = await summaries.latest(lab.pool, lab.scope, runs)
    for run_id in runs:
        keys = [*(f"k{number}" for number in range(40)), "all"]
        assert await lab.points(run_id, *keys) == points_of(*sent[run_id])
        assert {key: summary.count for key, summary in found[run_id].items()} == {**dict.fromkeys(keys, 2), "all": 80}


async def test_full_chunks_stay_as_they_are(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    blocks = [block(seq, [np.arange(5_000.0).tolist()]) for seq in range(5)]
    for one in blocks:
        await lab.send(run_id, writer_id, one)
    await lab.compact(run_id)
    assert await sizes(lab, run_id) == [5_000] * 5
    assert await lab.points(run_id) == points_of(*blocks)


async def test_two_workers_compact_one_run_once(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    for first in range(0, 300, 100):
        await lab.send(run_id, writer_id, *map(block, range(first, first + 100)))
        compacted = await asyncio.gather(*(chunks.compact(lab.pool, [run_id]) for _ in range(4)))
        assert sum(compacted) == 100
    assert await lab.points(run_id) == points_of(*map(block, range(300)))
    [summary] = (await summaries.page(lab.pool, lab.scope, [run_id]))[run_id]
    assert summary.count == 300


async def test_readers_see_every_acknowledged_point_while_compacting(lab: Lab) -> None:
    run_id, writers = await lab.run(), [uuid4() for _ in range(3)]
    acknowledged = 0
    done = asyncio.Event()

    async def write() -> None:
        nonlocal acknowledged
        for seq in range(60):
            for writer_id in writers:
                await lab.send(run_id, writer_id, block(seq, keys=("loss", "acc")))
                acknowledged += 1
        done.set()

    async def compact() -> None:
        while not done.is_set():
            await chunks.compact(lab.pool, [run_id])

    async def read() -> int:
        reads = 0
        while not done.is_set():
            before = acknowledged
            curves = await series.read(lab.pool, lab.scope, [run_id], ["loss"])
            found = (await summaries.latest(lab.pool, lab.scope, [run_id]))[run_id].get("acc")
            after = acknowledged + 1  # one more may be stored and not yet acknowledged
            if before:
                assert found is not None
                assert before <= curves[0].count <= after
                assert before <= found.count <= after
                reads += 1
        return reads

    _, _, reads = await asyncio.gather(write(), compact(), read())
    assert reads > 5


async def test_summaries_stay_the_same(lab: Lab) -> None:
    run_id, writers = await lab.run(), [uuid4(), uuid4()]
    values = [[3.0, float("nan"), -1.0], [float("inf"), 2.0, -1.0]]
    for seq in range(12):
        for place, writer_id in enumerate(writers):
            steps = [seq % 5, 7, (seq * 3 + place) % 4]
            keys = ("a", "b") if seq % 3 else ("b", "c")
            await lab.send(run_id, writer_id, block(seq, values, keys=keys, steps=steps))
        if seq == 6:
            await lab.compact(run_id)
    before = (await summaries.latest(lab.pool, lab.scope, [run_id]))[run_id]
    await lab.compact(run_id)
    after = (await summaries.latest(lab.pool, lab.scope, [run_id]))[run_id]
    assert repr(before) == repr(after)
    assert {key: summary.count for key, summary in after.items()} == {"a": 48, "b": 72, "c": 24}
    assert sum(summary.non_finite for summary in after.values()) == 48


def matrix(sizes: list[int], keys: int = 2) -> Matrix:
    """A matrix of blocks of these sizes."""
    n = sum(sizes)
    values = np.arange(float(keys * n)).reshape(keys, n)
    blocks = np.arange(len(sizes), dtype="<i8")
    return Matrix(blocks, np.array(sizes, "<i8"), blocks, np.arange(n), np.arange(n), values)


def test_cuts_fall_between_blocks() -> None:
    whole = matrix([3, 3, 3, 20, 1, 1])
    pieces = cut(whole, 7)
    assert [piece.sizes.tolist() for piece in pieces] == [[3, 3], [3], [20], [1, 1]]
    again = joined(pieces)
    assert again.values.tolist() == whole.values.tolist()
    assert again.steps.tolist() == whole.steps.tolist()
