"""`python -P -m tests.torture.writers URL JOURNAL NUMBER SEED RATE`: runs that log over HTTP, until SIGTERM.

What a bad network and a careful client do to a server: several batches of a writer are under way at once and arrive in
any order, some twice, some again much later; each is sent until it is acknowledged or refused for good. Runs end while
batches are under way. The journal has each line before the request that it is about.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

from db import ids
from tests.torture.content import Block
from tests.torture.journal import Journal
from tests.torture.wire import CREATE, FINISH, LOG_AND_FINISH, Answer, Server, log_input

RUNS_AT_ONCE = 2
WRITERS_PER_RUN = 3
UNDER_WAY = 3  # batches of one writer
BLOCKS_MAX = 3
N_MAX = 12
KEYS = (1, 2, 3, 8, 20)
TWICE = 0.1
AGAIN = 0.05
WITH_LAST = 0.5  # of the ends, those that bring the last points with them
OLD_BATCHES = 50


class Process:
    """What the runs of this process share."""

    def __init__(self, server: Server, journal: Journal, number: int, seed: int, rate: float) -> None:
        self.server = server
        self.journal = journal
        self.chance = random.Random(f"{seed} {number}")
        self.stop = asyncio.Event()
        self.pause_s = RUNS_AT_ONCE * WRITERS_PER_RUN * UNDER_WAY / rate
        self._numbers = count(number * 1_000_000)

    def number(self) -> int:
        """A number that no other writer has."""
        return next(self._numbers)

    async def settled(self, document: str, variables: dict[str, object]) -> Answer | None:
        """The final answer to a request that is sent until there is one; None when we are told to stop before."""
        while not self.stop.is_set():
            answer = await self.server.post(document, variables)
            if answer.outcome != "later":
                return answer
            await self.rest()
        return None

    async def rest(self) -> None:
        """Wait a moment before the next try."""
        await asyncio.sleep(0.02 + self.chance.random() * 0.2)


async def keep_running(process: Process) -> None:
    """One run after the other."""
    while not process.stop.is_set():
        run_id = str(ids.new())
        process.journal.note(f"run {run_id} http")
        created = await process.settled(CREATE, {"input": {"id": run_id, "experiment": "torture"}})
        if created is None:
            return
        process.journal.note(f"created {run_id}" if created.outcome == "stored" else f"odd create: {created.text}")
        sealed = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS_PER_RUN):
                tasks.create_task(Writer(process, run_id, sealed).run())
            tasks.create_task(finish(process, run_id, sealed))


async def finish(process: Process, run_id: str, sealed: asyncio.Event) -> None:
    """End the run in the middle of everything, and let the writers go on for a moment."""
    try:
        async with asyncio.timeout(3 + process.chance.random() * 12):
            await process.stop.wait()
    except TimeoutError:
        if process.chance.random() < WITH_LAST:
            answer = await Writer(process, run_id, sealed).end()
        else:
            answer = await process.settled(FINISH, {"input": {"runId": run_id}})
        if answer is not None:
            process.journal.note(f"finished {run_id}" if answer.outcome == "stored" else f"odd finish: {answer.text}")
        await asyncio.sleep(0.5)
    sealed.set()


class Writer:
    """One writer of a run, with several batches under way."""

    def __init__(self, process: Process, run_id: str, sealed: asyncio.Event) -> None:
        self._process = process
        self._run_id = run_id
        self._sealed = sealed
        self._writer_id = str(uuid4())
        self._number = process.number()
        self._next_seq = 0
        self._old: list[list[Block]] = []

    async def run(self) -> None:
        """Send until the run has ended."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(UNDER_WAY):
                tasks.create_task(self._keep_sending())

    async def end(self) -> Answer | None:
        """Send a batch and the end of the run in one request, until it is answered for good."""
        batch = list(self._batch())
        self._process.journal.tried(self._run_id, self._writer_id, batch)
        log = log_input(self._run_id, self._writer_id, batch)
        answer = await self._process.settled(LOG_AND_FINISH, {"log": log, "finish": {"runId": self._run_id}})
        if answer is not None and answer.outcome == "stored":
            self._process.journal.note(f"acknowledged {self._number} {batch[0].seq} {len(batch)}")
        return answer

    async def _keep_sending(self) -> None:
        chance = self._process.chance
        while not self._sealed.is_set() and not self._process.stop.is_set():
            batch = list(self._batch())
            self._process.journal.tried(self._run_id, self._writer_id, batch)
            await asyncio.sleep(self._process.pause_s * 2 * chance.random())
            if not await self._deliver(batch):
                self._sealed.set()
            elif self._old and chance.random() < AGAIN:
                await self._repeat(chance.choice(self._old))

    def _batch(self) -> Iterator[Block]:
        chance = self._process.chance
        for _ in range(chance.randint(1, BLOCKS_MAX)):
            yield Block(
                self._number, self._next_seq, chance.choice(KEYS), chance.randint(1, N_MAX), chance.getrandbits(63)
            )
            self._next_seq += 1

    async def _deliver(self, batch: list[Block]) -> bool:
        """Send the batch until it is acknowledged (True), or refused for good."""
        chance, journal = self._process.chance, self._process.journal
        place = f"{self._number} {batch[0].seq} {len(batch)}"
        while not self._process.stop.is_set():
            copies = 2 if chance.random() < TWICE else 1
            answers = await asyncio.gather(*(self._send(batch) for _ in range(copies)))
            outcomes = {answer.outcome for answer in answers}
            if "stored" in outcomes:
                journal.note(f"acknowledged {place}")
                self._old = [*self._old[-OLD_BATCHES:], batch]
            if "sealed" in outcomes:
                journal.note(f"refused {place}")
            for answer in answers:
                if answer.outcome == "odd":
                    journal.note(f"odd batch {place}: {answer.text}")
            if outcomes != {"later"}:
                return "stored" in outcomes
            await self._process.rest()
        return True

    async def _repeat(self, batch: list[Block]) -> None:
        """An old batch again: nothing changes and it is acknowledged again, also after the end of the run."""
        answer = await self._send(batch)
        if answer.outcome not in {"stored", "later"}:
            self._process.journal.note(f"odd old batch {self._number} {batch[0].seq}: {answer.text}")

    async def _send(self, batch: list[Block]) -> Answer:
        packed = self._process.chance.random() < 0.2
        return await self._process.server.log(self._run_id, self._writer_id, batch, packed=packed)


async def main(url: str, journal: str, number: str, seed: str, rate: str) -> None:
    """Write `rate` batches a second at most, until SIGTERM."""
    async with Server(url, os.environ["RUNSTONE_TOKEN"]) as server:
        process = Process(server, Journal(Path(journal)), int(number), int(seed), float(rate))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.stop.set)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(RUNS_AT_ONCE):
                tasks.create_task(keep_running(process))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
