"""`python -P -m tests.torture.kills --kills 200 --seed 7`: trainings that die by kill -9, each followed by a sync.

Each dies at one of the four failpoints of the client or at random, and then every point whose `log` had returned must
be on the server once. Exit code 1 when one is missing, doubled or altered.
"""

import argparse
import asyncio
import base64
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

import runstone
from deploy.local.home import free_port
from runstone import sync
from settings import Settings
from tests import failpoints
from tests.conftest import Running, Server
from tests.failpoints import Failpoints

POINTS = ("sdk.after_log_append", "sdk.before_send", "sdk.after_send_before_ack", "sdk.after_ack_before_trim")
MOMENTS = (*POINTS, "random")
KEYS = ("loss", "accuracy", "rate")
ROWS_BEFORE = 20  # logged before the process is told to die
LATEST_S = 0.8  # after so long a random kill comes at the latest
DIES_S = 60.0

SERIES = """
    query ($id: ID!, $keys: [String!]!) {
      run(id: $id) { series(keys: $keys, encoding: BASE64) { key exact steps values } }
    }
"""


@dataclass(frozen=True, slots=True)
class Death:
    """A training that was killed; `logged` are the steps whose `log` had returned."""

    moment: str
    run_id: str
    logged: list[int]


def keys_of(step: int) -> Sequence[str]:
    """What a training logs at the step."""
    return KEYS[: 1 + step % len(KEYS)]


def value_of(key: str, step: int) -> float:
    """The value of the key at the step."""
    return step + KEYS.index(key) / 8


def train(journal: Path, folder: Path) -> None:
    """Log until who kills it is gone; the journal has each step whose `log` has returned."""
    killer = os.getppid()
    failpoints.install("sdk", Failpoints(folder))
    told = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    run = runstone.start_run(experiment="kills")
    os.write(told, f"{run.id}\n".encode())
    for step in count():
        run.log({key: value_of(key, step) for key in keys_of(step)}, step=step)
        os.write(told, f"{step}\n".encode())
        if step % 10 == 0:
            time.sleep(0.002)
            if os.getppid() != killer:
                os._exit(1)


def moments(seed: int) -> Iterator[tuple[str, float]]:
    """At which moment each training dies, and for random ones after how many seconds."""
    chance = random.Random(seed)
    while True:
        for moment in chance.sample(MOMENTS, len(MOMENTS)):
            yield moment, chance.random() * LATEST_S


async def die(server: Server, home: Path, moment: str, after_s: float) -> Death:
    """A training that is killed at the moment, with its spool in the folder `home`."""
    points = Failpoints(home / "failpoints")
    points.folder.mkdir(parents=True)
    journal = home / "journal"
    given = {"RUNSTONE_URL": server.url, "RUNSTONE_TOKEN": server.token, "RUNSTONE_SPOOL_DIR": str(home / "spool")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "tests.torture.kills", "--train", str(journal), str(points.folder),
        env={**os.environ, **given},
    )  # fmt: skip
    try:
        async with asyncio.timeout(DIES_S):
            while not journal.exists() or len(journal.read_bytes().splitlines()) <= ROWS_BEFORE:
                await asyncio.sleep(0.01)
            if moment == "random":
                await asyncio.sleep(after_s)
                process.kill()
            else:
                points.arm(moment)
            assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    run_id, *steps = journal.read_text().split()
    return Death(moment, run_id, [int(step) for step in steps])


async def check(client: runstone.Client, home: Path, death: Death) -> list[str]:
    """What is wrong with the run after a sync."""
    outcomes: list[sync.Synced] = []
    await sync.sync(client._transport, home / "spool", on_synced=outcomes.append)
    found = [f"sync: {sync.describe(each)}" for each in outcomes if each.problem or each.missing]
    if list((home / "spool").rglob("*.log")):
        found.append("sync has left something")
    data = await client.execute(SERIES, {"id": death.run_id, "keys": KEYS})
    present = {series["key"]: series for series in data["run"]["series"]}
    for key in KEYS:
        wanted = [step for step in death.logged if key in keys_of(step)]
        steps = np.frombuffer(base64.b64decode(present[key]["steps"]), "<i8")
        values = np.frombuffer(base64.b64decode(present[key]["values"]), "<f8")
        found += [f"{key}: step {step} is there {n} times" for step, n in Counter(steps.tolist()).items() if n > 1]
        missing = sorted(set(wanted) - set(steps.tolist()))
        unknown = sorted(set(steps.tolist()) - set(wanted) - {death.logged[-1] + 1})
        found += [f"{key}: {len(missing)} steps are missing, the first is {missing[0]}"] if missing else []
        found += [f"{key}: {len(unknown)} steps were never logged, the first is {unknown[0]}"] if unknown else []
        if values.tolist() != [value_of(key, step) for step in steps.tolist()]:
            found.append(f"{key}: values are altered")
    return [f"{death.moment}: run {death.run_id}: {each}" for each in found]


async def kill(server: Server, home: Path, kills: int, seed: int) -> tuple[list[Death], list[str]]:
    """So many deaths, two at a time, and what is wrong after them."""
    deaths: list[Death] = []
    wrong: list[str] = []
    plan = enumerate(islice(moments(seed), kills))

    async def one_after_the_other(client: runstone.Client) -> None:
        for number, (moment, after_s) in plan:
            place = home / str(number)
            death = await die(server, place, moment, after_s)
            deaths.append(death)
            wrong.extend(await check(client, place, death))

    async with runstone.Client(server.url, server.token) as client, asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(one_after_the_other(client))
    return deaths, wrong


def main() -> int:
    """Kill as the arguments say; the exit code."""
    parser = argparse.ArgumentParser(prog="make kills", description="Trainings that die by kill -9, then sync.")
    parser.add_argument("--kills", type=int, default=200, help="trainings, 200 unless given")
    parser.add_argument("--seed", type=int, default=7, help="of their moments, 7 unless given")
    parser.add_argument("--train", nargs=2, type=Path, metavar=("JOURNAL", "FAILPOINTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(*given.train)
    with tempfile.TemporaryDirectory(prefix="runstone-kills-") as folder:
        home = Path(folder)
        with Running(Settings(home=home / "runstone", port=free_port("127.0.0.1"))) as server:
            deaths, wrong = asyncio.run(kill(server, home, given.kills, given.seed))
    counts = ", ".join(f"{moment} {n}" for moment, n in sorted(Counter(death.moment for death in deaths).items()))
    print(f"{len(deaths)} kills ({counts}); {sum(len(death.logged) for death in deaths):,} steps logged")
    print(*(wrong or ["every step whose log() had returned is there once"]), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
