"""The group committer keeps its word when much waits, when one batch is bad, and when the database is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from db.blocks import Batch, Block
from db.committer import Outcome, open_committer
from db.errors import Unavailable
from tests.metrics.conftest import Lab, block, points_of


async def batch(lab: Lab, run_id: UUID, *, seq: int = 0, writer_id: UUID | None = None) -> Batch:
    """A batch of one block, checked and ready."""
    given = block(seq)
    known = uuid4()
    await lab.send(run_id, known, block(0, keys=given.keys))  # so that the run has the keyset
    row = await lab.pool.fetchrow("select keyset_id, sha256 from block where writer_id = $1", known)
    assert row is not None
    stored = Block(seq, row["keyset_id"], 1, 0, given.steps, given.times, given.values, row["sha256"])
    return Batch(run_id, writer_id or uuid4(), lab.scope.account_id, (stored,))


@asynccontextmanager
async def held(lab: Lab) -> AsyncIterator[None]:
    """Nothing can be stored while this is open."""
    async with lab.pool.acquire() as conn, conn.transaction():
        await conn.execute("lock table block in share mode")
        yield


async def seqs(lab: Lab, writer_id: UUID) -> list[int]:
    """The seqs that the writer has."""
    rows = await lab.pool.fetch("select seq from block where writer_id = $1 order by seq", writer_id)
    return [row["seq"] for row in rows]


async def test_what_waits_is_stored_in_one_group(lab: Lab) -> None:
    run_id = await lab.run()
    writers = [uuid4() for _ in range(40)]
    async with asyncio.TaskGroup() as tasks, held(lab):
        for writer_id in writers:
            tasks.create_task(lab.send(run_id, writer_id, block(0)))
        await asyncio.sleep(0.3)
    groups = await lab.pool.fetchval("select count(distinct xmin::text) from block where run_id = $1", run_id)
    assert groups <= 3
    assert await lab.points(run_id) == sorted(points_of(block(0)) * 40)


async def test_batches_of_one_writer_may_share_a_group(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0))
    async with asyncio.TaskGroup() as tasks, held(lab):
        for seq in (3, 1, 2, 1, 4):
            tasks.create_task(lab.send(run_id, writer_id, block(seq)))
        await asyncio.sleep(0.2)
    assert await seqs(lab, writer_id) == [0, 1, 2, 3, 4]


async def test_too_much_waiting_is_refused_and_nothing_is_lost(lab: Lab) -> None:
    run_id = await lab.run()
    batches = [await batch(lab, run_id) for _ in range(30)]
    async with open_committer(lab.url, waiting_max=10) as committer:

        async def send(one: Batch) -> bool:
            try:
                return await committer.append(one) is Outcome.STORED
            except Unavailable:
                return False

        async with held(lab):
            sending = [asyncio.create_task(send(one)) for one in batches]
            await asyncio.sleep(0.3)
        acknowledged = await asyncio.gather(*sending)
        assert 10 <= sum(acknowledged) <= 21
        for one, stored in zip(batches, acknowledged, strict=True):
            assert await seqs(lab, one.writer_id) == ([0] if stored else [])
            if not stored:
                assert await committer.append(one) is Outcome.STORED


async def test_bytes_that_wait_are_bounded_too(lab: Lab) -> None:
    run_id = await lab.run()
    one, two = await batch(lab, run_id), await batch(lab, run_id)
    async with open_committer(lab.url, waiting_bytes_max=1) as committer:
        async with held(lab):
            first = asyncio.create_task(committer.append(one))
            await asyncio.sleep(0)
            with pytest.raises(Unavailable):
                await committer.append(two)
        assert await first is Outcome.STORED


async def test_one_bad_batch_leaves_the_others_alone(lab: Lab) -> None:
    run_id = await lab.run()
    good = [await batch(lab, run_id) for _ in range(9)]
    fine = await batch(lab, run_id)
    misfit = replace(fine, blocks=(replace(fine.blocks[0], n=2),))
    unsendable = replace(fine, writer_id=uuid4(), blocks=(replace(fine.blocks[0], n=2**40),))
    async with open_committer(lab.url) as committer:
        async with held(lab):
            sent = [*good[:4], misfit, *good[4:], unsendable]
            sending = [asyncio.create_task(committer.append(one)) for one in sent]
            await asyncio.sleep(0.2)
        answers = await asyncio.gather(*sending, return_exceptions=True)
    assert answers.count(Outcome.STORED) == 9
    assert isinstance(answers[4], asyncpg.CheckViolationError)
    assert isinstance(answers[-1], asyncpg.DataError)


async def test_a_sender_that_leaves_disturbs_nobody(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0))
    async with held(lab):
        first = asyncio.create_task(lab.send(run_id, uuid4(), block(0)))
        await asyncio.sleep(0.1)
        leaving = asyncio.create_task(lab.send(run_id, writer_id, block(1)))
        await asyncio.sleep(0.1)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        staying = asyncio.create_task(lab.send(run_id, writer_id, block(1)))
        await asyncio.sleep(0.1)
    assert await first == 1
    assert await staying == 2
    assert await seqs(lab, writer_id) == [0, 1]


async def test_what_waits_is_stored_before_the_end(lab: Lab) -> None:
    run_id = await lab.run()
    batches = [await batch(lab, run_id) for _ in range(20)]
    async with open_committer(lab.url) as committer:
        sending = [asyncio.create_task(committer.append(one)) for one in batches]
        await asyncio.sleep(0)
    assert await asyncio.gather(*sending) == [Outcome.STORED] * 20
    with pytest.raises(Unavailable):
        await committer.append(await batch(lab, run_id))


async def test_what_nobody_waits_for_does_not_hold_up_the_end(lab: Lab) -> None:
    one = await batch(lab, await lab.run())
    async with held(lab), asyncio.timeout(8), open_committer(lab.url) as committer:
        leaving = asyncio.create_task(committer.append(one))
        while not await lab.pool.fetchval(BLOCKED):
            await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.wait([leaving])
    assert await seqs(lab, one.writer_id) == []


BLOCKED = """
    select count(*) from pg_locks where locktype = 'relation' and relation = 'block'::regclass and not granted
"""
INGEST = """
    select pid from pg_stat_activity where application_name = 'runstone ingest'
"""


async def test_a_lost_connection_costs_a_retry(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, block(0))
    async with held(lab):
        sending = asyncio.create_task(lab.send(run_id, writer_id, block(1)))
        await asyncio.sleep(0.2)
        for row in await lab.pool.fetch(INGEST):
            await lab.pool.fetchval("select pg_terminate_backend($1)", row["pid"])
        with pytest.raises(Unavailable):
            await sending
    async with asyncio.timeout(20):
        while True:
            with suppress(Unavailable):
                assert await lab.send(run_id, writer_id, block(1)) == 2
                break
    assert await lab.send(run_id, writer_id, block(2)) == 3
    assert await seqs(lab, writer_id) == [0, 1, 2]


async def test_a_database_that_is_away_is_told_at_once(lab: Lab) -> None:
    run_id = await lab.run()
    one = await batch(lab, run_id)
    async with open_committer(lab.url) as committer:
        assert await committer.append(one)
        committer._pool.terminate()
        with pytest.raises(Unavailable):
            await committer.append(replace(one, writer_id=uuid4()))
