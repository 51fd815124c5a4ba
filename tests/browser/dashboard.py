"""The dashboard in a real browser: what a test and the script of the screenshots do with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from tests.browser.explorer import WAIT_S

AXE = Path(__file__).parent.parent.parent / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
RUN_AXE = """
    async (rules) => {
      const { violations } = await axe.run(document, { runOnly: rules });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' | ')}`);
    }
"""
Theme: TypeAlias = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
STORE = "{ serverInfo { artifactOrigin } }"

expect.set_options(timeout=WAIT_S * 1000)


class Dashboard:
    """A page of the dashboard. What must not happen is noted: requests `outside`, and `complaints` in the console."""

    def __init__(self, page: Page, url: str, token: str, store: str) -> None:
        self.page = page
        self.url = url
        self.token = token
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self._own = (f"{url}/", f"{url.replace('http', 'ws', 1)}/", f"{store}/", "data:")
        page.on("request", self._note_request)
        page.on("websocket", lambda socket: self._note_address(socket.url))
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note_request(self, request: Request) -> None:
        self._note_address(request.url)

    def _note_address(self, address: str) -> None:
        if not address.startswith(self._own):
            self.outside.append(address)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:  # the browser reports what a policy forbids here
            self.complaints.append(message.text)

    async def goto(self, path: str) -> None:
        """Follow a link to this path, with the token in its fragment, as the printed link has it."""
        await self.page.goto(f"{self.url}{path}#token={self.token}")

    async def go_back(self) -> None:
        """To the view before this one."""
        await url_of(self.page)
        await self.page.go_back()

    async def reload(self) -> None:
        """Load what is shown once more."""
        await url_of(self.page)
        await self.page.reload()

    def main(self) -> Locator:
        """What is below the bar."""
        return self.page.get_by_role("main")

    async def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA, in light and in dark."""
        await self.page.evaluate(AXE.read_text("utf-8"))
        found: list[str] = []
        for theme in THEMES:
            await self.page.emulate_media(color_scheme=theme)
            await expect(self.page.locator("html")).to_have_attribute("data-theme", theme)
            found += [f"{theme}: {violation}" for violation in await self.page.evaluate(RUN_AXE, RULES)]
        return found


async def url_of(page: Page) -> str:
    """What the address bar says of what is shown, which it does behind the picture."""
    await page.evaluate(DRAWN)
    return str(await page.evaluate("location.href"))  # `page.url` hears of it later


async def store_of(url: str, token: str) -> str:
    """Where artifacts come from."""
    async with httpx.AsyncClient(base_url=url, verify=False) as http:
        answer = await http.post("/graphql", json={"query": STORE}, headers={"Authorization": f"Bearer {token}"})
    data: dict[str, Any] = answer.json()["data"]
    return str(data["serverInfo"]["artifactOrigin"])


@asynccontextmanager
async def open_dashboard(
    browser: Browser,
    url: str,
    token: str,
    *,
    width: int = 1280,
    height: int = 800,
    colours: Theme = "light",
) -> AsyncIterator[Dashboard]:
    """A page of its own, with nothing kept from others."""
    store = await store_of(url, token)
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
    try:
        yield Dashboard(await context.new_page(), url, token, store)
    finally:
        await context.close()
