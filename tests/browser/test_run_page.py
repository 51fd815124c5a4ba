"""The page of a run, as people see it: what it recorded, its files, its history, in a browser."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from db.access import Role
from tests.browser.dashboard import Dashboard, open_dashboard
from tests.browser.recorded import MODEL, Recorded
from tests.conftest import Client, People, new_id

Pair = tuple[Recorded, Recorded]

CREATE_UPLOADS = """
    mutation ($input: CreateUploadsInput!) {
      createUploads(input: $input) { ... on CreateUploadsPayload { uploads { id } } }
    }
"""
COMPLETE_UPLOADS = """
    mutation ($input: CompleteUploadsInput!) { completeUploads(input: $input) { __typename } }
"""
FINISH = "mutation ($id: ID!) { finishRun(input: { runId: $id }) { __typename } }"
LOG_POINTS = """
    mutation ($id: ID!, $points: [PointInput!]!) { logMetrics(input: { runId: $id, points: $points }) { __typename } }
"""


async def test_everything_a_run_recorded_is_on_its_page(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(f"/r/{pair[0].id}")
    params = dashboard.page.get_by_role("region", name="Params")
    metrics = dashboard.page.get_by_role("region", name="Metrics", exact=True)

    await expect(dashboard.page.get_by_role("heading", name=pair[0].name)).to_be_visible()
    await expect(dashboard.main()).to_contain_text("done")
    await expect(params.get_by_role("row").filter(has_text="optimizer.name")).to_contain_text("adamw")
    await expect(metrics.get_by_role("row").filter(has_text="loss")).to_contain_text("50")
    await expect(metrics.locator("svg")).to_have_count(2)
    await expect(dashboard.page.get_by_role("region", name="Datasets")).to_contain_text("churn")
    await expect(dashboard.main()).to_contain_text("tuned by hand")

    await params.get_by_role("searchbox").fill("depth")
    await expect(params.get_by_role("row")).to_have_count(1)
    assert await dashboard.violations() == []


async def test_the_newest_run_of_an_experiment_has_an_address(dashboard: Dashboard, owner: Client, pair: Pair) -> None:
    found = await owner.ask("query ($id: ID!) { run(id: $id) { experiment { id } } }", id=pair[1].id)

    await dashboard.goto(f"/e/{found['run']['experiment']['id']}/latest")

    await expect(dashboard.page.get_by_role("heading", name=pair[1].name)).to_be_visible()
    assert dashboard.page.url == f"{dashboard.url}/r/{pair[1].id}"


async def test_what_users_wrote_is_only_ever_text(dashboard: Dashboard, pair: Pair) -> None:
    title = "Runstone"
    await dashboard.goto(f"/r/{pair[0].id}")
    odd = dashboard.page.get_by_role("region", name="Params").get_by_role("row").filter(has_text="<i>odd</i>")
    await expect(odd).to_contain_text("<img src=x onerror=alert(1)>")

    for path, shown in {
        "report.html": "<script>document.title = 'taken'</script>",
        "notes.txt": "<b>bold</b>",
    }.items():
        await dashboard.page.goto(f"{dashboard.url}/r/{pair[0].id}/artifacts/{path}")
        await expect(dashboard.page.get_by_role("region", name="Text")).to_contain_text(shown)
    assert title in await dashboard.page.title()


async def test_each_kind_of_file_is_shown_as_what_it_is(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(f"/r/{pair[0].id}/artifacts")
    tree = dashboard.page.get_by_role("navigation", name="Files")

    async def choose(name: str) -> None:
        await tree.get_by_role("link", name=name).click()

    await choose("cm.png")
    await expect(dashboard.page.get_by_role("img", name="plots/cm.png")).to_have_js_property("naturalWidth", 32)
    await choose("head.csv")
    await expect(dashboard.page.get_by_role("cell", name="one, two")).to_be_visible()
    await choose("metrics.json")
    await expect(dashboard.page.get_by_role("region", name="Text")).to_have_text(
        re.compile(r'"big": 9007199254740993,\s+"one": 1\.0')
    )
    assert await dashboard.violations() == []

    await choose("logo.svg")
    await expect(dashboard.main()).to_contain_text("can carry scripts")
    await expect(dashboard.page.get_by_role("button", name="Download plots/logo.svg")).to_be_visible()
    await choose("blob.dat")
    await expect(dashboard.main()).to_contain_text("no preview")


async def test_of_a_long_file_only_the_beginning_is_read(dashboard: Dashboard, pair: Pair) -> None:
    ranges: list[str | None] = []
    dashboard.page.on(
        "request", lambda request: ranges.append(request.headers.get("range")) if request.method == "GET" else None
    )

    await dashboard.goto(f"/r/{pair[0].id}/artifacts/data/long.log")

    await expect(dashboard.main()).to_contain_text("The first 256.0 KiB of 439.5 KiB")
    assert "bytes=0-262143" in ranges


async def test_file_tells_which_other_runs_have_the_same_bytes(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(f"/r/{pair[0].id}/artifacts/notes.txt")
    await expect(dashboard.main()).to_contain_text("same bytes in 1 other file")

    await dashboard.main().get_by_role("link", name=pair[1].name).click()
    await expect(dashboard.page.get_by_role("heading", name=pair[1].name)).to_be_visible()
    await expect(dashboard.page.get_by_role("heading", name="notes.txt")).to_be_visible()


async def test_model_is_downloaded_as_it_was_uploaded(dashboard: Dashboard, pair: Pair, tmp_path: Path) -> None:
    await dashboard.goto(f"/r/{pair[1].id}/artifacts/{MODEL}")
    async with dashboard.page.expect_download() as started:
        await dashboard.page.get_by_role("button", name=f"Download {MODEL}").click()
    await (await started.value).save_as(tmp_path / "model")

    assert sha256((tmp_path / "model").read_bytes()).digest() == sha256(pair[1].model).digest()


async def test_failed_upload_says_why(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run()
    file = {"path": "model/lost.pt", "sizeBytes": 100, "sha256": "ab" * 32}
    made = await owner.ask(CREATE_UPLOADS, input={"runId": run_id, "files": [file]})
    [upload] = made["createUploads"]["uploads"]
    await dashboard.goto(f"/r/{run_id}/artifacts/model/lost.pt")
    await expect(dashboard.main()).to_contain_text("uploading")

    await owner.ask(COMPLETE_UPLOADS, input={"uploads": [{"uploadId": upload["id"]}]})

    await expect(dashboard.page.get_by_role("alert")).to_contain_text("The bytes never arrived")
    await expect(dashboard.page.get_by_role("button", name="Download")).to_have_count(0)
    assert await dashboard.violations() == []


@pytest.mark.parametrize("path", ["plots/a b#c?d%20e.txt", "<b>ü</b>.txt"])
async def test_any_path_of_a_file_is_an_address(dashboard: Dashboard, owner: Client, path: str) -> None:
    run_id = await owner.create_run()
    file = {"path": path, "sizeBytes": 1, "sha256": "ab" * 32}
    await owner.ask(CREATE_UPLOADS, input={"runId": run_id, "files": [file]})
    await dashboard.goto(f"/r/{run_id}/artifacts")

    await dashboard.page.get_by_role("navigation", name="Files").get_by_role("link").click()
    await expect(dashboard.page.get_by_role("heading", name=path)).to_be_visible()

    await dashboard.reload()
    await expect(dashboard.page.get_by_role("heading", name=path)).to_be_visible()


async def test_a_link_to_a_file_finds_it_behind_the_first_page(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run()
    files = [{"path": f"{number:03}.txt", "sizeBytes": 1, "sha256": "ab" * 32} for number in range(502)]
    for part in (files[:251], files[251:]):
        await owner.ask(CREATE_UPLOADS, input={"runId": run_id, "files": part})
    listed = dashboard.page.get_by_role("navigation", name="Files").get_by_role("link")

    await dashboard.goto(f"/r/{run_id}/artifacts/501.txt")

    await expect(dashboard.page.get_by_role("heading", name="501.txt")).to_be_visible()
    await expect(listed).to_have_count(501)
    await dashboard.page.get_by_role("button", name="Show more of 502").click()
    await expect(listed).to_have_count(502)
    await expect(dashboard.page.get_by_role("heading", name="501.txt")).to_be_visible()

    await dashboard.goto(f"/r/{run_id}/artifacts/502.txt")

    await expect(dashboard.page.get_by_role("alert")).to_have_text("There is no file at 502.txt.")
    await expect(dashboard.main()).to_contain_text("502 files, of the first 500 0 bytes ready")


async def test_a_search_is_of_all_params_and_metrics(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run(params=[{"key": f"p-{number:03}", "value": number} for number in range(1_100)])
    points = [{"key": f"m-{number:04}", "value": number} for number in range(1_100)]
    await owner.ask(LOG_POINTS, id=run_id, points=points)
    params = dashboard.page.get_by_role("region", name="Params")
    metrics = dashboard.page.get_by_role("region", name="Metrics", exact=True)
    await dashboard.goto(f"/r/{run_id}")

    await params.get_by_role("searchbox").fill("p-1099")
    await metrics.get_by_role("searchbox").fill("m-1099")

    await expect(params.get_by_role("row")).to_have_count(1)
    await expect(metrics.get_by_role("row").filter(has_text="m-1099")).to_contain_text("1,099")


async def test_of_many_tags_the_first_are_shown(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run(tags=[{"key": f"tag-{number:02}", "value": "x"} for number in range(30)])
    await dashboard.goto(f"/r/{run_id}")
    await expect(dashboard.main()).to_contain_text("tag-19")
    await expect(dashboard.main()).not_to_contain_text("tag-20")

    await dashboard.page.get_by_role("button", name="all 30 tags").click()

    await expect(dashboard.main()).to_contain_text("tag-29")


async def test_source_has_the_patch_and_the_command(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(f"/r/{pair[1].id}/source")

    await expect(dashboard.page.get_by_role("region", name="Patch", exact=True)).to_contain_text("+# tuned by hand")
    await expect(dashboard.page.get_by_role("region", name="Source")).to_contain_text("python training.py")
    await expect(dashboard.page.get_by_role("region", name="Packages")).to_contain_text("playwright")
    assert await dashboard.violations() == []


async def test_tags_are_changed_by_who_may_and_history_tells(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run(tags=[{"key": "team", "value": "vision"}])
    await dashboard.goto(f"/r/{run_id}")

    await dashboard.page.get_by_role("button", name="Change the tag team").click()
    await dashboard.page.get_by_role("textbox", name="Value of the tag").fill("audio")
    await dashboard.page.get_by_role("button", name="Save").click()
    await expect(dashboard.main()).to_contain_text("audio")

    await dashboard.page.get_by_role("link", name="History").click()
    await expect(dashboard.page.get_by_role("region", name="Events")).to_contain_text("vision → audio")
    assert await dashboard.violations() == []


async def test_a_run_is_asked_to_stop_and_history_tells_who_and_why(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run()
    await dashboard.goto(f"/r/{run_id}")

    await dashboard.page.get_by_role("button", name="Stop…").click()
    await dashboard.page.get_by_role("textbox", name="Why").fill("it diverges")
    assert await dashboard.violations() == []
    await dashboard.page.get_by_role("button", name="Ask it to stop").click()

    await expect(dashboard.main()).to_contain_text("asked to stop by")
    await expect(dashboard.page.get_by_role("button", name="Stop…")).to_have_count(0)
    await dashboard.page.get_by_role("link", name="History").click()
    await expect(dashboard.page.get_by_role("region", name="Events")).to_contain_text("it diverges")


async def test_a_run_that_ended_meanwhile_says_that_it_cannot_stop(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run()
    await dashboard.goto(f"/r/{run_id}")

    await dashboard.page.get_by_role("button", name="Stop…").click()
    await owner.ask(FINISH, id=run_id)
    await dashboard.page.get_by_role("button", name="Ask it to stop").click()

    await expect(dashboard.page.get_by_role("alert")).to_contain_text("has ended")


async def test_viewer_sees_no_way_to_change_tags(
    browser: Browser, people: People, client: Client, owner: Client
) -> None:
    run_id = await client.create_run(tags=[{"key": "team", "value": "vision"}])
    viewer = await people.member(client.project, Role.VIEWER)

    async with open_dashboard(browser, viewer.server.url, viewer.token) as dashboard:
        await dashboard.goto(f"/r/{run_id}")
        await expect(dashboard.main()).to_contain_text("vision")
        await expect(dashboard.page.get_by_role("button", name="Change the tag team")).to_have_count(0)
        await expect(dashboard.page.get_by_role("button", name="+ tag")).to_have_count(0)
        await expect(dashboard.page.get_by_role("button", name="Stop…")).to_have_count(0)


async def test_a_running_run_grows_without_a_reload(dashboard: Dashboard, owner: Client) -> None:
    run_id = await owner.create_run()
    point: dict[str, Any] = {"key": "loss", "step": 1, "value": 0.5}
    await owner.ask(LOG_POINTS, id=run_id, points=[point])
    await dashboard.goto(f"/r/{run_id}")
    metrics = dashboard.page.get_by_role("region", name="Metrics", exact=True)
    await expect(metrics.get_by_role("row").filter(has_text="loss")).to_contain_text("0.5")

    await owner.ask(LOG_POINTS, id=run_id, points=[point | {"step": 2, "value": 0.25}])

    await expect(metrics.get_by_role("row").filter(has_text="loss")).to_contain_text("0.25")


async def test_another_run_is_found_to_compare_with(dashboard: Dashboard, pair: Pair) -> None:
    await dashboard.goto(f"/r/{pair[0].id}")
    await dashboard.page.get_by_role("button", name="Compare with…").click()
    await dashboard.page.get_by_role("searchbox", name="Search runs by name").fill("second")
    await dashboard.page.get_by_role("link", name=pair[1].name).click()

    await expect(dashboard.page.get_by_role("table", name="Differences")).to_be_visible()
    assert pair[1].id in dashboard.page.url


async def test_missing_run_says_so(dashboard: Dashboard) -> None:
    await dashboard.goto(f"/r/{new_id()}")

    await expect(dashboard.page.get_by_role("alert")).to_contain_text("There is no such run")
