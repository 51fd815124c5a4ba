"""`python -P -m benchmarks.charts`: how fast charts of many runs are, in a real browser with the database behind."""

import argparse
import asyncio
import base64
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from playwright.async_api import Locator, Page, expect

from benchmarks import points, report, server
from benchmarks.browser import Thread
from benchmarks.report import Section
from benchmarks.server import LOG, Server, block, new_writer, payload
from tests.browser.dashboard import Dashboard, open_dashboard
from tests.browser.explorer import open_browser

T = TypeVar("T")

SAMPLES: Final = 9
AIR: Final = 0.05  # of the range of values, above and below them
HOVERS: Final = 60
APART: Final = 100  # steps between live points, so that each has a bucket of its own, whose mean it is
WAIT_S: Final = 60.0  # for anything; what does not come by then never does
CANVAS_ALONE: Final = "the same lines on a canvas without a page"
FEW: Final = 100  # runs, up to which a redraw and a zoom are to take a third of what they may with more
SETTLE_MS: Final = 1_500  # for what was asked meanwhile to be drawn, so that it is in no other sample

# Press a key, and wait until the canvas has been painted anew; in milliseconds. Reading a copy forces the paint.
REDRAW: Final = """
async (key) => {
  const start = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await new Promise((resolve) => setTimeout(resolve));
  const copy = new OffscreenCanvas(1, 1).getContext("2d");
  copy.drawImage(document.querySelector(".uplot canvas"), 0, 0);
  copy.getImageData(0, 0, 1, 1);
  return performance.now() - start;
}
"""
# All points of the same lines on a canvas of that size without a page, as thin, grey and opaque as a chart draws them.
# The code has run before, as that of a page has.
PREPARE_CANVAS: Final = """
async ([shares, runs, steps]) => {
  const { clientWidth: width, clientHeight: height } = document.querySelector(".u-over");
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  Object.assign(context, { strokeStyle: "#8c96a1", globalAlpha: 0.55, lineWidth: 1, lineJoin: "round" });
  const columns = Float64Array.from({ length: steps }, (_, step) => (step * width) / (steps - 1));
  const rows = Float64Array.from(new Float32Array(Uint8Array.fromBase64(shares).buffer), (share) => share * height);
  const lines = Array.from({ length: runs }, (_, run) => rows.subarray(run * steps, (run + 1) * steps));
  window.draw_alone = () => {
    const start = performance.now();
    context.clearRect(0, 0, width, height);
    for (const line of lines) {
      context.beginPath();
      for (let step = 0; step < steps; step += 1) {
        context.lineTo(columns[step], line[step]);
      }
      context.stroke();
    }
    const copy = new OffscreenCanvas(1, 1).getContext("2d");
    copy.drawImage(context.canvas, 0, 0);
    copy.getImageData(0, 0, 1, 1);
    return performance.now() - start;
  };
  for (let time = 0; time < 3; time += 1) {
    window.draw_alone();
    await new Promise((resolve) => setTimeout(resolve));
  }
}
"""
# Twice, for after a pause the first is slower.
DRAW_ALONE: Final = "() => { window.draw_alone(); return window.draw_alone(); }"
# Note of each key how long it was until the frame that shows what it did, in milliseconds: steps of 8 from 16 on.
WATCH_KEYS: Final = """
() => {
  window.keys_ms = [];
  const note = ({ name, duration }) => name === "keydown" && window.keys_ms.push(duration);
  const watch = new PerformanceObserver((list) => list.getEntries().forEach(note));
  watch.observe({ type: "event", durationThreshold: 16 });
}
"""
WATCH_FRAMES: Final = """
() => {
  window.frames_ms = [];
  let before = null;
  const next = (now) => {
    if (before !== null) {
      window.frames_ms.push(now - before);
    }
    before = now;
    window.frames_ms.going = requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}
"""
FRAMES: Final = "() => { cancelAnimationFrame(window.frames_ms.going); return [...window.frames_ms]; }"
# Wait for the frame in which the label of the chart says this; it changes together with the lines.
TOLD: Final = """
async (words) => {
  while (!document.querySelector("[aria-label=loss] [role=img]")?.ariaLabel.includes(words)) {
    await new Promise(requestAnimationFrame);
  }
}
"""
# Note how long it takes from the end of a drag until lines of another range are painted; in milliseconds.
WATCH_ZOOM: Final = """
() => {
  const chart = document.querySelector("[aria-label=loss] [role=img]");
  window.zoomed_ms = new Promise((resolve) => {
    addEventListener("mouseup", () => {
      const start = performance.now();
      const watch = new MutationObserver(() => {
        watch.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
      });
      watch.observe(chart, { attributeFilter: ["aria-label"] });
    }, { once: true, capture: true });
  });
}
"""
ZOOMED: Final = "() => window.zoomed_ms"


