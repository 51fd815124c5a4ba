"""What differs between runs, as people see it: side by side, in a browser that reaches this machine only."""

from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import expect

from tests.browser.dashboard import Dashboard, url_of
from tests.browser.recorded import MODEL, Recorded
from tests.conftest import Client, new_id

Pair = tuple[Recorded, Recorded]

LOG = """
    mutation ($run: CreateRunInput!, $id: ID!, $points: [PointInput!]!) {
      createRun(input: $run) { __typename }
      logMetrics(input: { runId: $id, points: $points }) { __typename }
    }
"""
GOAL = """
    mutation ($project: String!) {
      setMetricGoal(input: { projectName: $project, key: "loss", goal: MINIMIZE }) { __typename }
    }
"""


def address(pair: Pair, more: str = "") -> str:
    """The differences of both."""
    return f"/compare/diff?sel={','.join(run.id for run in pair)}{more}"


async def test_only_differences_are_shown_and_counted_over_everything(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(address(pair))
    table = dashboard.page.get_by_role("table", name="Differences")
    rows = table.get_by_role("row")

    await expect(rows.filter(has=dashboard.page.get_by_role("rowheader", name="lr", exact=True))).to_contain_text("0.2")
    await expect(dashboard.page.get_by_text("differ", exact=False).filter(has_text=" of ")).to_be_visible()
    await expect(table.get_by_role("rowheader", name="depth", exact=True)).to_have_count(0)

    await dashboard.page.get_by_role("checkbox", name="Only differences").uncheck()
    await expect(table.get_by_role("rowheader", name="depth", exact=True)).to_be_visible()
    await expect(table.get_by_role("rowheader", name="<i>odd</i>")).to_be_visible()

    await dashboard.page.keyboard.press("Escape")
    await dashboard.go_back()
    await expect(table.get_by_role("rowheader", name="depth", exact=True)).to_have_count(0)


async def test_a_metric_says_which_run_is_better(dashboard: Dashboard, owner: Client, pair: Pair) -> None:
    await owner.ask(GOAL, project=owner.project)

    await dashboard.goto(address(pair))
    loss = dashboard.page.get_by_role("row").filter(
        has=dashboard.page.get_by_role("rowheader", name="loss", exact=True)
    )

    await expect(loss.get_by_role("cell").nth(1)).to_contain_text("better")
    await expect(loss.get_by_role("cell").nth(1)).to_contain_text("★")

    await dashboard.page.get_by_label("Baseline").select_option(label=pair[1].name)
    await expect(loss.get_by_role("cell").nth(1)).to_contain_text("worse")
    assert "base=" in urlsplit(await url_of(dashboard.page)).query


async def test_both_models_are_downloaded_as_they_were_uploaded(
    dashboard: Dashboard, pair: Pair, tmp_path: Path
) -> None:
    await dashboard.goto(address(pair))

    for run in pair:
        async with dashboard.page.expect_download() as started:
            await dashboard.page.get_by_role("button", name=f"Download {MODEL} of {run.name}").click()
        download = await started.value
        await download.save_as(tmp_path / run.name)

        assert download.suggested_filename == "weights.pt"
        assert sha256((tmp_path / run.name).read_bytes()).digest() == sha256(run.model).digest()
    assert urlsplit(dashboard.page.url).path == "/compare/diff"


async def test_equal_files_are_known_without_reading_them(dashboard: Dashboard, pair: Pair) -> None:
    fetched: list[str] = []
    dashboard.page.on("request", lambda request: fetched.append(request.url))

    await dashboard.goto(address(pair, "&all=1&find=notes.txt"))
    row = dashboard.page.get_by_role("row").filter(has_text="notes.txt")

    await expect(row).to_contain_text(f"= identical to {pair[0].name}")
    assert all(url.startswith(dashboard.url) for url in fetched)


async def test_changed_file_stands_side_by_side(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(address(pair))
    await dashboard.page.get_by_role("link", name="plots/cm.png").click()

    for run in pair:
        card = dashboard.page.get_by_role("region", name=f"Version of {run.name}")
        await expect(card.get_by_role("img", name="plots/cm.png")).to_have_js_property("naturalWidth", 32)
    await expect(dashboard.main()).to_contain_text("2 runs, 2 versions")
    assert await dashboard.violations() == []


async def test_patch_is_shown_from_the_store(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(address(pair))
    await dashboard.page.get_by_role("button", name=f"View the patch of {pair[1].name}").click()

    patch = dashboard.page.get_by_role("region", name="Patch", exact=True)
    await expect(patch).to_contain_text("+# tuned by hand")
    await expect(patch).to_contain_text("diff --git a/training.py b/training.py")
    assert await dashboard.violations() == []

    await dashboard.reload()
    await expect(patch).to_contain_text("+# tuned by hand")


async def test_search_and_turning_are_in_the_address(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(address(pair))
    await dashboard.page.get_by_role("searchbox", name="Search keys").fill("param")
    await dashboard.page.get_by_role("button", name="Runs as rows").click()

    table = dashboard.page.get_by_role("table", name="Differences")
    await expect(table.get_by_role("columnheader", name="lr")).to_be_visible()
    await expect(table.get_by_role("rowheader")).to_have_count(2)
    await expect(table.get_by_role("columnheader", name="loss")).to_have_count(0)

    await dashboard.reload()
    await expect(table.get_by_role("columnheader", name="lr")).to_be_visible()
    await expect(dashboard.page.get_by_role("searchbox", name="Search keys")).to_have_value("param")


async def test_many_runs_keep_the_document_small(dashboard: Dashboard, owner: Client) -> None:
    for place in range(120):
        run_id = new_id()
        run = {
            "id": run_id,
            "project": owner.project,
            "experiment": "sweep",
            "name": f"sweep-{place:03d}",
            "params": [{"key": f"p{key:02d}", "value": place * key} for key in range(80)],
        }
        await owner.ask(LOG, run=run, id=run_id, points=[{"key": "loss", "value": place}])

    await dashboard.goto("/compare/diff?q=experiment+%3D+'sweep'")
    table = dashboard.page.get_by_role("table", name="Differences")

    await expect(dashboard.main()).to_contain_text("120 runs")
    await expect(table).to_have_attribute("aria-colcount", "121")
    assert await table.get_by_role("cell").count() < 1_000

    await table.get_by_role("rowheader", name="p01").hover()
    await dashboard.page.mouse.wheel(30_000, 30_000)
    await expect(table.get_by_role("columnheader", name="sweep-000")).to_be_visible()
    await expect(table.get_by_role("rowheader", name="loss", exact=True)).to_be_visible()
    assert await table.get_by_role("cell").count() < 1_000


async def test_page_is_accessible_in_light_and_dark(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(address(pair, "&all=1"))
    await expect(dashboard.page.get_by_role("table", name="Differences")).to_be_visible()

    assert await dashboard.violations() == []


async def test_view_can_be_taken_along(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(address(pair))
    await dashboard.page.get_by_role("button", name="Share").click()
    link = dashboard.page.get_by_role("link", name="Open in GraphiQL")

    href = await link.get_attribute("href") or ""
    assert "compareRuns" in href
    assert pair[0].id in href
    assert dashboard.token not in href


async def test_nothing_selected_says_what_to_do(dashboard: Dashboard) -> None:
    await dashboard.goto("/compare/diff")

    await expect(dashboard.page.get_by_role("alert")).to_contain_text("No runs are selected")
