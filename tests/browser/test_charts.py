"""Charts of runs that the SDK logged, as people use them: what is drawn, marked, zoomed, saved and kept current."""

import asyncio
import csv
import json
import math
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Locator, Request, Route, expect

import runstone
from tests.browser.dashboard import Dashboard, url_of
from tests.browser.explorer import WAIT_S
from tests.conftest import Client, new_id

Points = Sequence[dict[str, float]]

START = """
mutation ($run: CreateRunInput!, $points: LogMetricsInput!, $isLogged: Boolean!) {
  createRun(input: $run) { __typename }
  logMetrics(input: $points) @include(if: $isLogged) { __typename }
}
"""
STARTED_AT_ONCE = 8
IDLE_S = 2.0  # longer than any pause after which a chart asks again

# The colours of the first two lines on a light page, and of marks and bands whatever their colour.
FIRST, SECOND, ANY = [23, 149, 250], [200, 128, 13], None
MINUS = "\N{MINUS SIGN}"
# The canvases of a chart: all lines, and before them the one that stands out.
LINES, HIGHLIGHT = 0, 1

# Where a colour is on a canvas: how many pixels, the mean of their rows, the first and the last, from 0 to 1 at the
# bottom. The canvas is copied first, because the browser draws one that is read in another way.
INK = """
    (canvas, colour) => {
      if (canvas.hidden) {
        return [0, 0, 0, 0];
      }
      const { width, height } = canvas;
      const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, width, height);
      const isInk = (at) => (colour ?? []).every((channel, i) => Math.abs(data[at + i] - channel) < 3);
      const rows = [];
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > (colour ? 250 : 0) && isInk(at)) {
          rows.push(Math.floor(at / 4 / width) / height);
        }
      }
      const mean = rows.reduce((sum, row) => sum + row, 0) / Math.max(1, rows.length);
      return [rows.length, mean, rows[0] ?? 0, rows.at(-1) ?? 0];
    }
"""

PRESS_AT_ONCE = """
    (keys) => {
      for (const key of keys) {
        document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      }
    }
"""

PRESS_WHEN_DRAWN = """
    new MutationObserver((_, observer) => {
      if (document.querySelector("[role=img] canvas")) {
        observer.disconnect();
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "+", bubbles: true }));
      }
    }).observe(document, { childList: true, subtree: true });
"""


@dataclass(frozen=True, slots=True)
class Ink:
    """How many pixels have a colour, their mean row, and their first and last."""

    count: int
    row: float
    top: float
    bottom: float

    @property
    def reach(self) -> float:
        """From the first row to the last."""
        return self.bottom - self.top


