"""Folders for the embedded services, and the processes that serve them."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.stack import services
from settings import Settings


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that does not exist yet, as on a first start."""
    with tempfile.TemporaryDirectory(prefix="runstone-") as folder:
        yield Path(folder, "home")


@pytest_asyncio.fixture(scope="module")
async def running() -> AsyncIterator[Settings]:
    """Services of the module, each of which may be killed: they come back."""
    with tempfile.TemporaryDirectory(prefix="runstone-") as folder:
        async with services(Settings(home=Path(folder, "home"))) as settings:
            yield settings
