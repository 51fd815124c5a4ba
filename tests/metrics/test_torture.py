"""While Postgres is killed again and again, nothing acknowledged is lost and nothing is doubled."""

import asyncio
import os
import random
import signal
from collections import Counter
from uuid import UUID, uuid4

import asyncpg

from db import chunks, errors, series, summaries
from db.errors import Unavailable
from db.metrics import Columns
from settings import Settings
from tests.deploy.processes import children, healed
from tests.metrics.conftest import Lab, block, points_of, while_away

KILLS = 6
WRITERS = 8
KEYS = ("loss", "acc")
AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class Journal:
    """What one writer tried and what was acknowledged, kept outside the database."""

    def __init__(self) -> None:
        self.writer_id = uuid4()
        self.attempted: list[Columns] = []
        self.acknowledged: list[Columns] = []


async def write(lab: Lab, run_id: UUID, journal: Journal, stop: asyncio.Event, chance: random.Random) -> None:
    """Send block after block until each is acknowledged; some twice at once, some again much later."""
    seq = 0
    while not stop.is_set():
        blocks = [block(seq + place, keys=KEYS if seq % 4 else KEYS[:1]) for place in range(chance.randint(1, 3))]
        journal.attempted += blocks
        while True:
            copies = 2 if chance.random() < 0.2 else 1
            answers = await asyncio.gather(
                *(lab.send(run_id, journal.writer_id, *blocks) for _ in range(copies)), return_exceptions=True
            )
            if any(isinstance(answer, int) for answer in answers):
                break
            for answer in answers:
                assert isinstance(errors.known(answer), Unavailable), answer  # type: ignore[arg-type]
            if stop.is_set():
                return
            await asyncio.sleep(chance.random() / 20)
        journal.acknowledged += blocks
        seq += len(blocks)
        if chance.random() < 0.1:
            old = chance.choice(journal.acknowledged)
            with while_away():
                assert await lab.send(run_id, journal.writer_id, old) == seq


async def compact(lab: Lab, run_id: UUID, stop: asyncio.Event) -> None:
    """Compact all the time."""
    while not stop.is_set():
        with while_away():
            await chunks.compact(lab.pool, [run_id])
        await asyncio.sleep(0.02)


BACKEND = """
    select pid from pg_stat_activity where application_name = 'runstone ingest' limit 1
"""


async def kill(settings: Settings, lab: Lab, stop: asyncio.Event, chance: random.Random) -> None:
    """Kill -9 a backend in the middle of its work, or the postmaster, and wait until it is back each time."""
    for number in range(KILLS):
        await asyncio.sleep(0.4 + chance.random() / 2)
        [postmaster] = children(settings.home, "postgres")
        if number % 3 == 2:
            postmaster.kill()
        else:
            os.kill(await healed(lambda: lab.pool.fetchval(BACKEND), *AWAY), signal.SIGKILL)
        await asyncio.sleep(0.05)
        await healed(lambda: lab.pool.fetchval("select 1"), *AWAY)
    await asyncio.sleep(0.5)
    stop.set()


async def test_nothing_acknowledged_is_lost_or_doubled(lab: Lab, database: Settings) -> None:
    run_id, stop = await lab.run(), asyncio.Event()
    journals = [Journal() for _ in range(WRITERS)]
    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        for number, journal in enumerate(journals):
            tasks.create_task(write(lab, run_id, journal, stop, random.Random(number)))
        tasks.create_task(compact(lab, run_id, stop))
        tasks.create_task(kill(database, lab, stop, random.Random(17)))

    acknowledged = sum(len(journal.acknowledged) for journal in journals)
    assert acknowledged > WRITERS * KILLS
    await check(lab, run_id, journals)
    await healed(lambda: lab.finish(run_id), Unavailable)
    await lab.compact(run_id)
    await check(lab, run_id, journals)


async def check(lab: Lab, run_id: UUID, journals: list[Journal]) -> None:
    """Acknowledged is a part of present, present of attempted, and nothing is there twice."""
    present = Counter(await lab.points(run_id, *KEYS))
    attempted = Counter(point for journal in journals for point in points_of(*journal.attempted))
    acknowledged = Counter(point for journal in journals for point in points_of(*journal.acknowledged))
    assert not acknowledged - present
    assert not present - attempted
    for journal in journals:
        seqs = await chunks.hashes(lab.pool, run_id, journal.writer_id, 0, 2**40)
        assert sorted(seqs) == list(range(len(seqs)))
        assert len(journal.acknowledged) <= len(seqs) <= len(journal.attempted)
    found = (await summaries.latest(lab.pool, lab.scope, [run_id]))[run_id]
    curves = await series.read(lab.pool, lab.scope, [run_id], KEYS)
    assert {curve.key: curve.count for curve in curves} == {key: summary.count for key, summary in found.items()}
    assert sum(summary.count for summary in found.values()) == present.total()