class Charts:
    """The page of the charts of an experiment."""

    def __init__(self, dashboard: Dashboard, trainings: "Trainings") -> None:
        self.dashboard = dashboard
        self.page = dashboard.page
        self._trainings = trainings

    async def open(self, query: str = "") -> None:
        """Follow the link, and wait for the first chart."""
        await self.dashboard.goto(f"/e/{await self._trainings.experiment_id()}/charts?{query}")
        await expect(self.page.get_by_role("img").first).to_be_visible()

    def card(self, metric: str) -> Locator:
        return self.page.get_by_role("region", name=metric, exact=True)

    def plot(self, metric: str) -> Locator:
        """What is drawn; its label tells it in a sentence."""
        return self.card(metric).get_by_role("img")

    def facts(self, metric: str) -> Locator:
        return self.card(metric).locator("footer")

    async def ink(self, metric: str, colour: list[int] | None, layer: int = LINES) -> Ink:
        """Where the colour is."""
        return Ink(*await self.plot(metric).locator("canvas").nth(layer).evaluate(INK, colour))

    async def ink_until(
        self, metric: str, colour: list[int] | None, accept: Callable[[Ink], bool], layer: int = LINES
    ) -> None:
        """Wait until the colour is where it should be."""
        async with asyncio.timeout(WAIT_S):
            while not accept(await self.ink(metric, colour, layer)):
                await asyncio.sleep(0.05)

    async def point_at(self, metric: str, across: float, down: float) -> None:
        """Move the pointer there, in parts of the plot."""
        box = await self.plot(metric).locator(".u-over").bounding_box()
        assert box is not None
        await self.page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=3)

    async def drag(self, metric: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one place to another: how far across and how far down the plot, from 0 to 1."""
        await self.point_at(metric, *start)
        await self.page.mouse.down()
        await self.point_at(metric, *end)
        await self.page.mouse.up()
        await self.page.mouse.move(0, 0)

    async def state(self) -> dict[str, list[str]]:
        """What the address says."""
        return parse_qs(urlsplit(await url_of(self.page)).query)


class Trainings:
    """Runs of an experiment of its own."""

    def __init__(self, client: Client, sdk: runstone.Client) -> None:
        self._client = client
        self._sdk = sdk
        self._experiment = f"charts-{uuid.uuid4().hex[:8]}"
        self.ids: dict[str, str] = {}

    async def start(self, name: str, **params: Any) -> runstone.AsyncRun:
        """A run that goes on."""
        run = await self._sdk.start_run(
            project=self._client.project, experiment=self._experiment, name=name, params=params
        )
        self.ids[name] = run.id
        return run

    async def log(self, name: str, points: Points, **params: Any) -> None:
        """A finished run with these values, one a step."""
        run = await self.start(name, **params)
        for step, metrics in enumerate(points):
            run.log(metrics, step=step)
        await run.finish()

    async def start_many(self, count: int, **metrics: float) -> None:
        """So many more runs that go on, with one point of each of these metrics."""
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(STARTED_AT_ONCE):
                tasks.create_task(self._start_each(numbers, metrics))

    async def _start_each(self, numbers: Iterator[int], metrics: dict[str, float]) -> None:
        for number in numbers:
            name = f"other-{number}"
            run = {"id": new_id(), "project": self._client.project, "experiment": self._experiment, "name": name}
            points = {"runId": run["id"], "points": [{"key": key, "value": value} for key, value in metrics.items()]}
            made = await self._client.ask(START, run=run, points=points, isLogged=bool(metrics))
            assert all(answer["__typename"].endswith("Payload") for answer in made.values())
            self.ids[name] = run["id"]

    async def experiment_id(self) -> str:
        run_id = next(iter(self.ids.values()))
        data = await self._client.ask("query ($id: ID!) { run(id: $id) { experiment { id } } }", id=run_id)
        return str(data["run"]["experiment"]["id"])


@pytest.fixture
async def trainings(owner: Client) -> AsyncIterator[Trainings]:
    async with runstone.Client(owner.server.url, owner.token) as sdk:
        yield Trainings(owner, sdk)


@pytest.fixture
def charts(dashboard: Dashboard, trainings: Trainings) -> Charts:
    return Charts(dashboard, trainings)


def constant(value: float, steps: int = 20) -> Points:
    return [{"loss": value}] * steps


async def test_runs_are_lines_of_colours_of_their_own(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("low-otter", constant(1))
    await trainings.log("high-fox", constant(3))

    await charts.open()

    told = "loss, 2 runs, ends lowest low-otter 1, highest high-fox 3"
    await expect(charts.plot("loss")).to_have_attribute("aria-label", told)
    high, low = await charts.ink("loss", FIRST), await charts.ink("loss", SECOND)
    assert min(high.count, low.count) > 100
    assert high.row < low.row
    await expect(charts.facts("loss")).to_have_text("2 runsexact")


async def test_logarithmic_axis_gives_every_power_the_same_room(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("ten", constant(10))
    await trainings.log("up-to-1000", [{"loss": 10 ** (step / 10)} for step in range(31)])
    await charts.open()
    await charts.ink_until("loss", SECOND, lambda ten: ten.row > 0.8)

    await charts.page.get_by_role("checkbox", name="log y").check()

    await charts.ink_until("loss", SECOND, lambda ten: 0.5 < ten.row < 0.7)
    assert (await charts.state())["ylog"] == ["1"]


async def test_smoothed_line_lies_before_what_was_logged(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("restless", [{"loss": step % 2} for step in range(100)])
    await charts.open()
    before = await charts.ink("loss", FIRST)
    whole = await charts.ink("loss", ANY)

    await charts.page.get_by_role("slider", name="smooth").fill("0.95")

    await charts.ink_until("loss", FIRST, lambda line: line.reach < 0.9 * before.reach)
    assert (await charts.ink("loss", ANY)).reach == whole.reach
    assert (await charts.state())["sm"] == ["ema:0.95"]


async def test_dragged_range_is_asked_for_again(charts: Charts, trainings: Trainings) -> None:
    asked: list[dict[str, Any]] = []
    charts.page.on("request", lambda request: asked.extend(axes_in(request)))
    await trainings.log("long", [{"loss": math.cos(step / 50)} for step in range(3_000)])
    await charts.open()
    await expect(charts.facts("loss")).to_contain_text("buckets")

    await charts.drag("loss", (0.5, 0.3), (0.6, 0.4))
    await expect(charts.facts("loss")).to_contain_text("exact")
    low, high = (float(end) for end in (await charts.state())["xr"][0].split(".."))
    assert (asked[-1]["min"], asked[-1]["max"]) == (low, high)
    assert 1_400 < low < 1_600 < high < 1_900

    await charts.plot("loss").locator(".u-over").dblclick()
    await charts.page.mouse.move(0, 0)
    await expect(charts.facts("loss")).to_contain_text("buckets")
    assert "xr" not in (await charts.state())


async def test_the_whole_comes_back_before_the_server_answers(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("long", [{"loss": math.cos(step / 50)} for step in range(3_000)])
    await charts.open()
    await expect(charts.facts("loss")).to_contain_text("buckets")
    await charts.drag("loss", (0.5, 0.3), (0.6, 0.4))
    await expect(charts.facts("loss")).to_contain_text("exact")
    is_answered = asyncio.Event()

    async def wait(route: Route) -> None:
        await is_answered.wait()
        await route.continue_()

    await charts.page.route("**/graphql", wait)
    await charts.page.keyboard.press("0")
    await expect(charts.facts("loss")).to_contain_text("buckets")
    is_answered.set()
    await charts.page.unroute_all(behavior="wait")


async def test_range_dragged_upwards_is_of_that_chart_alone(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": step, "other": step} for step in range(101)])
    await charts.open()
    whole = await charts.ink("other", FIRST)

    await charts.drag("loss", (0.5, 0.5), (0.51, 0.95))

    chip = charts.page.get_by_role("button", name=re.compile(r"^loss \S+ . \S+ .$"))
    await expect(chip).to_be_visible()
    low, high = (float(end) for end in (await charts.state())["yr"][0].split(".."))
    assert low < 5 < 45 < high < 55
    assert (await charts.state())["ym"] == ["loss"]
    assert "xr" not in (await charts.state())
    assert await charts.ink("other", FIRST) == whole
    await charts.page.keyboard.press("0")
    await expect(chip).to_have_count(0)
    assert "yr" not in (await charts.state())


async def test_line_that_stands_out_moves_with_the_axis(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": step} for step in range(101)])
    await charts.open(f"hl={trainings.ids['run']}&u=1")
    await charts.ink_until("loss", FIRST, lambda ink: ink.count > 0 and ink.top > 0.03, HIGHLIGHT)

    await charts.drag("loss", (0.5, 0.5), (0.51, 0.95))

    await charts.ink_until("loss", FIRST, lambda ink: ink.count > 0 and ink.top < 0.01, HIGHLIGHT)


async def test_range_of_values_in_a_link_is_of_all_charts(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": 1.0, "other": 1.0}] * 20)

    await charts.open("yr=0..10&u=1")

    for metric in ("loss", "other"):
        await charts.ink_until(metric, FIRST, lambda ink: 0.75 < ink.row < 0.95)


def axes_in(request: Request) -> list[dict[str, Any]]:
    """The x axis that a request for frames asks for."""
    variables = json.loads(request.post_data or "{}").get("variables") or {}
    return [variables["x"]] if "x" in variables else []


async def test_values_that_are_not_finite_are_marked_and_counted(charts: Charts, trainings: Trainings) -> None:
    odd = {5: math.nan, 6: math.inf, 7: -math.inf}
    await trainings.log("diverged", [{"loss": odd.get(step, 2.0)} for step in range(20)])

    await charts.open()

    await expect(charts.facts("loss")).to_contain_text(f"3 not finite in 1 run: ✕ NaN ▲ ∞ ▼ {MINUS}∞")
    await charts.ink_until("loss", FIRST, lambda ink: ink.reach > 0.8)  # from the upper edge to the lower


@pytest.mark.parametrize(
    ("odd", "told", "above", "below"),
    [(math.nan, "✕ NaN", False, True), (math.inf, "▲ ∞", True, False), (-math.inf, f"▼ {MINUS}∞", False, True)],
)
async def test_each_kind_that_is_not_finite_has_a_sign_of_its_own(
    charts: Charts, trainings: Trainings, odd: float, told: str, above: bool, below: bool
) -> None:
    await trainings.log("diverged", [{"loss": odd if step == 10 else 2.0} for step in range(20)])

    await charts.open()

    await expect(charts.facts("loss")).to_contain_text(f"1 not finite in 1 run: {told}")
    await charts.ink_until(
        "loss", FIRST, lambda ink: (ink.row - ink.top > 0.3) == above and (ink.bottom - ink.row > 0.3) == below
    )


async def test_groups_are_means_with_bands(charts: Charts, trainings: Trainings) -> None:
    for model, value in [("big", 1.0), ("big", 2.0), ("small", 6.0), ("small", 8.0)]:
        await trainings.log(f"{model}-{value}", constant(value), model=model)

    await charts.open("group=param:model&u=1")
    listed = charts.page.get_by_role("complementary", name="Groups")
    await expect(listed.get_by_role("listitem")).to_have_text(["model=bign=2", "model=smalln=2"])
    told = "loss, 2 groups, ends lowest model=big 1.5, highest model=small 7"
    await expect(charts.plot("loss")).to_have_attribute("aria-label", told)
    bare = await charts.ink("loss", ANY)

    await charts.page.get_by_label("band").select_option("± std of groups")

    await charts.ink_until("loss", ANY, lambda ink: ink.count > 1.5 * bare.count)


async def test_csv_holds_what_was_logged(charts: Charts, trainings: Trainings) -> None:
    name = 'a "quoted", name'
    values = [0.1, 1 / 3, 1e-300, math.nan, math.inf, -0.0]
    await trainings.log(name, [{"loss": value} for value in values])
    await charts.open()

    async with charts.page.expect_download() as download:
        await charts.card("loss").get_by_role("button", name="CSV").click()
    saved = await (await download.value).path()

    logged = [trainings.ids[name], name]
    header, *rows = csv.reader(saved.read_text("utf-8").splitlines())
    assert header == ["run_id", "run", "step", "time_ms", "loss"]
    assert [row[:3] for row in rows] == [[*logged, str(step)] for step in range(6)]
    assert [repr(float(row[4])) for row in rows] == [repr(value) for value in values]


async def test_picture_of_a_chart_can_be_saved(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("calm-fox", constant(1))
    await charts.open()

    async with charts.page.expect_download() as download:
        await charts.card("loss").get_by_role("button", name="PNG").click()
    saved = await download.value

    assert saved.suggested_filename == "loss.png"
    assert (await saved.path()).read_bytes().startswith(b"\x89PNG")


async def test_logged_point_appears_by_itself(charts: Charts, trainings: Trainings) -> None:
    run = await trainings.start("live-lynx")
    run.log({"loss": 4.0}, step=0)
    await charts.open()
    await expect(charts.plot("loss")).to_have_attribute("aria-label", "loss, 1 run, live-lynx ends at 4")

    run.log({"loss": 0.5}, step=1)

    await expect(charts.plot("loss")).to_have_attribute("aria-label", "loss, 1 run, live-lynx ends at 0.5")
    await run.finish()


async def test_new_run_appears_by_itself(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("early-elk", constant(1))
    await charts.open()
    await expect(charts.facts("loss")).to_contain_text("1 run")

    await trainings.log("late-lynx", constant(2))

    await expect(charts.facts("loss")).to_contain_text("2 runs")


async def quiet(asked: list[str]) -> None:
    """Wait until nothing has been asked for a while: what a page asks while it opens has come."""
    async with asyncio.timeout(WAIT_S):
        while True:
            asked.clear()
            await asyncio.sleep(IDLE_S)
            if not asked:
                return


async def test_charts_ask_nothing_while_no_run_goes_on(charts: Charts, trainings: Trainings) -> None:
    asked: list[str] = []
    await trainings.log("low-otter", constant(1))
    await charts.open()
    await expect(charts.plot("loss")).to_be_visible()
    charts.page.on("request", lambda request: asked.append(request.url))
    await quiet(asked)

    await charts.point_at("loss", 0.5, 0.5)
    await asyncio.sleep(IDLE_S)

    assert asked == []


async def test_line_under_the_pointer_stands_out_everywhere(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("low-otter", [{"loss": 1.0, "error": 10.0}] * 20)
    await trainings.log("high-fox", [{"loss": 3.0, "error": 30.0}] * 20)
    await charts.open()
    await expect(charts.plot("loss")).to_be_visible()

    await charts.point_at("loss", 0.5, 0.06)

    await expect(charts.facts("loss")).to_contain_text("high-fox3 at step")
    await expect(charts.facts("error")).to_contain_text("high-fox30 at step")
    row = charts.page.get_by_role("listitem").filter(has_text="high-fox")
    await expect(row).to_have_attribute("data-hovered", "true")


async def test_checked_runs_are_drawn_and_the_link_says_so(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("low-otter", constant(1))
    await trainings.log("high-fox", constant(3))
    await charts.open()

    await charts.page.get_by_role("checkbox", name="Select low-otter").check()

    await expect(charts.plot("loss")).to_have_attribute("aria-label", "loss, 1 run, low-otter ends at 1")
    assert (await charts.state())["sel"] == [trainings.ids["low-otter"]]


async def test_metrics_are_chosen_by_globs(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"train/loss": 1, "train/acc": 2, "val/loss": 3}] * 2)
    await charts.open()

    await charts.page.get_by_role("combobox", name="Metrics").fill("train/*")
    await charts.page.keyboard.press("Enter")

    await expect(charts.page.get_by_role("heading", level=3)).to_have_text(["train/acc", "train/loss"])
    await charts.page.get_by_role("button", name="Remove train/*").click()
    await expect(charts.page.get_by_role("heading", level=3)).to_have_count(3)


async def test_lines_can_be_drawn_as_a_density(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("low-otter", constant(1))
    await trainings.log("high-fox", constant(3))
    await charts.open()

    await charts.page.get_by_role("combobox", name="draw").select_option("density")

    await expect(charts.facts("loss")).to_have_text("2 runsexactdensity")
    await charts.ink_until("loss", FIRST, lambda ink: ink.count == 0)


async def test_what_is_drawn_is_there_as_a_table(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("calm-fox", [{"loss": value} for value in (3, 0.5, 1, math.nan)])
    await charts.open()

    await charts.card("loss").get_by_role("button", name="Table").click()

    row = charts.card("loss").get_by_role("row").nth(1)
    await expect(row.get_by_role("cell")).to_have_text(["1", "0.5", "3", "1"])


async def test_keys_zoom_and_change_the_axis(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": 1 + step} for step in range(101)])
    await charts.open()

    await charts.page.keyboard.press("+")
    zoomed = charts.page.get_by_role("button", name="step 25")
    await expect(zoomed).to_be_visible()
    assert (await charts.state())["xr"] == ["25..75"]
    await charts.page.keyboard.press("l")
    assert (await charts.state())["ylog"] == ["1"]
    await charts.page.keyboard.press("0")
    await expect(zoomed).to_have_count(0)


async def test_a_key_counts_as_soon_as_a_chart_is_there(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": 1 + step} for step in range(101)])
    await charts.page.add_init_script(PRESS_WHEN_DRAWN)

    await charts.open()

    await expect(charts.page.get_by_role("button", name="step 25")).to_be_visible()


async def test_changes_of_one_moment_are_steps_back_each(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": 1 + step} for step in range(101)])
    await charts.open()
    zoomed = charts.page.get_by_role("button", name="step 25")
    is_log = charts.page.get_by_role("checkbox", name="log y")

    await charts.page.evaluate(PRESS_AT_ONCE, ["+", "l"])
    await expect(zoomed).to_be_visible()
    await expect(is_log).to_be_checked()
    assert {"xr", "ylog"} <= (await charts.state()).keys()

    await charts.page.go_back()
    await expect(is_log).not_to_be_checked()
    await expect(zoomed).to_be_visible()
    await charts.page.go_back()
    await expect(zoomed).to_have_count(0)
    assert (await charts.state()).keys().isdisjoint({"xr", "ylog"})


async def test_keys_give_one_chart_a_range_of_values(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": step, "other": step} for step in range(101)])
    await charts.open()
    await expect(charts.plot("other")).to_be_visible()
    await charts.page.keyboard.press("]")
    await charts.page.keyboard.press("]")

    for key, values in [(">", "22.5..77.5"), ("K", "36.25..91.25"), ("J", "22.5..77.5"), ("<", "-5..105")]:
        await charts.page.keyboard.press(key)

        await expect(charts.page).to_have_url(re.compile(rf"[?&]yr={re.escape(values)}&ym=other&"))
    await expect(charts.page.get_by_role("button", name=f"other {MINUS}5")).to_be_visible()
    await charts.page.keyboard.press("?")
    await expect(charts.page.get_by_role("dialog")).to_contain_text("higher values")


async def test_page_of_charts_is_accessible_in_light_and_dark(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("calm-fox", [{"loss": math.nan if step == 3 else 1.0} for step in range(9)], model="big")
    await trainings.log("brave-elk", constant(2), model="small")
    await charts.open("group=param:model&band=std&xr=0..9&sm=ema:0.5&u=1")
    await expect(charts.plot("loss")).to_be_visible()

    assert await charts.dashboard.violations() == []


async def test_charts_can_be_drawn_over_another_metric(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": 1 / (step + 1), "epoch": step / 10} for step in range(21)])
    await charts.open()

    await charts.page.get_by_role("combobox", name="x", exact=True).select_option("epoch")
    await charts.point_at("loss", 0.5, 0.95)

    await expect(charts.facts("loss")).to_contain_text("at epoch 1")
    assert (await charts.state())["x"] == ["metric:epoch"]


async def test_metric_that_comes_later_gets_a_chart(charts: Charts, trainings: Trainings) -> None:
    run = await trainings.start("late-bloomer")
    run.log({"loss": 4.0}, step=0)
    await charts.open()

    run.log({"val/loss": 2.0}, step=1)

    told = "val/loss, 1 run, late-bloomer ends at 2"
    await expect(charts.plot("val/loss")).to_have_attribute("aria-label", told)
    await run.finish()


async def test_query_of_one_chart_opens_in_graphiql(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("run", [{"loss": 1.0, "other": 2.0}] * 2)
    await charts.open()

    await charts.card("loss").get_by_role("button", name="GraphQL of loss").click()
    link = await charts.card("loss").get_by_role("link", name="Open in GraphiQL").get_attribute("href")

    assert link is not None
    carried = parse_qs(urlsplit(link).fragment)
    assert "metricFrames" in carried["q"][0]
    assert json.loads(carried["v"][0])["metrics"] == ["loss"]


async def test_of_very_many_metrics_any_can_be_named(charts: Charts, trainings: Trainings) -> None:
    for half in range(2):
        await trainings.log(f"half-{half}", [{f"half-{half}/{number:04}": 1.0 for number in range(5_001)}])

    await charts.open("m=half-1/5000")

    await expect(charts.facts("half-1/5000")).to_contain_text("1 run")
    await expect(charts.page.get_by_text("The first 10,000 metrics")).to_be_visible()


async def test_more_running_runs_than_a_subscription_follows_are_live(charts: Charts, trainings: Trainings) -> None:
    oldest = await trainings.start("oldest")
    oldest.log({"loss": 4.0}, step=0)
    await trainings.start_many(100)
    await charts.open()
    told = charts.plot("loss")
    await expect(told).to_have_attribute("aria-label", "loss, 1 run, oldest ends at 4")

    oldest.log({"loss": 0.5}, step=1)

    await expect(told).to_have_attribute("aria-label", "loss, 1 run, oldest ends at 0.5")
    await oldest.finish()


async def test_run_under_the_pointer_shows_its_own_range_among_many(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("wide", [{"loss": step % 2} for step in range(990)])  # two a bucket, whose mean is the same
    await trainings.start_many(50)
    await charts.open("band=minmax&u=1")

    await charts.point_at("loss", 0.5, 0.5)

    await charts.ink_until("loss", ANY, lambda ink: ink.reach > 0.9, HIGHLIGHT)


async def test_line_that_stands_out_has_what_was_logged_behind_it(charts: Charts, trainings: Trainings) -> None:
    await trainings.log("restless", [{"loss": step % 2} for step in range(100)])
    await charts.open("mode=density&sm=ema:0.95&u=1")

    await charts.page.get_by_role("listitem").filter(has_text="restless").hover()

    await charts.ink_until("loss", ANY, lambda ink: ink.reach > 0.8, HIGHLIGHT)


async def test_charts_of_more_runs_than_are_drawn_or_followed_say_so(charts: Charts, trainings: Trainings) -> None:
    others = [f"other-{number:02}" for number in range(11)]  # with so many runs more than one request may ask for
    await trainings.start_many(1_001, loss=1.0, **dict.fromkeys(others, 2.0))
    runs = charts.page.get_by_role("complementary", name="Runs")
    await charts.page.set_viewport_size({"width": 1920, "height": 1080})

    await charts.open()

    for metric in others:
        await expect(charts.facts(metric)).to_contain_text("1,000 runs")
    await expect(runs).to_contain_text("1,001 runs")
    await expect(runs).to_contain_text("the newest 1,000; filter to see others")
    await expect(charts.facts("loss")).to_contain_text("1,000 runs")
    await expect(charts.facts("loss")).to_contain_text("the newest of 1,001")

    await charts.page.get_by_role("textbox", name="Filter").fill("name != 'other-0'")

    await expect(runs).to_contain_text("1,000 runs")
    await expect(runs).to_contain_text("the newest 600 are live")
    await expect(charts.facts("loss")).not_to_contain_text("the newest of")

    await charts.open("group=attr:status")

    for metric in others:  # groups cost more than runs, so fewer of them are asked for at once
        await expect(charts.facts(metric)).to_contain_text("1 group")
