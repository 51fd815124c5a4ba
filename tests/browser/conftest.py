"""A browser for the tests, and the pages it looks at. Without Chromium the tests are skipped, and pytest says why."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from db.access import Role
from db.pool import Pool
from tests.browser.dashboard import Dashboard, open_dashboard
from tests.browser.explorer import CHROMIUM, Explorer, open_browser, open_explorer
from tests.browser.recorded import Recorded, record
from tests.conftest import Client, People, Server

BUILD = Path(__file__).parent.parent.parent / "dashboard" / "build.py"


@pytest.fixture(scope="session")
def pages() -> None:
    """The built pages, current with their sources."""
    built = subprocess.run([sys.executable, BUILD, "--require"], capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(built.stderr.strip().splitlines()[-1])


@pytest.fixture(scope="session")
async def browser(pages: None) -> AsyncIterator[Browser]:
    """One Chromium for the session."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: install the package `chromium`, or name the program in RUNSTONE_CHROMIUM")
    async with open_browser() as opened:
        yield opened


@pytest.fixture
async def explorer(browser: Browser, server: Server) -> AsyncIterator[Explorer]:
    """GraphiQL of a new visitor. At the end: no foreign request and no complaint of the browser."""
    async with open_explorer(browser, server.url) as opened:
        yield opened
        assert opened.outside == []
        assert opened.complaints == []


@pytest.fixture(scope="session")
async def owner(server: Server, pool: Pool) -> AsyncIterator[Client]:
    """The owner of a project of its own, whose runs the tests of the pages only look at."""
    people = People(server, pool)
    yield await people.member(await people.project(), Role.OWNER)
    await people.close()


@pytest.fixture(scope="session")
async def pair(owner: Client, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorded, Recorded]:
    """Two runs of one script in the owner's project."""
    return await asyncio.to_thread(record, owner, tmp_path_factory.mktemp("pair"))


@pytest.fixture
async def dashboard(browser: Browser, owner: Client) -> AsyncIterator[Dashboard]:
    """The dashboard of the owner, newly opened. At the end: no foreign request and no complaint of the browser."""
    async with open_dashboard(browser, owner.server.url, owner.token) as opened:
        yield opened
        assert opened.outside == []
        assert opened.complaints == []
