"""A real Runstone for the tests: started by the code that `make run` uses, once per session."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from db import access, ids, projects
from db.access import Role
from db.pool import Pool, open_pool
from deploy import up
from deploy.local.home import free_port
from settings import Settings

START_S = 120.0
STATEMENT_TIMEOUT_S = 30  # of the shared server: who waits for another's commit waits for the disk, which may stall
SLOW = ("faults", "workers", "deploy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow folders first, so that both cores end together."""
    items.sort(key=lambda item: item.path.parent.name not in SLOW)


@dataclass(frozen=True, slots=True)
class Server:
    """A running Runstone; `token` is the admin's, made on the first start."""

    url: str
    token: str
    settings: Settings


class Running:
    """Runstone in a thread of its own, so that tests that block or cancel leave it alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runstone")
        self._complete: Settings | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Server:
        self._thread.start()
        if not self._started.wait(START_S):
            raise TimeoutError(f"Runstone did not start in {START_S} s")
        if self._complete is None:
            raise RuntimeError("Runstone did not start") from self._failure
        token = self._complete.token_path.read_text().strip()
        return Server(url=self._complete.url, token=token, settings=self._complete)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "Runstone did not stop"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - shown by whoever waits for the start
            self._failure = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        async with up.running(self._settings) as complete:
            self._complete = complete
            self._started.set()
            await self._stop.wait()


@pytest.fixture(scope="session", autouse=True)
def session_spool_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the clients of this session keep what is not sent yet: never where those of people do."""
    folder = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as patching:
        patching.setenv("RUNSTONE_SPOOL_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Runstone that the whole session shares; a test keeps to a project of its own."""
    home = tmp_path_factory.mktemp("runstone")
    asked = Settings(home=home, port=free_port("127.0.0.1"), statement_timeout_s=STATEMENT_TIMEOUT_S)
    with Running(asked) as started:
        yield started


@pytest.fixture(scope="session")
async def pool(server: Server) -> AsyncIterator[Pool]:
    """Straight to the database of `server`, as an operator or a thief would."""
    assert server.settings.database_url is not None
    async with open_pool(
        server.settings.database_url, size_max=4, statement_timeout_s=STATEMENT_TIMEOUT_S, name="test"
    ) as opened:
        yield opened


class Client:
    """Asks GraphQL over HTTP, as a dashboard does."""

    def __init__(self, server: Server, token: str, project: str) -> None:
        self.server = server
        self.token = token
        self.project = project
        # Plain HTTP; loading certificates would take longer than most tests.
        self._http = httpx.AsyncClient(base_url=server.url, timeout=60, verify=False)

    async def post(self, document: str, **variables: Any) -> httpx.Response:
        """The raw response."""
        body = {"query": document, "variables": variables}
        return await self._http.post("/graphql", json=body, headers={"Authorization": f"Bearer {self.token}"})

    async def post_raw(self, body: bytes) -> httpx.Response:
        """The response to a body that `post` could not make."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return await self._http.post("/graphql", content=body, headers=headers)

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """`data` of the answer, which must hold no errors."""
        answer: dict[str, Any] = (await self.post(document, **variables)).json()
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def refused(self, document: str, **variables: Any) -> dict[str, Any]:
        """The first entry of `errors` of the answer."""
        answer = (await self.post(document, **variables)).json()
        error: dict[str, Any] = answer["errors"][0]
        return error

    async def create_run(self, **more: Any) -> str:
        """The id of a new run in this client's project."""
        given = {"id": new_id(), "project": self.project, "experiment": "test", **more}
        data = await self.ask(CREATE_RUN, input=given)
        assert data["createRun"]["__typename"] == "CreateRunPayload", data["createRun"]
        return str(given["id"])

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()


CREATE_RUN = """
    mutation ($input: CreateRunInput!) {
      createRun(input: $input) {
        __typename
        ... on CreateRunPayload { created run { id name status } }
        ... on UserError { code message path limit }
      }
    }
"""


def new_id() -> str:
    """A fresh run id, as a client makes it."""
    return str(ids.new())


class People:
    """Makes accounts with a role in a project, and clients that speak for them."""

    def __init__(self, server: Server, pool: Pool) -> None:
        self._server = server
        self._pool = pool
        self._accounts: dict[Client, uuid.UUID] = {}

    async def project(self) -> str:
        """The name of a new project that nobody of this test belongs to yet."""
        name = f"p-{uuid.uuid4().hex[:12]}"
        owner = await access.create_account(self._pool, f"owner-{name}")
        await projects.insert(self._pool, owner, name, "")
        return name

    async def member(self, project: str, role: Role) -> Client:
        """A client of a new account with this role."""
        account = await access.create_account(self._pool, f"{role.lower()}-{uuid.uuid4().hex[:12]}")
        client = Client(self._server, await access.create_token(self._pool, account), project)
        self._accounts[client] = account
        await self.promote(client, role)
        return client

    async def promote(self, client: Client, role: Role) -> None:
        """Give the client's account this role in the client's project."""
        project_id = await self._pool.fetchval("select id from project where name = $1", client.project)
        await access.grant(self._pool, project_id, self._accounts[client], role)

    async def close(self) -> None:
        """Close all clients."""
        for client in self._accounts:
            await client.close()


@pytest.fixture
async def people(server: Server, pool: Pool) -> AsyncIterator[People]:
    """Accounts and clients for this test."""
    made = People(server, pool)
    yield made
    await made.close()


@pytest.fixture
async def client(people: People) -> Client:
    """An editor in a project of its own."""
    return await people.member(await people.project(), Role.EDITOR)


@pytest.fixture
async def stranger(people: People) -> Client:
    """An editor of another project than `client`'s."""
    return await people.member(await people.project(), Role.EDITOR)