def main() -> int:
    """Measure, print, save."""
    given = argparse.ArgumentParser(prog="python -P -m benchmarks.charts", description=__doc__)
    given.add_argument("--runs", type=int, default=1_000, help="how many, 1,000 unless given")
    given.add_argument("--steps", type=int, default=500, help="how many points each has, 500 unless given")
    given.add_argument("--output", type=Path, default=Path("build/bench"), help="where charts.md and charts.json go")
    asked = given.parse_args()
    section = asyncio.run(measure(asked.runs, asked.steps))
    about = report.about(f"{asked.runs:,} runs of {asked.steps:,} points")
    print(report.markdown([section], about))
    text, data = report.save([section], about, asked.output, "charts")
    print(f"Saved {text} and {data}.")
    return 0


async def measure(runs: int, steps: int) -> Section:
    """The charts of so many runs, from the gesture to the pixels."""
    how = "Chromium without a GPU, 1280 by 800, one chart. Work: CPU of the thread of the page for a redraw."
    section = Section(f"Charts of {runs:,} runs", how)
    lines, alone = as_shares(runs, steps), {}
    async with server.started() as runstone:
        experiment = await fill(runstone, runs, steps)
        token = runstone.settings.token_path.read_text().strip()
        async with open_browser() as browser, open_dashboard(browser, runstone.settings.url, token) as dashboard:
            for mode in ("auto", "lines"):
                await opened(dashboard, f"/e/{experiment}/charts?m=loss&mode={mode}&u=1")
                await dashboard.page.evaluate(PREPARE_CANVAS, [lines, runs, steps])
                redraw, work, alone[mode] = await redraws(dashboard.page)
                section.add(
                    f"as {mode}",
                    redraw_ms=redraw,
                    work_ms=work,
                    key_to_frame_ms=await keys(dashboard.page),
                    hover_frame_ms=await hovers(dashboard.page),
                    zoom_to_new_data_ms=await zooms(dashboard.page),
                )
            section.add(CANVAS_ALONE, "all points, in turns with the redraws as lines", redraw_ms=alone["lines"])
            await opened(dashboard, f"/e/{experiment}/charts?m=loss&u=1")
            section.add("a point while a run goes on", to_the_screen_ms=await live(runstone, dashboard.page, steps))
    redraw_ms, zoom_ms = (17, 200) if runs <= FEW else (50, 600)
    canvas_ms = 10.2 if runs <= FEW else 57  # of the canvas alone, where and when so much was allowed for a redraw
    section.at_most("redraw", section.median("redraw ms", "as auto"), redraw_ms, "ms")
    section.at_most("redraw as lines", section.median("redraw ms", "as lines"), redraw_ms, "ms")
    beside_canvas = section.ratio("redraw ms", "as lines", CANVAS_ALONE)
    section.at_most("redraw as lines, beside the canvas alone", beside_canvas, round(redraw_ms / canvas_ms, 2))
    section.at_most("frame while hovering", section.median("hover frame ms", "as auto"), 17, "ms")
    section.at_most("zoom to new data", section.median("zoom to new data ms", "as auto"), zoom_ms, "ms")
    name = "a point while a run goes on"
    section.at_most("logged point on screen", section.median("to the screen ms", name), 1_500, "ms")
    return section


