"""Every acknowledged batch is stored once, however often, in whatever order and by how many it is sent."""

import asyncio
import random
from contextlib import suppress
from uuid import UUID, uuid4

import pytest

from db import ids
from db.errors import Invalid, NotFound, RunSealed, SeqConflict
from db.metrics import Columns, Point
from tests.metrics.conftest import Lab, block, points_of, while_away


async def test_a_batch_sent_again_is_stored_once(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    for _ in range(3):
        assert await lab.send(run_id, writer_id, block(0), block(1)) == 2
    assert await lab.points(run_id) == points_of(block(0), block(1))


async def test_a_batch_sent_again_after_compaction_is_stored_once(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    blocks = [block(seq, keys=("loss", "acc") if seq % 2 else ("loss",)) for seq in range(6)]
    await lab.send(run_id, writer_id, *blocks)
    assert await lab.compact(run_id) == 6
    assert await lab.send(run_id, writer_id, *blocks[2:5]) == 6
    with pytest.raises(SeqConflict):
        await lab.send(run_id, writer_id, blocks[2], block(3, [[7.0], [7.0]], keys=("loss", "acc")))
    assert await lab.points(run_id, "loss", "acc") == points_of(*blocks)


async def test_other_content_under_a_known_seq_is_refused(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0), block(1))
    for other in (
        block(1, [[9.0]]),
        block(1, steps=[9]),
        block(1, times=[9]),
        block(1, keys=("acc",)),
        block(1, [[1.0, 1.0]]),
    ):
        with pytest.raises(SeqConflict) as refused:
            await lab.send(run_id, writer_id, other, block(2))
        assert (refused.value.expected_seq, refused.value.writer_id) == (2, str(writer_id))
    assert await lab.points(run_id) == points_of(block(0), block(1))


async def test_a_gap_is_refused(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    with pytest.raises(SeqConflict) as refused:
        await lab.send(run_id, writer_id, block(1))
    assert refused.value.expected_seq == 0
    await lab.send(run_id, writer_id, block(0))
    with pytest.raises(SeqConflict) as refused:
        await lab.send(run_id, writer_id, block(2), block(3))
    assert refused.value.expected_seq == 1
    assert await lab.points(run_id) == points_of(block(0))


async def test_what_is_missing_of_a_batch_is_stored(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0), block(1))
    assert await lab.send(run_id, writer_id, block(1), block(2), block(3)) == 4
    assert await lab.points(run_id) == points_of(*map(block, range(4)))


async def test_a_request_is_stored_whole_or_not_at_all(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    bad = block(1, times=[-1])
    with pytest.raises(Invalid):
        await lab.send(run_id, writer_id, block(0), bad)
    assert await lab.points(run_id) == []
    with pytest.raises(Invalid):
        await lab.send(run_id, writer_id, block(0), block(2))
    assert await lab.send(run_id, writer_id, block(0), block(1)) == 2


async def test_an_empty_request_tells_where_the_writer_stands(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    assert await lab.send(run_id, writer_id) == 0
    await lab.send(run_id, writer_id, block(0))
    assert await lab.send(run_id, writer_id) == 1


async def test_a_writer_belongs_to_one_run(lab: Lab) -> None:
    run_id, other_id, writer_id = await lab.run(), await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0))
    for blocks in ([block(0)], [block(1)], []):
        with pytest.raises(Invalid) as refused:
            await lab.send(other_id, writer_id, *blocks)
        assert refused.value.path == "input.writerId"
    assert await lab.points(other_id) == []


async def test_an_unknown_run_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound):
        await lab.send(ids.new(), uuid4(), block(0))


async def test_an_ended_run_takes_nothing_new_but_knows_what_it_has(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0), block(1))
    await lab.finish(run_id)
    for compacted in (False, True):
        if compacted:
            await lab.compact(run_id)
        assert await lab.send(run_id, writer_id, block(0), block(1)) == 2
        for writer, blocks in [
            (writer_id, [block(2)]),
            (writer_id, [block(1), block(2)]),
            (uuid4(), [block(0)]),
            (uuid4(), [block(0, keys=("new",))]),
        ]:
            with pytest.raises(RunSealed) as refused:
                await lab.send(run_id, writer, *blocks)
            assert refused.value.status == "FINISHED"
        with pytest.raises(SeqConflict):
            await lab.send(run_id, writer_id, block(1, [[9.0]]))
    assert await lab.points(run_id) == points_of(block(0), block(1))


async def test_a_resumed_run_takes_points_of_new_writers_only(lab: Lab) -> None:
    run_id, old, new = await lab.run(), uuid4(), uuid4()
    await lab.send(run_id, old, block(0))
    await lab.finish(run_id)
    await lab.resume(run_id)
    with pytest.raises(RunSealed):
        await lab.send(run_id, old, block(1))
    await lab.send(run_id, new, block(0, steps=[5]))
    assert await lab.points(run_id, attempt=1) == points_of(block(0))
    assert await lab.points(run_id, attempt=2) == points_of(block(0, steps=[5]))


