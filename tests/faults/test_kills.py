"""kill -9 of everything at once: what was acknowledged is there when it is started again."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from db import ids
from deploy.local.home import free_port
from tests.torture import wire
from tests.torture.checker import check_run
from tests.torture.content import Block
from tests.torture.journal import History, Journal
from tests.torture.wire import CREATE

ROOT = Path(__file__).parents[2]
BLOCKS = 400
BEFORE = 40
SETTLED_S = 90.0


def start_up(home: Path, port: int) -> "subprocess.Popen[str]":
    """`runstone up` as a person starts it, ready."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RUNSTONE_HOME": str(home), "RUNSTONE_PORT": str(port)}
    program = [sys.executable, "-P", "-m", "deploy.up"]
    started = subprocess.Popen(program, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert started.stdout is not None
    printed = ""
    for line in started.stdout:
        printed += line
        if "Runstone is ready" in line:
            return started
    raise AssertionError(f"did not start: {printed}")


def kill(started: "subprocess.Popen[str]") -> None:
    """Kill it and all that it started."""
    family = [*psutil.Process(started.pid).children(recursive=True), psutil.Process(started.pid)]
    for process in family:
        if process.is_running():
            process.kill()
    started.wait(10)
    psutil.wait_procs(family, timeout=10)


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("unmeasured")
async def test_kill_of_everything_loses_nothing_acknowledged(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port("127.0.0.1")
    journal = Journal(tmp_path / "1.journal")
    started = await asyncio.to_thread(start_up, home, port)
    run_id, writer_id = str(ids.new()), str(uuid4())
    under_way = asyncio.Event()

    async def log_points(stubborn: wire.Server) -> None:
        journal.note(f"run {run_id} http")
        await stubborn.ask(CREATE, input={"id": run_id, "experiment": "faults"})
        for seq in range(BLOCKS):
            block = Block(1, seq, 2, 3, salt=31 * seq)
            journal.tried(run_id, writer_id, [block])
            while (await stubborn.log(run_id, writer_id, [block])).outcome != "stored":
                await asyncio.sleep(0.05)
            journal.note(f"acknowledged 1 {seq} 1")
            if seq == BEFORE:
                under_way.set()

    async with wire.Server(f"http://127.0.0.1:{port}", (home / "token").read_text().strip()) as stubborn:
        async with asyncio.timeout(SETTLED_S), asyncio.TaskGroup() as tasks:
            logging = tasks.create_task(log_points(stubborn))
            await under_way.wait()
            kill(started)
            assert not logging.done()
            again = await asyncio.to_thread(start_up, home, port)
        try:
            history = History.of(tmp_path)
            assert history.acknowledged == history.points == BLOCKS * 6
            assert await check_run(stubborn, history.runs[run_id]) == []
        finally:
            again.terminate()
            assert await asyncio.to_thread(again.wait, 15) == 0
