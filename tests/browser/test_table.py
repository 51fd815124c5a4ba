"""The runs of an experiment as a table, as people use it, in a browser that reaches this machine only."""

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlsplit

import pytest
from playwright.async_api import Browser, Locator, Request, Route, WebSocketRoute, expect

import runstone
from db.access import Role
from tests.browser.dashboard import Dashboard, open_dashboard, url_of
from tests.conftest import Client, People

EXPERIMENT = "digits"
ODD = "<img src=x onerror=alert(1)>"
MANY = 120
CELLS_MAX = 1_000
REQUESTS_MAX = 7  # who, columns, the first rows, the others, keys, what began just now, and how that stands
IDLE_S = 2.0  # longer than any pause after which the table asks again

FINISH = "mutation ($id: ID!) { finishRun(input: { runId: $id }) { __typename } }"
RUN_IDS = (
    "query ($name: String!) { project(name: $name) { experiments { nodes { id name runs { nodes { id name } } } } } }"
)


@dataclass(frozen=True, slots=True)
class Shelf:
    """An experiment with twelve runs: three models times four seeds."""

    experiment: str
    ids: dict[str, str]

    @property
    def address(self) -> str:
        """Its table."""
        return f"/e/{self.experiment}"


async def log_runs(client: Client) -> None:
    """What a user's sweep records."""
    async with runstone.Client(client.server.url, client.token) as sdk:
        for model in ("resnet", "unet", ODD):
            for seed in range(4):
                params = {"model": model, "seed": seed, "depth": 18}
                async with sdk.start_run(client.project, EXPERIMENT, f"{model}-{seed}", params) as run:
                    for step in range(3):
                        run.log({"loss": (seed + 1) / (step + 1)}, step=step)


async def found(client: Client) -> Shelf:
    """The experiment as the server has it."""
    data = await client.ask(RUN_IDS, name=client.project)
    [experiment] = [each for each in data["project"]["experiments"]["nodes"] if each["name"] == EXPERIMENT]
    return Shelf(experiment["id"], {run["name"]: run["id"] for run in experiment["runs"]["nodes"]})


@pytest.fixture(scope="module")
async def shelf(owner: Client) -> Shelf:
    """The runs that these tests look at."""
    await log_runs(owner)
    return await found(owner)


def grid(dashboard: Dashboard) -> Locator:
    return dashboard.page.get_by_role("grid")


def names(dashboard: Dashboard) -> Locator:
    """The names of the rows in sight."""
    return grid(dashboard).get_by_role("gridcell").get_by_role("link")


def head(dashboard: Dashboard, name: str) -> Locator:
    return grid(dashboard).get_by_role("columnheader", name=name)


