"""`python -P -m deploy.up` as people meet it, around an API, a migration and a worker small enough to break."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.home import free_port
from tests.deploy.processes import children, family, gone, until
from tests.parts import without_coverage

ROOT = Path(__file__).parents[2]
STANDINS = Path(__file__).parent / "standins"
START_S = 60.0
STOP_S = 10.0
NO_S3 = {"RUNSTONE_S3_ENDPOINT_URL": "http://127.0.0.1:9"}  # the stand-ins ask nothing of it, and it takes the longest


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the real `deploy` and stand-ins for what it starts."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(STANDINS, folder, dirs_exist_ok=True)
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    shutil.copy(ROOT / "settings.py", folder)
    with without_coverage():
        yield folder


class Up:
    """A running `deploy.up`."""

    def __init__(self, process: Process, home: Path, port: int) -> None:
        self.process = process
        self.home = home
        self.url = f"http://127.0.0.1:{port}"

    async def said(self, pattern: str) -> str:
        """The first line with this in it."""
        assert self.process.stdout is not None
        seen = []
        async with asyncio.timeout(START_S):
            async for line in self.process.stdout:
                seen.append(line.decode().rstrip())
                if re.search(pattern, seen[-1]):
                    return seen[-1]
        raise AssertionError("\n".join(seen))

    async def ended(self, limit_s: float = STOP_S) -> int:
        """The exit code."""
        async with asyncio.timeout(limit_s):
            return await self.process.wait()

    async def answers_given(self) -> int:
        """How many answers the API ever gave, which the database knows."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return int((await http.get(f"{self.url}/readyz")).text)

    def family(self) -> list[Any]:
        """The processes that it started, and what those started."""
        return family(self.process.pid)

    def children(self, *logs: str) -> list[Any]:
        """The processes that it started and that write to these logs."""
        return [child for log in logs for child in children(self.home, log, of=self.process.pid)]


@asynccontextmanager
async def started(house: Path, home: Path, port: int, *, own: Mapping[str, str] = {}) -> AsyncIterator[Up]:
    """A `deploy.up`, with parts of our own, that is gone when the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "deploy.up"),
        env={**os.environ, **own, "PYTHONPATH": str(house), "RUNSTONE_HOME": str(home), "RUNSTONE_PORT": str(port)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield Up(process, home, port)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@pytest.fixture
def port() -> int:
    """A port for the API."""
    return free_port("127.0.0.1")


def break_api(home: Path) -> None:
    """Make every start of the API fail."""
    home.mkdir()
    (home / "broken-api").touch()


async def test_it_says_where_it_is_and_stops_in_order(house: Path, home: Path, port: int) -> None:
    async with started(house, home, port) as up:
        ready = await up.said("Runstone is ready")
        link = await up.said("#token=")
        family = up.family()

        up.process.send_signal(signal.SIGTERM)
        code = await up.ended()

    token = (home / "token").read_text().strip()
    assert ready == f"Runstone is ready: http://127.0.0.1:{port}"
    assert link.endswith(f"http://127.0.0.1:{port}/#token={token}")
    assert code == 0
    assert len(family) > 5
    await gone(family)
    assert token not in "".join(log.read_text() for log in (home / "logs").iterdir())
    assert "database system is shut down" in (home / "logs/postgres.log").read_text()


async def test_ctrl_c_while_it_starts_leaves_nothing(house: Path, home: Path, port: int) -> None:
    async with started(house, home, port, own=NO_S3) as up:
        await until(lambda: up.children("postgres", "valkey"))
        family = up.family()

        up.process.send_signal(signal.SIGINT)

        assert await up.ended() == 0
    await gone(family)


async def test_killed_it_leaves_nothing_and_starts_again_with_its_data(house: Path, home: Path, port: int) -> None:
    async with started(house, home, port) as up:
        await up.said("Runstone is ready")
        given = await up.answers_given()
        family = up.family()

        up.process.kill()

        await gone(family)

    async with started(house, home, port) as again:
        await again.said("Runstone is ready")
        assert await again.answers_given() > given


async def test_everything_killed_at_once_starts_again(house: Path, home: Path, port: int) -> None:
    async with started(house, home, port) as up:
        await up.said("Runstone is ready")
        given = await up.answers_given()
        family = up.family()
        up.process.kill()
        for process in family:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    async with started(house, home, port) as again:
        await again.said("Runstone is ready")
        assert await again.answers_given() > given


async def test_a_killed_api_and_worker_come_back(house: Path, home: Path, port: int) -> None:
    async with started(house, home, port, own=NO_S3) as up:
        await up.said("Runstone is ready")
        killed = up.children("api", "workers")
        for process in killed:
            process.kill()
        await gone(killed)

        await until(lambda: len(up.children("api", "workers")) == 2)


async def test_an_api_that_never_starts_is_told_with_its_last_words(house: Path, home: Path, port: int) -> None:
    break_api(home)

    async with started(house, home, port, own=NO_S3) as up:
        line = await up.said("does not start")
        words = await up.said("stand-in is broken")
        code = await up.ended()

    assert "The API does not start" in line
    assert words
    assert code == 1


async def test_a_taken_port_is_told_at_once(house: Path, home: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        async with started(house, home, port, own=NO_S3) as up:
            line = await up.said(".")
            code = await up.ended()

    assert line == (
        f"runstone: Port {port} on 127.0.0.1 is in use by another program. "
        f"Choose another with RUNSTONE_PORT, such as RUNSTONE_PORT={port + 1}."
    )
    assert code == 1


async def test_a_second_start_on_the_same_folder_is_told(house: Path, home: Path, port: int) -> None:
    async with started(house, home, port, own=NO_S3) as up:
        await up.said("Runstone is ready")
        async with started(house, home, port, own=NO_S3) as second:
            line = await second.said(".")
            code = await second.ended()

    assert line.startswith(f"runstone: Runstone already runs on {home} (process {up.process.pid}).")
    assert code == 1
