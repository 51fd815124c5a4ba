"""A Runstone that suffers, and clients that do not give up."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio

from db import ids
from deploy.local.home import free_port
from settings import Settings
from tests.conftest import Running, Server
from tests.failpoints import Failpoints
from tests.parts import without_coverage
from tests.torture import wire
from tests.torture.place import with_failpoints
from tests.torture.wire import CREATE


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """The test starts processes in order to kill them."""
    with without_coverage():
        yield


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Failpoints:
    """The failpoints of `victim`."""
    return Failpoints(tmp_path_factory.mktemp("failpoints"))


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory, points: Failpoints) -> Iterator[Server]:
    """A Runstone of its own, because it suffers."""
    home = tmp_path_factory.mktemp("victim")
    running = Running(Settings(home=home, port=free_port("127.0.0.1")))
    with ExitStack() as until_the_end:
        with with_failpoints(points.folder), without_coverage():
            started = until_the_end.enter_context(running)
        yield started


@pytest_asyncio.fixture
async def stubborn(victim: Server) -> AsyncIterator[wire.Server]:
    """A client that asks until it is answered."""
    async with wire.Server(victim.url, victim.token) as asking:
        yield asking


@pytest_asyncio.fixture
async def run_id(stubborn: wire.Server) -> str:
    """A new run."""
    run_id = str(ids.new())
    await stubborn.ask(CREATE, input={"id": run_id, "experiment": "faults"})
    return run_id
