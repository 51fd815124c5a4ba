"""Save pictures of all pages, light and dark, with runs that the examples make on a server of their own.

python -P -m tests.browser.screenshot [--only diff run] [--out docs/images]
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser, Page, expect

from deploy.local.home import free_port
from settings import Settings
from tests.browser.dashboard import THEMES, Theme, open_dashboard
from tests.browser.explorer import open_browser, open_explorer
from tests.browser.recorded import git
from tests.conftest import Running, Server

ROOT: Final = Path(__file__).parent.parent.parent
EXAMPLE: Final = ROOT / "examples" / "churn"
WIDTH, HEIGHT = 1280, 760
SETTLE_MS = 700.0  # for lines to be drawn and colours to settle
SWEEP: Final = Path(__file__).parent / "sweep.py"
CHANGE: Final = "# C = 1 is worth a try too"
EXPLORER: Final = "graphiql-compare"
GOALS: Final = {"train/loss": "MINIMIZE", "val/loss": "MINIMIZE", "val/accuracy": "MAXIMIZE", "accuracy": "MAXIMIZE"}
DECLARE: Final = """
    mutation ($key: String!, $goal: Goal!) { setMetricGoal(input: { key: $key, goal: $goal }) { __typename } }
"""
VIEWER: Final = "{ viewer { id } }"
PEOPLE: Final = """
    mutation ($id: ID!) {
      setAccount(input: { accountId: $id, name: "alice" }) { __typename }
      createAccount(input: { name: "bob", projectName: "default" }) { ... on CreateAccountPayload { secret } }
    }
"""
RUNS: Final = "{ runs(first: 100) { nodes { id name experiment { id } } } }"


@dataclass(frozen=True, slots=True)
class Picture:
    """A page, and a text that it shows when it is complete; `height` where less of it tells more."""

    name: str
    address: str
    mark: str
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Made:
    """What the pictures show: the runs of the example, and a sweep with curves."""

    alice: str
    bob: str
    sweep: str
    swept: tuple[str, ...]

    @property
    def pictures(self) -> list[Picture]:
        """Of every page of the dashboard."""
        both = f"sel={self.alice},{self.bob}"
        return [
            Picture("experiments", "/", "resnet"),
            Picture("runs", f"/e/{self.sweep}?sel={','.join(self.swept[:3])}", "lr=0.1 seed=2"),
            Picture("charts", f"/e/{self.sweep}/charts?sel={','.join(self.swept)}", "12 runs"),
            Picture("diff", f"/compare/diff?sel={','.join(self.swept[::3])}", "val/loss"),
            Picture("patch", f"/compare/diff?{both}&patch={self.bob}", CHANGE),
            Picture("files", f"/compare/artifacts?{both}&path=model/MODEL.json", '"format"'),
            Picture("run", f"/r/{self.swept[0]}", "val/loss"),
            Picture("artifacts", f"/r/{self.alice}/artifacts/model/MODEL.json", '"format"'),
            Picture("source", f"/r/{self.bob}/source", CHANGE, height=610),  # above the machine
            Picture("history", f"/r/{self.bob}/history", "run started"),
            Picture("settings", "/settings/tokens", "this page uses it"),
            Picture("accounts", "/settings/accounts", "bob"),
        ]


def start(server: Server, token: str, script: Path, *words: str) -> list[str]:
    """The lines that a script prints."""
    found = {"RUNSTONE_URL": server.url, "RUNSTONE_TOKEN": token, "RUNSTONE_HOME": str(server.settings.home)}
    command = [sys.executable, script.name, *words]
    done = subprocess.run(
        command, cwd=script.parent, env={**os.environ, **found}, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()


def record(server: Server, folder: Path) -> Made:
    """Make all runs, in a repository: Alice's, and one of Bob's, before which he changed something."""
    repository = Path(shutil.copytree(EXAMPLE, folder / "churn"))
    sweep = Path(shutil.copy(SWEEP, repository))
    git(repository, "init", "--quiet", "--initial-branch", "main")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "Predict who leaves")
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, verify=False) as http:
        ask = partial(data_of, http)
        people = ask(PEOPLE, id=ask(VIEWER)["viewer"]["id"])
        swept = start(server, server.token, sweep, str(folder / "models"))
        start(server, server.token, repository / "alice.py")
        with (repository / "bob.py").open("a") as source:
            source.write(f"{CHANGE}\n")
        start(server, people["createAccount"]["secret"], repository / "bob.py")
        for key, goal in GOALS.items():
            ask(DECLARE, key=key, goal=goal)
        runs = ask(RUNS)["runs"]["nodes"]
    ids = {run["name"]: run["id"] for run in runs}
    [experiment] = {run["experiment"]["id"] for run in runs if run["id"] in swept}
    return Made(ids["alice"], ids["bob"], experiment, tuple(swept))


def data_of(http: httpx.Client, query: str, **variables: str) -> dict[str, Any]:
    """What the operation answers."""
    data: dict[str, Any] = http.post("/graphql", json={"query": query, "variables": variables}).json()["data"]
    return data


async def save(page: Page, path: Path) -> None:
    """The picture once nothing moves any more."""
    await page.wait_for_load_state("networkidle")
    await page.mouse.move(2, 2)
    await page.wait_for_timeout(SETTLE_MS)
    print(f"{path} {len(await page.screenshot(path=path)) // 1024} KiB")


async def save_page(browser: Browser, server: Server, picture: Picture, path: Path, theme: Theme) -> None:
    async with open_dashboard(
        browser, server.url, server.token, width=WIDTH, height=picture.height, colours=theme
    ) as dashboard:
        await dashboard.goto(picture.address)
        await expect(dashboard.main().get_by_text(picture.mark).filter(visible=True).first).to_be_visible()
        await save(dashboard.page, path)


async def save_explorer(browser: Browser, server: Server, made: Made, path: Path, theme: Theme) -> None:
    async with open_explorer(browser, server.url, width=WIDTH, height=HEIGHT, colours=theme) as explorer:
        query = (EXAMPLE / "compare.graphql").read_text()
        await explorer.open(server.token, query, {"runs": [made.alice, made.bob]})
        await explorer.page.get_by_role("button", name="Hide Examples").click()
        await explorer.run()
        await save(explorer.page, path)


async def save_all(out: Path, only: list[str]) -> None:
    async with open_server() as (server, made), open_browser() as browser:
        for theme in THEMES:
            ending = ".png" if theme == "light" else "-dark.png"
            for picture in made.pictures:
                if not only or picture.name in only:
                    await save_page(browser, server, picture, out / f"{picture.name}{ending}", theme)
            if not only or EXPLORER in only:
                await save_explorer(browser, server, made, out / f"{EXPLORER}{ending}", theme)


@asynccontextmanager
async def open_server() -> AsyncIterator[tuple[Server, Made]]:
    """A server of its own with all runs."""
    with (
        tempfile.TemporaryDirectory() as home,
        Running(Settings(home=Path(home) / "server", port=free_port("127.0.0.1"))) as server,
    ):
        yield server, await asyncio.to_thread(record, server, Path(home))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="the folder of the PNGs")
    parser.add_argument("--only", nargs="*", default=[], help="pictures by name, such as diff; absent: all")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    asyncio.run(save_all(options.out, options.only))


if __name__ == "__main__":
    main()
