"""`python -P -m tests.torture.training URL JOURNAL NUMBER SEED FAILPOINTS`: runs that log through the SDK.

A training process as people write it, with files. It may be killed at any moment; somebody starts another one.
"""

import asyncio
import hashlib
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import runstone
from runstone.batches import Points, Record
from runstone.errors import Incomplete, RunstoneError
from runstone.sender import Sender
from tests import failpoints
from tests.torture.content import KEYS, Block, file_bytes, place_of
from tests.torture.journal import Journal

ROWS_MAX = 200
FILES_MAX = 6
FILE_BYTES_MAX = 60_000
LENGTHS = (1, 3, 8)
ROWS_PER_S = 100
PATIENCE_S = 600.0  # the API may be killed again each time that it begins to wait for uploads


def keep_acknowledgements(journal: Journal) -> None:
    """Let the journal hear what the SDK hears, before the SDK acts upon it."""
    settle = Sender._settle

    def settle_noted(self: Sender, records: Sequence[Record]) -> None:
        steps = [step for record in records if isinstance(record, Points) for step in record.steps]
        places = [place_of(step) for step in steps]
        journal.note(*(f"acknowledged {number} {seq} 1" for number, seq, _ in places))
        settle(self, records)

    setattr(Sender, "_settle", settle_noted)  # noqa: B010  # a method is replaced


def make_file(run_id: str, path: Path, journal: Journal, chance: random.Random) -> Path:
    """A small file that is about to be uploaded."""
    content = file_bytes(chance.getrandbits(40), chance.randrange(FILE_BYTES_MAX))
    path.write_bytes(content)
    journal.note(f"file {run_id} {hashlib.sha256(content).hexdigest()} {path.name}")
    return path


async def train(
    client: runstone.Client, journal: Journal, number: int, chance: random.Random, stop: asyncio.Event
) -> None:
    """One run: rows of metrics and some files."""
    run = await client.start_run(experiment="torture")
    journal.note(f"run {run.id} sdk", *([f"created {run.id}"] if run.attempt else []))
    rows = chance.randint(10, ROWS_MAX)
    files = chance.sample(range(rows), chance.randint(0, FILES_MAX))
    with tempfile.TemporaryDirectory() as folder:
        for seq in range(rows):
            if stop.is_set():
                return
            row = Block(number, seq, chance.choice(LENGTHS), 1, chance.getrandbits(63))
            steps, _, bits = row.wire()
            journal.tried(run.id, "-", [row])
            run.log(dict(zip(KEYS, bits.view("<f8").tolist(), strict=False)), step=int(steps[0]))
            if seq in files:
                run.log_artifact(make_file(run.id, Path(folder, f"{seq}.bin"), journal, chance))
            await asyncio.sleep(1 / ROWS_PER_S)
        await _finish(run, journal, stop)


async def _finish(run: runstone.AsyncRun, journal: Journal, stop: asyncio.Event) -> None:
    finishing = asyncio.create_task(run.finish(patience_s=PATIENCE_S))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([finishing, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not finishing.done():
        finishing.cancel()
        await asyncio.wait([finishing])
        return
    try:
        if not finishing.result().pending:
            journal.note(f"finished {run.id}")
    except Incomplete as error:
        problems = Counter(reason for reason in error.finished.missing)
        journal.note(f"odd finish of {run.id}: {problems}")


async def main(url: str, journal_path: str, number: str, seed: str, folder: str) -> None:
    """One run after the other, until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    journal = Journal(Path(journal_path))
    failpoints.install("sdk", failpoints.Failpoints(Path(folder)))
    keep_acknowledgements(journal)
    chance = random.Random(f"{seed} {number}")
    numbers = count(int(number) * 1_000_000)
    client = runstone.Client(url)
    async with client:
        while not stop.is_set():
            try:
                await train(client, journal, next(numbers), chance, stop)
            except RunstoneError as error:
                if not error.retryable:
                    journal.note(f"odd start: {error!r}")
        await client._leave(None, 0.0, finish=False)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
