"""Three times what a process takes: the rest is refused in time, and nothing acknowledged is lost."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from api.http import REQUESTS_MAX
from db import ids
from tests.conftest import Server
from tests.torture import wire
from tests.torture.checker import check_run
from tests.torture.content import Block
from tests.torture.journal import History, Journal
from tests.torture.wire import CREATE, LOG, answer_of, block_input

SENDERS = 3 * REQUESTS_MAX
SPARE_FILES = 500
CONNECTING_MAX = 50
DEADLINE_S = 150.0


@pytest.fixture
def many_files() -> None:
    """As many connections as there are senders."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, SENDERS + SPARE_FILES)), hard))


@asynccontextmanager
async def nothing_is_stored(url: str) -> AsyncIterator[None]:
    """The database takes no points while this is open."""
    conn = await asyncpg.connect(url)
    try:
        async with conn.transaction():
            await conn.execute("lock table block in share mode")
            yield
    finally:
        await conn.close()


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends one block over a connection of its own."""

    server: Server
    run_id: str
    number: int
    writer_id: str
    refused: list[httpx.Response]
    connecting: asyncio.Semaphore  # who connects and is then slow to say what it wants is cut off

    @property
    def block(self) -> Block:
        return Block(self.number, 0, 1, 1, salt=2 * self.number)

    async def send(self) -> httpx.Response:
        """The answer to one request."""
        blocks = [block_input(self.block)]
        wanted = {"input": {"runId": self.run_id, "writerId": self.writer_id, "blocks": blocks}}
        body = json.dumps({"query": LOG, "variables": wanted}).encode()
        host = self.server.url.removeprefix("http://")
        address, _, port = host.partition(":")
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self.server.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        async with self.connecting:
            reader, writer = await asyncio.open_connection(address, int(port))
            writer.write(head.encode() + body)
        try:
            first, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status, *lines = first.decode().split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return httpx.Response(int(status.split(" ")[1]), headers=headers, content=rest)

    async def deliver(self) -> None:
        """Send until it is stored, as the refusals say."""
        while (answer := answer_of(response := await self.send())).outcome != "stored":
            assert answer.outcome == "later", answer
            if response.status_code == 503:
                self.refused.append(response)
            await asyncio.sleep(float(response.headers.get("retry-after", "1")))


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("many_files")
async def test_overload_sheds_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    assert server.settings.database_url is not None
    run_id, journal = str(ids.new()), Journal(tmp_path / "1.journal")
    refused: list[httpx.Response] = []
    connecting = asyncio.Semaphore(CONNECTING_MAX)
    *senders, last = [
        Sender(server, run_id, number, str(uuid4()), refused, connecting) for number in range(SENDERS + 1)
    ]
    journal.note(f"run {run_id} http")

    async def acknowledged(sender: Sender) -> None:
        await sender.deliver()
        journal.note(f"acknowledged {sender.number} 0 1")

    async with wire.Server(server.url, server.token, answer_s=60) as stubborn:
        await stubborn.ask(CREATE, input={"id": run_id, "experiment": "overload"})
        for sender in (*senders, last):
            journal.tried(run_id, sender.writer_id, [sender.block])
        async with (
            asyncio.timeout(DEADLINE_S),
            asyncio.TaskGroup() as tasks,
            nothing_is_stored(server.settings.database_url),
        ):
            for sender in senders:
                tasks.create_task(acknowledged(sender))
            while len(refused) < REQUESTS_MAX:
                await asyncio.sleep(0.05)

        assert answer_of(await last.send()).outcome == "stored"
        journal.note(f"acknowledged {last.number} 0 1")
        for response in refused:
            assert int(response.headers["retry-after"]) >= 1
            assert all(error["extensions"]["retryable"] for error in response.json()["errors"])
        history = History.of(tmp_path)
        assert history.acknowledged == history.points == SENDERS + 1
        assert await check_run(stubborn, history.runs[run_id]) == []