async def fill(runstone: Server, runs: int, steps: int) -> str:
    """Log the runs; the id of their experiment."""
    run_id = ""
    for number, batch in enumerate(points.batches(runs, 1, steps, steps)):
        run_id = await runstone.create_run(name=f"run-{number}")
        await log(runstone, run_id, new_writer(), 0, batch)
        await runstone.finish([run_id])
        print(f"\r{number + 1:,} runs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    data = await runstone.ask("query ($id: ID!) { run(id: $id) { experiment { id } } }", id=run_id)
    return str(data["run"]["experiment"]["id"])


def as_shares(runs: int, steps: int) -> str:
    """How far below the top of a chart each of those points lies, 0 to 1, run by run: float32 in base64."""
    values = np.stack([batch.values[0] for batch in points.batches(runs, 1, steps, steps)])
    air = AIR * np.ptp(values)
    top, bottom = values.max() + air, values.min() - air
    return base64.b64encode(((top - values) / (top - bottom)).astype("<f4").tobytes()).decode()


async def log(runstone: Server, run_id: str, writer: str, seq: int, batch: points.Batch) -> None:
    """Log the points of a batch as one block."""
    payload(await runstone.ask(LOG, runId=run_id, writerId=writer, blocks=[block(seq, ["loss"], batch)]))


async def opened(dashboard: Dashboard, path: str) -> None:
    """Follow the link, and wait until the chart is drawn and everything is quiet."""
    await dashboard.goto(path)
    await expect(chart(dashboard.page)).to_be_visible(timeout=WAIT_S * 1000)
    await dashboard.page.wait_for_timeout(SETTLE_MS)


def chart(page: Page) -> Locator:
    """What is drawn of the metric; other pictures of the page are not meant."""
    return page.get_by_role("region", name="loss").get_by_role("img")


async def within(what: str, work: Awaitable[T]) -> T:
    """What the work gives. Raises `TimeoutError`, which says what was awaited."""
    try:
        async with asyncio.timeout(WAIT_S):
            return await work
    except TimeoutError as error:
        raise TimeoutError(f"waited {WAIT_S:g} s for {what}") from error


async def redraws(page: Page) -> tuple[list[float], list[float], list[float]]:
    """From a key that zooms to the pixels of what is there already; what the thread of the page worked for it; how long
    the canvas alone takes meanwhile.
    """
    thread = await Thread.of(page)
    shown, work, alone = [], [], []
    for _ in range(SAMPLES):
        for key in ("+", "0"):
            begin = await thread.worked_ms()
            shown.append(await within(f"the redraw after {key}", page.evaluate(REDRAW, key)))
            work.append(await thread.worked_ms() - begin)
            await page.wait_for_timeout(SETTLE_MS / 2)
            alone.append(await page.evaluate(DRAW_ALONE))
            await page.wait_for_timeout(SETTLE_MS / 2)
    return shown, work, alone


async def keys(page: Page) -> list[float]:
    """From a key that is pressed to the frame of the browser that shows what is there already."""
    await page.evaluate(WATCH_KEYS)
    for _ in range(SAMPLES):
        for key in ("+", "0"):
            await page.keyboard.press(key)
            await page.wait_for_timeout(SETTLE_MS)
    return list(await page.evaluate("() => window.keys_ms"))


async def hovers(page: Page) -> list[float]:
    """The time of each frame while the pointer crosses the lines."""
    left, top, width, height = await plot(page)
    await page.evaluate(WATCH_FRAMES)
    for step in range(HOVERS):
        across = step / HOVERS
        await page.mouse.move(left + across * width, top + (0.3 + 0.4 * across) * height)
    return list(await page.evaluate(FRAMES))


async def zooms(page: Page) -> list[float]:
    """From the end of a drag to the pixels of what the server answered."""
    samples = []
    left, top, width, _ = await plot(page)
    for sample in range(SAMPLES):
        start = 0.1 + 0.05 * sample
        await page.mouse.move(left + start * width, top + 40)
        await page.mouse.down()
        await page.mouse.move(left + (start + 0.4) * width, top + 60, steps=3)
        await page.evaluate(WATCH_ZOOM)
        await page.mouse.up()
        samples.append(await within("the lines of the range that was dragged over", page.evaluate(ZOOMED)))
        await page.keyboard.press("0")
        await page.wait_for_timeout(SETTLE_MS)
    return samples


async def live(runstone: Server, page: Page, steps: int) -> list[float]:
    """From the call that logs a point to the chart that shows it."""
    run_id, writer = await runstone.create_run(name="live"), new_writer()
    samples = []
    for sample in range(SAMPLES):
        lowest = -1.0 - sample
        words = f"lowest live \N{MINUS SIGN}{-lowest:g}"
        async with asyncio.TaskGroup() as tasks:
            told = tasks.create_task(within(f"the chart to say {words!r}", page.evaluate(TOLD, words)))
            begin = time.perf_counter()
            await log(runstone, run_id, writer, sample, point(steps + APART * sample, lowest))
            await told
        if sample > 0:  # before the first, the page did not know of the run
            samples.append((time.perf_counter() - begin) * 1000)
        await page.wait_for_timeout(SETTLE_MS)
    return samples


def point(step: int, value: float) -> points.Batch:
    """One value."""
    return points.Batch(0, np.array([step]), np.array([points.START_MS + step]), np.array([[value]]))


async def plot(page: Page) -> tuple[float, float, float, float]:
    """Where the inside of the chart lies: left, top, width, height."""
    box: Any = await chart(page).locator(".u-over").bounding_box()
    return box["x"], box["y"], box["width"], box["height"]


if __name__ == "__main__":
    sys.exit(main())
