"""A browser for the tests, and the pages it looks at. Without Chromium the tests are skipped, and pytest says why."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser.explorer import CHROMIUM, Explorer, open_browser, open_explorer
from tests.conftest import Server

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
