"""GraphiQL as people use it: from the printed link to an answer, in a browser that reaches this machine only."""

import asyncio
from urllib.parse import urlsplit

import httpx
from playwright.async_api import Browser, Route, expect

from tests.browser.explorer import Explorer, open_explorer
from tests.conftest import Server, new_id

LOG_ONE_POINT = """
    mutation ($id: ID!, $point: PointInput!) {
      createRun(input: { id: $id, experiment: "browser" }) { __typename }
      logMetrics(input: { runId: $id, points: [$point] }) { __typename }
    }
"""
FIRST_VISIT_BYTES_MAX = 1_800_000  # the editor is large, and is kept by the browser
RECEIVED = "() => performance.getEntriesByType('resource').reduce((sum, each) => sum + each.transferSize, 0)"
NO_SUCH_TOKEN = f"rs_{'0' * 16}_{'x' * 43}"


async def test_printed_link_leads_to_an_answer(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)

    await explorer.choose("Server and you")
    answer = await explorer.run()

    assert "OWNER" in {membership["role"] for membership in answer["data"]["viewer"]["memberships"]}


async def test_the_first_visit_stays_within_its_budget(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)
    await explorer.choose("Server and you")
    await explorer.run()
    await explorer.page.wait_for_load_state("networkidle")

    received = await explorer.page.evaluate(RECEIVED)

    assert 500_000 < received <= FIRST_VISIT_BYTES_MAX


async def test_token_leaves_the_address_bar_and_ends_with_the_tab(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)

    assert urlsplit(explorer.page.url).fragment == ""
    assert server.token in await explorer.page.evaluate("() => Object.values(sessionStorage)")
    assert server.token not in await explorer.page.evaluate("() => JSON.stringify(localStorage)")
    assert server.token not in await explorer.page.content()

    await explorer.page.reload()
    await explorer.choose("Server and you")

    assert "data" in await explorer.run()


async def test_runs_are_logged_and_compared_from_the_examples(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)
    first, second = [await log_run(explorer), await log_run(explorer)]

    await explorer.choose("Compare two runs")
    compared = (await explorer.run())["data"]["compareRuns"]

    assert [run["name"] for run in compared["runs"]] == [first, second]
    assert compared["metrics"][0]["delta"] == [0, 0]
    await expect(explorer.page.locator(".graphiql-response")).to_contain_text("[0.5,\u00a00.5]")


async def log_run(explorer: Explorer) -> str:
    """The name of a run that the example made."""
    await explorer.choose("Log a run at once")
    logged = (await explorer.run())["data"]
    assert [result["__typename"] for result in logged.values()] == [
        "CreateRunPayload",
        "LogMetricsPayload",
        "FinishRunPayload",
    ]
    return str(logged["createRun"]["run"]["name"])


async def test_steps_of_an_example_run_one_by_one(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)
    await explorer.choose("Log a run step by step")

    for step in ("CreateRun", "LogPoints", "FinishRun"):
        [result] = (await explorer.run(step))["data"].values()
        assert result["__typename"].endswith("Payload"), result


async def test_every_query_example_is_answered(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)
    for _ in range(2):
        await log_run(explorer)

    titles = await explorer.page.locator(".examples li strong").all_inner_texts()
    for title in titles:
        if not title.startswith(("Log a run", "Watch runs live")):
            await explorer.choose(title)
            assert "errors" not in await explorer.run(), title


async def test_runs_are_watched_live(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)
    await explorer.choose("Watch runs live")
    await explorer.page.locator(".graphiql-execute-button").click()
    begun = await explorer.shown()
    assert begun["data"]["runEvents"]["kind"] == "SUBSCRIBED"

    async with httpx.AsyncClient(base_url=server.url, verify=False) as http:
        body = {"query": LOG_ONE_POINT, "variables": {"id": new_id(), "point": {"key": "m", "value": 1}}}
        await http.post("/graphql", json=body, headers={"Authorization": f"Bearer {server.token}"})

    await expect(explorer.page.locator(".graphiql-response")).to_contain_text("RUN_CREATED")
    await explorer.page.locator(".graphiql-execute-button").click()


async def test_numbers_are_shown_as_the_server_wrote_them(explorer: Explorer, server: Server) -> None:
    step = 2**53 + 1  # which JavaScript rounds
    run_id = new_id()
    await explorer.open(
        server.token, LOG_ONE_POINT, {"id": run_id, "point": {"key": "m", "step": str(step), "value": 1}}
    )
    await explorer.run()

    await explorer.open(
        server.token, "query ($id: ID!) { run(id: $id) { metrics { nodes { lastStep } } } }", {"id": run_id}
    )

    assert (await explorer.run())["data"]["run"]["metrics"]["nodes"] == [{"lastStep": step}]


async def test_refused_token_asks_for_another(browser: Browser, server: Server) -> None:
    async with open_explorer(browser, server.url) as explorer:
        await explorer.open(NO_SUCH_TOKEN)
        box = explorer.page.get_by_role("dialog", name="Access token")
        await expect(box).to_contain_text("does not accept")

        await box.get_by_label("Access token").fill(server.token)
        await box.get_by_role("button", name="Connect").click()
        await expect(box).to_have_count(0)
        await explorer.choose("Server and you")

        assert "data" in await explorer.run()
        assert explorer.outside == []
        assert all("401" in complaint for complaint in explorer.complaints)


async def test_missing_token_is_asked_for_without_a_request(explorer: Explorer) -> None:
    asked: list[str] = []
    explorer.page.on("request", lambda request: asked.append(urlsplit(request.url).path))

    await explorer.open(None)

    await expect(explorer.page.get_by_role("dialog", name="Access token")).to_be_visible()
    assert "/graphql" not in asked


async def test_link_fills_in_the_operation_and_runs_nothing(explorer: Explorer, server: Server) -> None:
    asked: list[str] = []
    explorer.page.on("request", lambda request: asked.append(request.post_data or ""))

    await explorer.open(server.token, "query Linked($n: Int!) { runs(first: $n) { totalCount } }", {"n": 3})

    await expect(explorer.page.get_by_role("tab", name="Linked")).to_be_visible()
    assert not any("Linked" in body for body in asked)
    assert "totalCount" in (await explorer.run())["data"]["runs"]


async def slowly(route: Route) -> None:
    """As over a network: a query that is answered before the page is drawn again may be missing in the history."""
    await asyncio.sleep(0.2)
    await route.continue_()


async def test_docs_and_history_show_what_they_should(explorer: Explorer, server: Server) -> None:
    await explorer.open(server.token)
    await explorer.page.route("**/graphql", slowly)
    await explorer.choose("Server and you")
    await explorer.run()

    await explorer.page.get_by_role("button", name="Show Documentation Explorer").click()
    await explorer.page.get_by_role("link", name="Query", exact=True).click()
    await expect(explorer.page.locator(".graphiql-doc-explorer")).to_contain_text("viewer")
    await explorer.page.get_by_role("button", name="Show History").click()
    await expect(explorer.page.locator(".graphiql-history")).to_contain_text("ServerAndYou")


def test_page_has_a_strict_policy_and_is_always_asked_for(pages: None, server: Server) -> None:
    page = httpx.get(f"{server.url}/graphiql")
    policy = dict(rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";"))

    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-cache"
