"""GraphiQL in a real browser: what a test and the script of the screenshots do with it."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlencode

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

CHROMIUM = os.environ.get("RUNSTONE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_S = 20.0

RESPONSE = "() => __MONACO.editor.getModels().find((model) => model.uri.path.endsWith('response.json'))?.getValue()"


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Chromium that finds no name but this machine's."""
    assert CHROMIUM is not None
    args = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=args, chromium_sandbox=os.geteuid() != 0
        )
        try:
            yield browser
        finally:
            await browser.close()


class Explorer:
    """A GraphiQL page. `outside` and `complaints` note what must not happen: foreign requests, console errors."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.outside: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._note_request)
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self.outside.append(request.url)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    async def open(self, token: str | None, query: str | None = None, variables: dict[str, Any] | None = None) -> None:
        """Follow a link with these things in its fragment, and wait for the editor."""
        carried = {"token": token, "q": query, "v": json.dumps(variables, indent=2) if variables else None}
        fragment = urlencode({name: value for name, value in carried.items() if value is not None})
        await self.page.goto(f"{self.url}/graphiql#{fragment}")
        await expect(self.page.locator(".graphiql-query-editor .view-lines")).to_be_visible(timeout=WAIT_S * 1000)

    async def choose(self, title: str) -> None:
        """Open an example, and wait until the editor shows it."""
        await self.page.locator(".examples").get_by_role("button").filter(has_text=title).first.click()
        await expect(self.page.locator(".graphiql-query-editor .view-line").first).to_contain_text(
            title.replace(" ", "\u00a0")
        )

    async def run(self, operation: str | None = None) -> dict[str, Any]:
        """Press the run button (and choose the operation, if the document holds several); the answer."""
        async with self.page.expect_response("**/graphql", timeout=WAIT_S * 1000):
            await self.page.locator(".graphiql-execute-button").click()
            if operation is not None:
                await self.page.get_by_role("menuitem", name=operation, exact=True).click()
        await expect(self.page.locator(".graphiql-response .graphiql-spinner")).to_have_count(0)
        return await self.shown()

    async def shown(self) -> dict[str, Any]:
        """The answer in the right pane."""
        async with asyncio.timeout(WAIT_S):
            while not (text := await self.page.evaluate(RESPONSE)):
                await asyncio.sleep(0.05)
        answer: dict[str, Any] = json.loads(text)
        return answer


@asynccontextmanager
async def open_explorer(
    browser: Browser, url: str, *, width: int = 1280, height: int = 800, colours: Literal["light", "dark"] = "light"
) -> AsyncIterator[Explorer]:
    """A page of its own, with nothing kept from others."""
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
    try:
        yield Explorer(await context.new_page(), url)
    finally:
        await context.close()