async def test_a_lost_run_still_takes_points(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0))
    await lab.pool.execute("update attempt set status = 'LOST' where run_id = $1", run_id)
    await lab.send(run_id, writer_id, block(1))
    await lab.send(run_id, uuid4(), block(0, steps=[9]))
    assert len(await lab.points(run_id)) == 3


async def deliver(lab: Lab, run_id: UUID, writer_id: UUID, one: Columns) -> None:
    """Send the block at some time, again and again until it is stored."""
    while True:
        await asyncio.sleep(random.random() / 20)
        with while_away(), suppress(SeqConflict):
            await lab.send(run_id, writer_id, one)
            return


async def test_batches_delivered_twice_and_shuffled_are_stored_once(lab: Lab) -> None:
    run_id = await lab.run()
    writers = [uuid4() for _ in range(8)]
    blocks = [block(seq, keys=("loss", f"k{seq % 3}")) for seq in range(25)]
    random.seed(17)

    deliveries = [(writer_id, one) for writer_id in writers for one in blocks * 2]
    random.shuffle(deliveries)
    await asyncio.gather(*(deliver(lab, run_id, *delivery) for delivery in deliveries), lab.compact(run_id))
    keys = ("loss", "k0", "k1", "k2")
    assert await lab.points(run_id, *keys) == sorted(points_of(*blocks) * len(writers))
    await lab.compact(run_id)
    assert await lab.points(run_id, *keys) == sorted(points_of(*blocks) * len(writers))


BLOCKS = """
    select count(*) from block where run_id = $1
"""


async def send_until_sealed(lab: Lab, run_id: UUID, writer_id: UUID, first_seq: int) -> int:
    """How many of four blocks were acknowledged before the run ended."""
    for seq in range(first_seq, first_seq + 4):
        try:
            await lab.send(run_id, writer_id, block(seq))
        except RunSealed:
            return seq - first_seq
    return 4


async def finish_after(lab: Lab, run_id: UUID, delay_s: float) -> int:
    """How many blocks there were when the run had ended."""
    await asyncio.sleep(delay_s)
    await lab.finish(run_id)
    return int(await lab.pool.fetchval(BLOCKS, run_id))


async def test_every_batch_is_before_the_end_of_its_run_or_refused(lab: Lab) -> None:
    for number in range(40):
        run_id, known, new = await lab.run(), [uuid4() for _ in range(4)], [uuid4() for _ in range(2)]
        for writer_id in known:
            await lab.send(run_id, writer_id, block(0))
        *acknowledged, at_the_end = await asyncio.gather(
            *(send_until_sealed(lab, run_id, writer_id, 1) for writer_id in known),
            *(send_until_sealed(lab, run_id, writer_id, 0) for writer_id in new),
            finish_after(lab, run_id, number / 10_000),
        )
        assert at_the_end == len(known) + sum(acknowledged)
        assert await lab.pool.fetchval(BLOCKS, run_id) == at_the_end


async def test_points_of_people_share_a_block_when_they_can(lab: Lab) -> None:
    run_id = await lab.run()
    given = [
        Point("loss", 1, 5, 0.5),
        Point("acc", 1, 5, 0.25),
        Point("loss", 2, 6, float("nan")),
        Point("acc", 2, 6, -0.0),
    ]
    appended = await lab.recorder.log(lab.scope, run_id, given)
    assert (appended.points, appended.next_seq) == (4, 1)
    await lab.recorder.log(lab.scope, run_id, [Point("loss", 3, 7, 1.0), Point("acc", 9, 7, 1.0)])
    assert (await lab.recorder.log(lab.scope, run_id, [])).points == 0
    expected = points_of(
        block(0, [[0.5, float("nan")], [0.25, -0.0]], keys=("loss", "acc"), steps=[1, 2], times=[5, 6]),
        block(0, [[1.0]], steps=[3], times=[7]),
        block(0, [[1.0]], keys=("acc",), steps=[9], times=[7]),
    )
    assert await lab.points(run_id, "loss", "acc") == expected


async def test_a_run_has_a_bounded_number_of_keys(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    keys = [f"k{number}" for number in range(9_999)]
    await lab.send(run_id, writer_id, block(0, keys=keys))
    await lab.send(run_id, writer_id, block(1, keys=["k0", "last"]))
    with pytest.raises(Invalid) as refused:
        await lab.send(run_id, writer_id, block(2, keys=["k0", "one too many"]))
    assert (refused.value.path, refused.value.limit) == ("input.blocks[0].keys", "10000 keys in a run")
    await lab.send(run_id, writer_id, block(2, keys=keys))