async def test_experiment_is_found_from_the_printed_link(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto("/")
    await dashboard.page.get_by_role("link", name=EXPERIMENT, exact=True).click()

    await expect(grid(dashboard)).to_have_attribute("aria-rowcount", str(len(shelf.ids) + 1))
    assert urlsplit(dashboard.page.url).path == shelf.address
    assert urlsplit(dashboard.page.url).fragment == ""


async def test_names_are_shown_as_text(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(shelf.address)

    await expect(names(dashboard).filter(has_text=f"{ODD}-3")).to_have_count(1)
    await expect(dashboard.page.locator("img[src=x]")).to_have_count(0)


async def test_filter_applies_when_typing_pauses_and_is_the_address(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(shelf.address)

    await dashboard.page.get_by_role("textbox", name="Filter").fill("params.model = 'unet' AND params.seed < 2")

    await expect(names(dashboard)).to_have_text(["unet-1", "unet-0"])
    await expect(dashboard.page.get_by_text("2 of 12 runs")).to_be_visible()
    await dashboard.reload()
    await expect(names(dashboard)).to_have_text(["unet-1", "unet-0"])


async def test_wrong_filter_says_where_and_what_could_stand_there(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(shelf.address)

    await dashboard.page.get_by_role("textbox", name="Filter").fill("params.seed = 1 AND metrc.loss < 3")

    await expect(dashboard.page.locator("mark")).to_have_text("metrc.loss")
    await expect(names(dashboard)).to_have_count(12)
    await dashboard.page.get_by_role("button", name="metrics.loss", exact=True).click()
    await expect(dashboard.page.get_by_role("textbox", name="Filter")).to_have_value(
        "params.seed = 1 AND metrics.loss < 3"
    )
    await expect(names(dashboard)).to_have_count(3)


async def test_filter_that_finds_nothing_leads_back(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?q=params.seed+%3E+9")

    await expect(dashboard.main()).to_contain_text("No run satisfies params.seed > 9")
    await dashboard.page.get_by_role("button", name="Show all runs").click()

    await expect(names(dashboard)).to_have_count(12)


async def test_column_is_sorted_by_its_head_and_by_a_key(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?q=params.model+=+'unet'")
    await head(dashboard, "loss").get_by_role("button", name="loss").first.click()

    await expect(head(dashboard, "loss")).to_have_attribute("aria-sort", "ascending")
    await expect(names(dashboard)).to_have_text([f"unet-{seed}" for seed in range(4)])

    await grid(dashboard).press("s")
    await expect(head(dashboard, "Name")).to_have_attribute("aria-sort", "ascending")
    await dashboard.go_back()
    await expect(head(dashboard, "loss")).to_have_attribute("aria-sort", "ascending")


async def test_rows_are_selected_by_keys_and_the_link_says_which(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?q=params.model+=+'unet'&sort=attr:name")
    await expect(names(dashboard)).to_have_count(4)

    await grid(dashboard).press("Space")
    await grid(dashboard).press("Shift+ArrowDown")
    await grid(dashboard).press("Shift+j")
    await expect(dashboard.main()).to_contain_text("3 selected")

    shared = Dashboard(await dashboard.page.context.new_page(), dashboard.url, dashboard.token, dashboard.url)
    await shared.goto((await url_of(dashboard.page)).removeprefix(dashboard.url))
    await expect(grid(shared).get_by_role("row", selected=True)).to_have_count(3)
    assert shared.complaints == []
    await grid(dashboard).press("x")
    await expect(dashboard.main()).not_to_contain_text("selected")


async def test_active_cell_stays_in_sight(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.page.set_viewport_size({"width": 700, "height": 420})
    await dashboard.goto(shelf.address)
    await expect(names(dashboard).first).to_be_visible()
    window = await grid(dashboard).bounding_box()
    assert window is not None
    columns = int(await grid(dashboard).get_attribute("aria-colcount") or 0)

    for key in ["ArrowDown"] * (len(shelf.ids) - 1) + ["ArrowRight"] * (columns - 1):
        await grid(dashboard).press(key)

        active = dashboard.page.locator(f"[id='{await grid(dashboard).get_attribute('aria-activedescendant')}']")
        await expect(active).to_be_in_viewport(ratio=1)
        cell = await active.bounding_box()
        assert cell is not None
        assert cell["y"] + cell["height"] <= window["y"] + window["height"]
        assert cell["x"] + cell["width"] <= window["x"] + window["width"]


async def test_rows_between_two_presses_are_selected_with_shift(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?sort=attr:name")

    await dashboard.page.get_by_role("checkbox", name="Select resnet-0").click()
    await dashboard.page.get_by_role("checkbox", name="Select unet-0").click(modifiers=["Shift"])

    await expect(grid(dashboard).get_by_role("row", selected=True)).to_have_count(5)
    await dashboard.page.get_by_role("link", name="Diff", exact=True).click()
    await dashboard.page.wait_for_url(f"**{shelf.address}/diff?**")


async def test_groups_show_mean_and_deviation_and_their_members(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?cols=metric:loss@min")
    await dashboard.page.get_by_role("button", name="Group").click()
    await dashboard.page.get_by_role("checkbox", name="model").check()
    await dashboard.page.keyboard.press("Escape")

    group = grid(dashboard).get_by_role("row").filter(has_text="unet")
    await expect(group).to_contain_text("n=4")
    await expect(group).to_contain_text("0.8333 ± 0.43")

    await group.get_by_role("button", name="unet").click()
    await expect(names(dashboard)).to_have_text([f"unet-{seed}" for seed in (3, 2, 1, 0)])
    assert "group=param:model" in await url_of(dashboard.page)


async def test_only_differences_leaves_columns_in_which_runs_differ(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?cols=param:model,param:depth,metric:loss")
    await expect(head(dashboard, "depth")).to_be_visible()

    await grid(dashboard).press("D")

    await expect(head(dashboard, "depth")).to_have_count(0)
    await expect(head(dashboard, "model")).to_be_visible()
    await expect(dashboard.main()).to_contain_text("2 of 3")


async def test_columns_are_chosen_pinned_and_moved(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?cols=param:model,param:depth")
    await dashboard.page.get_by_role("button", name="Columns").click()
    await dashboard.page.get_by_role("checkbox", name="loss min").check()
    await dashboard.page.keyboard.press("Escape")
    await expect(head(dashboard, "loss")).to_contain_text("min")

    await head(dashboard, "loss").hover()
    await dashboard.page.get_by_role("button", name="Column loss").click()
    await dashboard.page.get_by_role("button", name="Pin to the left").click()

    await expect(grid(dashboard).get_by_role("columnheader").nth(1)).to_contain_text("loss")
    assert "cols=metric:loss@min,param:model,param:depth&pin=1" in await url_of(dashboard.page)


async def test_view_is_saved_and_opened_by_its_own_address(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(f"{shelf.address}?q=params.seed+=+1")
    await dashboard.page.get_by_role("button", name="Views").click()
    await dashboard.page.get_by_role("textbox", name="Name of the view").fill("first seeds")
    await dashboard.page.get_by_role("button", name="Save", exact=True).click()
    view = await dashboard.page.get_by_role("link", name="first seeds").get_attribute("href")
    assert view is not None

    await dashboard.goto(view)

    await expect(names(dashboard)).to_have_count(3)
    assert urlsplit(dashboard.page.url).path == shelf.address


async def test_view_is_taken_along_as_an_operation(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await dashboard.goto(f"{shelf.address}?q=params.seed+=+1")
    await expect(names(dashboard)).to_have_count(3)
    await dashboard.page.get_by_role("button", name="Share").click()
    link = await dashboard.page.get_by_role("link", name="Open in GraphiQL").get_attribute("href")
    await dashboard.page.get_by_role("button", name="Copy as Python").click()
    await expect(dashboard.page.get_by_text("Python copied")).to_be_visible()
    script = await dashboard.page.evaluate("() => navigator.clipboard.readText()")

    environment = {**os.environ, "RUNSTONE_URL": dashboard.url, "RUNSTONE_TOKEN": dashboard.token}
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )

    assert "'totalCount': 3" in ran.stdout, ran.stderr
    assert link is not None
    assert "query RunsTable" in unquote_plus(urlsplit(link).fragment)
    assert dashboard.token not in link + script


async def test_run_that_starts_and_ends_is_seen_without_a_reload(browser: Browser, people: People) -> None:
    owner = await people.member(await people.project(), Role.OWNER)
    await owner.ask(FINISH, id=await owner.create_run(name="older"))
    async with (
        open_dashboard(browser, owner.server.url, owner.token) as dashboard,
        runstone.Client(owner.server.url, owner.token) as sdk,
    ):
        await dashboard.goto("/compare?cols=attr:status,metric:loss")
        await expect(names(dashboard)).to_have_text(["older"])
        row = grid(dashboard).get_by_role("row").filter(has_text="live-one")

        async with sdk.start_run(owner.project, EXPERIMENT, "live-one") as run:
            await expect(row).to_contain_text("running")
            await expect(dashboard.main()).to_contain_text("1 running")
            run.log({"loss": 0.125}, step=0)
            await expect(row).to_contain_text("0.1250")
        await expect(row).to_contain_text("done")
        assert dashboard.complaints == []


async def test_what_happens_before_changes_are_told_of_is_seen(browser: Browser, people: People) -> None:
    owner = await people.member(await people.project(), Role.OWNER)
    run_id = await owner.create_run(name="ends")
    async with open_dashboard(browser, owner.server.url, owner.token) as dashboard:
        is_told = asyncio.Event()

        async def wait(socket: WebSocketRoute) -> None:
            await is_told.wait()
            socket.connect_to_server()

        await dashboard.page.route_web_socket("**/graphql", wait)
        await dashboard.goto("/compare?cols=attr:status")
        await expect(grid(dashboard)).to_contain_text("running")

        await owner.ask(FINISH, id=run_id)
        await owner.create_run(name="begins")
        await expect(names(dashboard)).to_have_text(["ends"])
        is_told.set()

        await expect(names(dashboard)).to_have_text(["begins", "ends"])
        await expect(grid(dashboard)).to_contain_text("done")


async def test_experiment_without_runs_says_how_to_log_one(browser: Browser, people: People) -> None:
    owner = await people.member(await people.project(), Role.OWNER)
    async with open_dashboard(browser, owner.server.url, owner.token) as dashboard:
        await dashboard.goto("/")

        await expect(dashboard.main()).to_contain_text("No runs yet")
        await expect(dashboard.main()).to_contain_text("with runstone.start_run(")
        assert await dashboard.violations() == []
        assert dashboard.complaints == []


async def test_many_runs_cost_few_cells_few_requests_and_none_when_idle(browser: Browser, people: People) -> None:
    owner = await people.member(await people.project(), Role.OWNER)
    for number in range(MANY):
        params = [{"key": f"p{key:02}", "value": number * key} for key in range(20)]
        last = await owner.create_run(name=f"run-{number}", params=params)
        await owner.ask(FINISH, id=last)
    async with open_dashboard(browser, owner.server.url, owner.token, width=1920, height=1080) as dashboard:
        asked: list[str] = []
        dashboard.page.on("request", lambda request: asked.append(request.url))
        await dashboard.goto("/compare")
        await expect(grid(dashboard)).to_have_attribute("aria-rowcount", str(MANY + 1))
        await expect(dashboard.page.get_by_role("button", name=re.compile(r"Columns \(\d+ of \d+\)"))).to_be_visible()
        await dashboard.page.wait_for_load_state("networkidle")

        assert 0 < await grid(dashboard).get_by_role("gridcell").count() <= CELLS_MAX
        queries = [url for url in asked if url.endswith("/graphql")]
        assert len(queries) <= REQUESTS_MAX
        await asyncio.sleep(IDLE_S)
        assert len([url for url in asked if url.endswith("/graphql")]) == len(queries)
        await grid(dashboard).press("End")
        await grid(dashboard).press("PageDown")
        assert await grid(dashboard).get_by_role("gridcell").count() <= CELLS_MAX


@pytest.mark.parametrize("query", ["", "?cols=param:model,metric:loss&sort=-metric:loss&q=params.seed+%3C+2"])
async def test_rows_are_asked_for_once_while_the_code_is_on_its_way(
    dashboard: Dashboard, shelf: Shelf, query: str
) -> None:
    page, come = dashboard.page, asyncio.Event()
    tables: list[Request] = []

    async def hold(route: Route) -> None:
        await come.wait()
        await route.continue_()

    def note(request: Request) -> None:
        asked = request.post_data or ""
        if "query RunsTable" in asked and not any(later in asked for later in ("createdAt > ", "runIds")):
            tables.append(request)  # not what is asked later, of what began in the last minute

    await page.route("**/assets/main-*.js", hold)
    page.on("request", note)
    async with page.expect_request_finished(lambda request: request in tables):
        await page.goto(f"{dashboard.url}{shelf.address}{query}#token={dashboard.token}", wait_until="commit")
    come.set()

    await expect(names(dashboard).first).to_be_visible()
    await page.wait_for_load_state("networkidle")
    assert len(tables) == 1


@pytest.mark.parametrize("more", ["", "&group=param:model", "&q=params.seed+%3E+9"])
async def test_table_is_accessible(dashboard: Dashboard, shelf: Shelf, more: str) -> None:
    await dashboard.goto(f"{shelf.address}?sel={','.join(list(shelf.ids.values())[:2])}{more}")
    cell = grid(dashboard).get_by_role("gridcell").first
    await expect(cell.or_(dashboard.page.get_by_text("No run satisfies"))).to_be_visible()

    assert await dashboard.violations() == []


async def test_experiments_are_accessible(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto("/")
    await expect(dashboard.page.get_by_role("link", name=EXPERIMENT, exact=True)).to_be_visible()

    assert await dashboard.violations() == []


# A key as it comes when a dialog has just closed: until the next frame the focus is on its button, which nobody sees.
PRESS_BEHIND_THE_DIALOG = """
    (key) => {
      document.querySelector("dialog").close();
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
"""


async def test_shortcuts_work_as_soon_as_a_dialog_has_closed(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(shelf.address)
    await expect(names(dashboard)).to_have_count(len(shelf.ids))
    await dashboard.page.keyboard.press("?")
    await expect(dashboard.page.get_by_role("dialog", name="Keyboard")).to_be_visible()

    await dashboard.page.evaluate(PRESS_BEHIND_THE_DIALOG, "t")

    await expect(dashboard.page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_shortcuts_are_listed_and_go_places(dashboard: Dashboard, shelf: Shelf) -> None:
    await dashboard.goto(shelf.address)
    await expect(names(dashboard)).to_have_count(len(shelf.ids))

    keyboard = dashboard.page.get_by_role("dialog", name="Keyboard")
    await dashboard.page.keyboard.press("?")
    await expect(keyboard).to_contain_text("only differences")
    await dashboard.page.keyboard.press("Escape")
    await expect(keyboard).to_have_count(0)
    await dashboard.page.keyboard.press("t")
    await expect(dashboard.page.locator("html")).to_have_attribute("data-theme", "dark")
    await dashboard.page.keyboard.press("g")
    await dashboard.page.keyboard.press("e")

    await expect(dashboard.page.get_by_role("heading", name="Experiments")).to_be_visible()
