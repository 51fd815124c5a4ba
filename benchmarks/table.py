"""`python -P -m benchmarks.table`: how soon the table of many runs can be used, in a real browser with the database."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page

from benchmarks import report, server, store, trainings
from benchmarks.browser import Thread, at_95_of_100
from benchmarks.report import Section
from benchmarks.server import Server
from tests.browser.dashboard import Dashboard, open_dashboard
from tests.browser.explorer import open_browser

SAMPLES: Final = 5
SCROLLS: Final = 60  # frames from the top downwards
PASSES: Final = 4
SETTLE_MS: Final = 1_500  # for what comes behind the first rows, so that it is in no other sample
PARAMS: Final = ("lr", "model", "optimizer", "batch_size", "seed", "depth", "width", "dropout")
COLUMNS: Final = (*(f"param:{key}" for key in PARAMS), *(f"metric:{key}" for key in trainings.KEYS[: 19 - len(PARAMS)]))

# When the document, the page without rows, its first rows and all of them were painted, in milliseconds since the
# navigation began.
NOTE: Final = """
window.seen = {};
const painted = (what) => requestAnimationFrame(() => setTimeout(() => { window.seen[what] = performance.now(); }));
addEventListener("DOMContentLoaded", () => painted("document"));
new MutationObserver(() => {
  if (!("code" in window.seen) && document.querySelector("dialog[open]")) {
    window.seen.code = null;
    painted("code");
  }
  const grid = document.querySelector("[role=grid]");
  if (grid && !("first" in window.seen) && grid.querySelector("[role=gridcell]")) {
    window.seen.first = null;
    painted("first");
  }
  if (grid && grid.ariaRowCount) {
    const rows = Number(grid.ariaRowCount);
    if (rows !== window.seen.rows) {
      window.seen.rows = rows;
      painted("last");
    }
  }
}).observe(document, { attributes: true, childList: true, subtree: true });
"""
# Wait for all rows. What Playwright itself does while it waits, a tree of the whole page, takes as long as the page.
ALL_ROWS: Final = """
async (rows) => {
  while (window.seen.rows !== rows || !window.seen.last) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
"""
TO_THE_TOP: Final = """() => document.querySelector("[role=grid]").scrollTo(0, 0)"""
SCROLL: Final = """
async (steps) => {
  const grid = document.querySelector("[role=grid]");
  const frames = [];
  let before = await new Promise(requestAnimationFrame);
  for (let step = 0; step < steps; step += 1) {
    grid.scrollBy(20, 140);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
  }
  return frames;
}
"""
# Press a checkbox, and wait for the frame that shows it.
TOGGLE: Final = """
async () => {
  const begin = performance.now();
  document.querySelector("label input[type=checkbox]").click();
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - begin;
}
"""


def main() -> int:
    """Measure, print, save."""
    given = argparse.ArgumentParser(prog="python -P -m benchmarks.table", description=__doc__)
    given.add_argument("--output", type=Path, default=Path("build/bench"), help="where table.md and table.json go")
    asked = given.parse_args()
    sections = asyncio.run(measure())
    about = report.about(f"20 columns of runs of {trainings.STEPS} steps")
    print(report.markdown(sections, about))
    text, data = report.save(sections, about, asked.output, "table")
    print(f"Saved {text} and {data}.")
    return 0


async def measure() -> list[Section]:
    """The table of a thousand and of ten thousand runs, from the link to the rows."""
    async with server.started() as runstone, open_browser() as browser:
        bare = await floor(runstone, browser)
        return [bare, await table(runstone, browser, 1_000, 600), await table(runstone, browser, 10_000, 1_200)]


async def floor(runstone: Server, browser: Browser) -> Section:
    """What the same browser and server take for pages without rows, below which no table can come."""
    section = Section("A page without rows", "The rest of a load, to compare the tables of this run with.")
    url = runstone.settings.url
    async with open_page(browser) as page:
        documents = [await painted(page, f"{url}/healthz", "document") for _ in range(SAMPLES)]
        codes = [await painted(page, f"{url}/compare", "code") for _ in range(1 + SAMPLES)]
    section.add("an answer of two bytes", since_the_link_ms=documents)
    section.add("the code, for the first time", "asks for the token", since_the_link_ms=codes[:1])
    section.add("the code, kept by the browser", "asks for the token", since_the_link_ms=codes[1:])
    return section


@asynccontextmanager
async def open_page(browser: Browser) -> AsyncIterator[Page]:
    """A page as large as that of the tables, without a token."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = await context.new_page()
        await page.add_init_script(NOTE)
        yield page
    finally:
        await context.close()


async def painted(page: Page, url: str, what: str) -> float:
    """When it could be seen."""
    await page.goto("about:blank")
    await page.goto(url)
    await page.wait_for_timeout(SETTLE_MS)
    await page.wait_for_function("(what) => window.seen[what]", arg=what)
    when: float = await page.evaluate("(what) => window.seen[what]", what)
    return when


async def table(runstone: Server, browser: Browser, runs: int, allowed_ms: int) -> Section:
    """So many runs in a project of their own."""
    how = "Chromium without a GPU, 1280 by 800, on this machine. Work: CPU of the page's thread, of a frame or a press."
    section = Section(f"A table of {runs:,} runs", how)
    assert runstone.settings.database_url is not None
    project = f"table-{runs}"
    await store.fill(runstone.settings.database_url, project, runs, lambda _: None)
    token = runstone.settings.token_path.read_text().strip()
    where = await selection(runstone, project)
    async with open_dashboard(browser, runstone.settings.url, token) as dashboard:
        await dashboard.page.add_init_script(NOTE)
        seen = [
            await opened(dashboard, f"/compare?q={where}&cols={','.join(COLUMNS)}&u=1", runs) for _ in range(SAMPLES)
        ]
        first, last = f"{runs:,} x 20, first rows", f"{runs:,} x 20, all rows"
        section.add(first, since_the_link_ms=[each["first"] for each in seen])
        section.add(last, since_the_link_ms=[each["last"] for each in seen])
        thread = await Thread.of(dashboard.page)
        frames, work = await scrolls(dashboard.page, thread)
        section.add("scrolling", frame_ms=frames, work_ms=work)
        section.add("95 of 100 frames", frame_ms=at_95_of_100(frames))
        shown, work = await toggles(dashboard.page, thread)
        section.add("only differences", toggle_ms=shown, work_ms=work)
    section.at_most("usable", section.median("since the link ms", first), allowed_ms, "ms")
    section.at_most("95 of 100 frames while scrolling", section.median("frame ms", "95 of 100 frames"), 33, "ms")
    section.at_most("only differences", section.median("toggle ms", "only differences"), 50, "ms")
    return section


async def selection(runstone: Server, project: str) -> str:
    """A filter that every run of the project satisfies and no other."""
    data = await runstone.ask(
        "query ($name: String!) { project(name: $name) { experiments { nodes { id } } } }", name=project
    )
    ids: Sequence[Any] = data["project"]["experiments"]["nodes"]
    return f"experimentId+IN+({','.join(repr(each['id']) for each in ids)})"


async def opened(dashboard: Dashboard, path: str, runs: int) -> dict[str, float]:
    """When the first rows and the last could be seen."""
    await dashboard.page.goto("about:blank")
    await dashboard.goto(path)
    await dashboard.page.wait_for_timeout(SETTLE_MS)
    await dashboard.page.evaluate(ALL_ROWS, runs + 1)
    await dashboard.page.wait_for_timeout(SETTLE_MS)
    seen: dict[str, float] = await dashboard.page.evaluate("() => window.seen")
    return seen


async def scrolls(page: Page, thread: Thread) -> tuple[list[float], list[float]]:
    """What each frame took, and of each pass from the top what a frame cost the thread of the page."""
    frames: list[float] = []
    work = []
    for _ in range(PASSES):
        await page.evaluate(TO_THE_TOP)
        await page.wait_for_timeout(SETTLE_MS)
        begin = await thread.worked_ms()
        frames += await page.evaluate(SCROLL, SCROLLS)
        work.append((await thread.worked_ms() - begin) / SCROLLS)
    return frames, work


async def toggles(page: Page, thread: Thread) -> tuple[list[float], list[float]]:
    """From the press to the columns that are left, and what the thread of the page worked for it."""
    shown, work = [], []
    for _ in range(2 * SAMPLES):
        begin = await thread.worked_ms()
        shown.append(await page.evaluate(TOGGLE))
        work.append(await thread.worked_ms() - begin)
    return shown, work


if __name__ == "__main__":
    sys.exit(main())
