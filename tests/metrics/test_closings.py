"""The last points of a run and its end in one step: both or neither, once, and in order with all that others do."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from db.errors import Invalid, RunSealed, Unavailable
from db.metrics import Columns
from db.runs import FinalStatus
from tests.metrics.conftest import Lab, block, points_of

STATE = """
    select status, finished_at is not null as has_ended, attempt from run where id = $1
"""
STEPS = """
    select count(distinct xmin) from (
        select xmin::text from block where run_id = $1
        union all
        select xmin::text from attempt where run_id = $1
    ) as written
"""


async def close(
    lab: Lab, run_id: UUID, writer_id: UUID, *blocks: Columns, status: FinalStatus = FinalStatus.FINISHED
) -> bool:
    """Whether the run ended with these points."""
    return await lab.recorder.close(lab.scope, run_id, writer_id, blocks, status, None) is not None


async def state(lab: Lab, run_id: UUID) -> tuple[str, bool, int]:
    """The status of the run, whether it has ended, and its newest attempt."""
    row = await lab.pool.fetchrow(STATE, run_id)
    assert row is not None
    return tuple(row)


@pytest.mark.parametrize("before", [0, 2])
async def test_the_last_points_and_the_end_are_stored_in_one_step(lab: Lab, before: int) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    for seq in range(before):
        await lab.send(run_id, writer_id, block(seq))
    last = [block(before, keys=("loss", "acc")), block(before + 1)]

    closed = await lab.recorder.close(lab.scope, run_id, writer_id, last, FinalStatus.FAILED, None)

    assert closed is not None
    appended, ended = closed
    assert (appended.next_seq, appended.points, appended.stop_requested) == (before + 2, 3, False)
    assert (ended.run.id, ended.run.status, ended.is_settled) == (run_id, "FAILED", True)
    assert ended.run.finished_at is not None
    assert await state(lab, run_id) == ("FAILED", True, 1)
    assert await lab.pool.fetchval(STEPS, run_id) == before + 1
    assert await lab.points(run_id, "loss", "acc") == points_of(*map(block, range(before)), *last)
    with pytest.raises(RunSealed):
        await lab.send(run_id, writer_id, block(before + 2))
    with pytest.raises(RunSealed):
        await lab.send(run_id, uuid4(), block(0))


async def test_what_is_asked_again_is_left_to_the_two_steps_which_change_nothing(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    assert await close(lab, run_id, writer_id, block(0))
    before = await state(lab, run_id)

    for status in (FinalStatus.FINISHED, FinalStatus.KILLED):
        assert not await close(lab, run_id, writer_id, block(0), status=status)
    assert await lab.send(run_id, writer_id, block(0)) == 1
    await lab.finish(run_id)

    assert await state(lab, run_id) == before
    assert await lab.points(run_id) == points_of(block(0))


async def test_a_run_for_which_something_is_unusual_is_left_as_it_is(lab: Lab) -> None:
    run_id, other_id, writer_id, theirs = await lab.run(), await lab.run(), uuid4(), uuid4()
    await lab.send(run_id, writer_id, block(0))
    await lab.send(other_id, theirs, block(0))
    cases: list[tuple[UUID, Sequence[Columns]]] = [
        (writer_id, [block(0)]),  # is stored
        (writer_id, [block(0), block(1)]),  # the first of them is
        (writer_id, [block(2)]),  # one is missing
        (writer_id, []),
        (theirs, [block(1)]),  # of another run
        (theirs, [block(0)]),
        (uuid4(), [block(1)]),  # not the first of a new writer
    ]

    for writer, blocks in cases:
        assert not await close(lab, run_id, writer, *blocks)
    with pytest.raises(Invalid):
        await close(lab, run_id, writer_id, block(1, times=[-1]))

    for each in (run_id, other_id):
        assert await state(lab, each) == ("RUNNING", False, 1)
        assert await lab.points(each) == points_of(block(0))
    assert await lab.pool.fetchval("select count(*) from writer where run_id = any($1)", [run_id, other_id]) == 2


async def test_a_lost_run_ends_and_a_resumed_one_with_writers_of_its_attempt_only(lab: Lab) -> None:
    run_id, old, new = await lab.run(), uuid4(), uuid4()
    await lab.send(run_id, old, block(0))
    await lab.pool.execute("update attempt set status = 'LOST' where run_id = $1", run_id)
    assert await close(lab, run_id, old, block(1))
    await lab.resume(run_id)

    assert not await close(lab, run_id, old, block(2))
    assert await state(lab, run_id) == ("RUNNING", False, 2)
    assert await close(lab, run_id, new, block(0, steps=[5]), status=FinalStatus.KILLED)

    assert await state(lab, run_id) == ("KILLED", True, 2)
    assert await lab.points(run_id, attempt=1) == points_of(block(0), block(1))
    assert await lab.points(run_id, attempt=2) == points_of(block(0, steps=[5]))


async def test_a_stop_request_is_told_with_the_end(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.pool.execute(
        "update attempt set stop_requested_at = now(), stop_requested_by = $2 where run_id = $1",
        run_id,
        lab.scope.account_id,
    )

    closed = await lab.recorder.close(lab.scope, run_id, writer_id, [block(0)], FinalStatus.KILLED, None)

    assert closed is not None
    assert closed[0].stop_requested


async def test_one_with_too_many_keys_leaves_the_others_alone(lab: Lab) -> None:
    good, full, writer_id = [await lab.run() for _ in range(6)], await lab.run(), uuid4()
    await lab.send(full, writer_id, block(0, keys=[f"k{number}" for number in range(10_000)]))

    async with asyncio.TaskGroup() as tasks, lab.pool.acquire() as conn, conn.transaction():
        await conn.execute("lock table block in share mode")  # so that they wait for each other, and go together
        closing = [tasks.create_task(close(lab, run_id, uuid4(), block(0))) for run_id in good]
        refused = tasks.create_task(close(lab, full, writer_id, block(1, keys=("one too many",))))
        await asyncio.sleep(0.3)

    assert [each.result() for each in closing] == [True] * 6
    assert not refused.result()
    assert await state(lab, full) == ("RUNNING", False, 1)
    assert {await state(lab, run_id) for run_id in good} == {("FINISHED", True, 1)}


async def test_of_several_ends_of_a_run_at_once_one_counts(lab: Lab) -> None:
    for _ in range(20):
        run_id, writers = await lab.run(), [uuid4() for _ in range(4)]
        ends = await asyncio.gather(*(close(lab, run_id, writer_id, block(0)) for writer_id in writers))

        assert sorted(ends) == [False, False, False, True]
        assert await lab.points(run_id) == points_of(block(0))


async def test_every_batch_of_others_is_before_the_end_or_refused(lab: Lab) -> None:
    for number in range(40):
        run_id, known, new = await lab.run(), [uuid4() for _ in range(4)], [uuid4() for _ in range(2)]
        for writer_id in known:
            await lab.send(run_id, writer_id, block(0))

        async def send(run_id: UUID, writer_id: UUID, seq: int) -> int:
            """How many of three blocks were acknowledged before the run ended."""
            for sent in range(3):
                try:
                    await lab.send(run_id, writer_id, block(seq + sent))
                except RunSealed:
                    return sent
            return 3

        async def end(run_id: UUID, writer_id: UUID, delay_s: float) -> bool:
            await asyncio.sleep(delay_s)
            return await close(lab, run_id, writer_id, block(1))

        *sent, has_ended = await asyncio.gather(
            *(send(run_id, writer_id, 1) for writer_id in known[1:]),
            *(send(run_id, writer_id, 0) for writer_id in new),
            end(run_id, known[0], number / 10_000),
        )

        assert has_ended
        assert await state(lab, run_id) == ("FINISHED", True, 1)
        assert len(await lab.points(run_id)) == len(known) + sum(sent) + 1


async def test_an_end_whose_answer_is_lost_is_there_or_not_and_is_asked_again(lab: Lab) -> None:
    backends = "select pid from pg_stat_activity where application_name = 'runstone runs'"
    run_ids = [await lab.run() for _ in range(10)]
    for number, run_id in enumerate(run_ids):
        writer_id = uuid4()
        closing = asyncio.create_task(close(lab, run_id, writer_id, block(0)))
        await asyncio.sleep(number / 2_000)
        for row in await lab.pool.fetch(backends):
            await lab.pool.fetchval("select pg_terminate_backend($1)", row["pid"])
        try:
            is_acknowledged = await closing
        except Unavailable:
            is_acknowledged = False
        has_ended = (await state(lab, run_id))[1]

        assert await lab.points(run_id) == (points_of(block(0)) if has_ended else [])
        assert has_ended or not is_acknowledged
        async with asyncio.timeout(20):
            while True:
                try:
                    await lab.send(run_id, writer_id, block(0))
                    await lab.finish(run_id)
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        assert await state(lab, run_id) == ("FINISHED", True, 1)
        assert await lab.points(run_id) == points_of(block(0))
