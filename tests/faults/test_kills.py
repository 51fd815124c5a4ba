"""kill -9 of any part in the middle of the work: what was acknowledged is there once, every upload ends."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import runstone
from deploy.local.home import free_port
from settings import Settings
from tests.conftest import Running, Server, new_id
from tests.parts import pid_of

ROOT = Path(__file__).parents[2]
STEPS = 400
FILES = 12
SETTLED_S = 90.0


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Runstone of its own, because it suffers."""
    home = tmp_path_factory.mktemp("victim")
    with Running(Settings(home=home, port=free_port("127.0.0.1"))) as started:
        yield started


CREATE = """
    mutation ($input: CreateRunInput!) { createRun(input: $input) { __typename } }
"""
LOG = """
    mutation ($input: LogMetricsInput!) {
      logMetrics(input: $input) { __typename ... on UserError { code message } }
    }
"""
SERIES = """
    query ($id: ID!) { run(id: $id) { series(keys: ["loss"]) { steps values exact } } }
"""
ARTIFACTS = """
    query ($id: ID!) {
      run(id: $id) { artifacts { nodes { path state failure { reason message } download { url } digest } } }
    }
"""
FINISH = """
    mutation ($input: FinishRunInput!) { finishRun(input: $input) { __typename } }
"""


class Stubborn:
    """Asks until it is answered, as a client that must not lose anything; every request may be sent twice."""

    def __init__(self, server: Server) -> None:
        self._http = httpx.AsyncClient(base_url=server.url, timeout=10)
        self._headers = {"Authorization": f"Bearer {server.token}"}

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """`data` of the first answer without a fault of the server."""
        body = {"query": document, "variables": variables}
        async with asyncio.timeout(SETTLED_S):
            while True:
                answer = await self._once(body)
                if answer is not None:
                    return answer
                await asyncio.sleep(0.1)

    async def _once(self, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer = (await self._http.post("/graphql", json=body, headers=self._headers)).json()
        except httpx.TransportError:
            return None
        if "errors" in answer:
            assert all(error["extensions"]["retryable"] for error in answer["errors"]), answer
            return None
        data: dict[str, Any] = answer["data"]
        results = [value for value in data.values() if isinstance(value, dict)]
        return None if any(result.get("code") == "UNAVAILABLE" for result in results) else data

    async def log(self, run_id: str, writer_id: str, step: int) -> None:
        """One acknowledged point."""
        block = {
            "seq": step,
            "keys": ["loss"],
            "steps": [step],
            "times": [1_700_000_000_000 + step],
            "values": [step / 7],
        }
        data = await self.ask(LOG, input={"runId": run_id, "writerId": writer_id, "blocks": [block]})
        assert data["logMetrics"]["__typename"] == "LogMetricsPayload", data


async def kill(server: Server, part: str, when: asyncio.Event) -> None:
    """Kill the part as soon as the event is set, and wait until another process serves it."""
    await when.wait()
    killed = pid_of(server, part)
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(SETTLED_S):
        while True:
            await asyncio.sleep(0.2)
            with suppress(StopIteration, psutil.NoSuchProcess):
                if pid_of(server, part) != killed:
                    return


def make_files(folder: Path) -> Path:
    """Some files that nobody has uploaded yet."""
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.bin").write_bytes(os.urandom(200_000))
    return folder


async def upload_story(server: Server, folder: Path) -> str:
    """A run of the real client with files; its id."""
    async with runstone.Client(server.url, server.token) as client:
        run = await client.start_run(experiment="faults")
        for step in range(STEPS):
            run.log({"loss": step / 3, "accuracy": step / 5}, step=step)
            if step % 4 == 0:
                await asyncio.sleep(0.01)
            if step == STEPS // 4:
                run.log_artifacts(folder, "files")
        finished = await run.finish(patience_s=SETTLED_S)
        assert finished.status == "FINISHED"
        return str(run.id)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", ["api", "worker", "postgres", "redis", "s3"])
async def test_killing_a_part_loses_and_doubles_nothing(victim: Server, tmp_path: Path, part: str) -> None:
    stubborn = Stubborn(victim)
    run_id, writer_id = new_id(), str(uuid.uuid4())
    await stubborn.ask(CREATE, input={"id": run_id, "experiment": "faults"})

    under_way = asyncio.Event()

    async def log_points() -> None:
        for step in range(STEPS):
            await stubborn.log(run_id, writer_id, step)
            if step == STEPS // 4:
                under_way.set()

    files = make_files(tmp_path / "files")
    _, told, _ = await asyncio.gather(log_points(), upload_story(victim, files), kill(victim, part, under_way))

    await stubborn.ask(FINISH, input={"runId": run_id})
    [series] = (await stubborn.ask(SERIES, id=run_id))["run"]["series"]
    assert series["exact"]
    assert series["steps"] == list(range(STEPS))
    assert series["values"] == [step / 7 for step in range(STEPS)]
    [loss] = (await stubborn.ask(SERIES, id=told))["run"]["series"]
    assert loss["steps"] == list(range(STEPS))
    await check_files(stubborn, told, files)


async def check_files(stubborn: Stubborn, run_id: str, folder: Path) -> None:
    """Every upload has ended; what is READY has the bytes that were sent."""
    async with asyncio.timeout(SETTLED_S):
        while True:
            nodes = (await stubborn.ask(ARTIFACTS, id=run_id))["run"]["artifacts"]["nodes"]
            if all(node["state"] in {"READY", "FAILED"} for node in nodes):
                break
            await asyncio.sleep(0.2)
    files = [node for node in nodes if node["path"].startswith("files/")]
    assert len(files) == FILES
    for node in files:
        assert node["state"] == "READY", node
        async with httpx.AsyncClient() as http:
            sent = (await http.get(node["download"]["url"])).content
        assert sent == (folder / Path(node["path"]).name).read_bytes()
        assert node["digest"] == "sha256:" + hashlib.sha256(sent).hexdigest()


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


@pytest.mark.timeout(240)
async def test_kill_of_everything_loses_nothing_acknowledged(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port("127.0.0.1")
    started = start_up(home, port)
    server = Server(f"http://127.0.0.1:{port}", (home / "token").read_text().strip(), Settings(home=home, port=port))
    run_id, writer_id = new_id(), str(uuid.uuid4())
    stubborn = Stubborn(server)
    await stubborn.ask(CREATE, input={"id": run_id, "experiment": "faults"})
    acknowledged = 0

    async def log_points() -> None:
        nonlocal acknowledged
        for step in range(STEPS):
            await stubborn.log(run_id, writer_id, step)
            acknowledged += 1

    logging = asyncio.create_task(log_points())
    await asyncio.sleep(0.7)
    family = [*psutil.Process(started.pid).children(recursive=True), psutil.Process(started.pid)]
    for process in family:
        if process.is_running():
            process.kill()
    started.wait(10)
    psutil.wait_procs(family, timeout=10)
    assert 0 < acknowledged < STEPS
    again = await asyncio.to_thread(start_up, home, port)
    try:
        await logging
        [series] = (await stubborn.ask(SERIES, id=run_id))["run"]["series"]
        assert series["steps"] == list(range(STEPS))
    finally:
        again.terminate()
        assert again.wait(15) == 0
