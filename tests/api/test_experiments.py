"""Experiments as a list of work: what is in them, which is alive, and how one is found again."""

from typing import Any

from db.access import Role
from tests.conftest import Client, People

LIST = """
    query ($search: String, $orderBy: ExperimentOrder!, $first: Int!, $after: Cursor) {
      experiments(search: $search, orderBy: $orderBy, first: $first, after: $after) {
        totalCount
        pageInfo { hasNextPage endCursor }
        nodes { id name runCount statusCounts { status count } lastActivityAt }
      }
    }
"""
FINISH = "mutation ($input: FinishRunInput!) { finishRun(input: $input) { __typename } }"
EXPERIMENT = """
    query ($id: ID, $projectId: ID, $name: String) {
      experiment(id: $id, projectId: $projectId, name: $name) { id name }
    }
"""


async def listed(client: Client, **more: Any) -> dict[str, Any]:
    given = {"search": None, "orderBy": "NAME", "first": 50, **more}
    page: dict[str, Any] = (await client.ask(LIST, **given))["experiments"]
    return page


async def names(client: Client, **more: Any) -> list[str]:
    return [node["name"] for node in (await listed(client, **more))["nodes"]]


async def make(client: Client, name: str) -> None:
    create = "mutation ($input: CreateExperimentInput!) { createExperiment(input: $input) { __typename } }"
    await client.ask(create, input={"projectName": client.project, "name": name})


async def test_an_experiment_tells_what_its_runs_do(client: Client) -> None:
    runs = [await client.create_run(experiment="digits") for _ in range(3)]
    await client.ask(FINISH, input={"runId": runs[0], "status": "FAILED"})
    await make(client, "empty")

    [digits, empty] = (await listed(client))["nodes"]

    assert digits["runCount"] == 3
    assert digits["statusCounts"] == [{"status": "RUNNING", "count": 2}, {"status": "FAILED", "count": 1}]
    assert (empty["runCount"], empty["statusCounts"], empty["lastActivityAt"]) == (0, [], None)
    finished_at = (await client.ask("query ($id: ID!) { run(id: $id) { finishedAt } }", id=runs[0]))["run"]
    assert digits["lastActivityAt"] == finished_at["finishedAt"]


async def test_a_heartbeat_is_activity(client: Client) -> None:
    for name in ("first", "second", "third"):
        await client.create_run(experiment=name)
    await make(client, "without runs")
    await client.create_run(experiment="first")
    before = await names(client, orderBy="ACTIVITY")

    beat = "mutation ($input: HeartbeatInput!) { heartbeat(input: $input) { __typename } }"
    second = (await client.ask('{ experiments(search: "second") { nodes { runs { nodes { id } } } } }'))["experiments"]
    await client.ask(beat, input={"runId": second["nodes"][0]["runs"]["nodes"][0]["id"]})

    assert before == ["first", "without runs", "third", "second"]
    assert await names(client, orderBy="ACTIVITY") == ["second", "first", "without runs", "third"]


async def test_both_orders_come_in_pages(client: Client) -> None:
    for number in range(5):
        await client.create_run(experiment=f"e{number}")
    for order, expected in (("NAME", ["e0", "e1", "e2", "e3", "e4"]), ("ACTIVITY", ["e4", "e3", "e2", "e1", "e0"])):
        found: list[str] = []
        after = None
        while True:
            page = await listed(client, orderBy=order, first=2, after=after)
            found += [node["name"] for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert (found, page["totalCount"]) == (expected, 5)


async def test_a_search_looks_into_names(client: Client) -> None:
    for name in ("Vision/ResNet", "vision/100%", "nlp"):
        await client.create_run(experiment=name)
    for order in ("NAME", "ACTIVITY"):
        assert set(await names(client, search="VISION", orderBy=order)) == {"Vision/ResNet", "vision/100%"}
        assert await names(client, search="0%", orderBy=order) == ["vision/100%"]
        assert await names(client, search="_", orderBy=order) == []
    assert (await listed(client, search="vision"))["totalCount"] == 2
    refused = await client.refused(LIST, search="x" * 251, orderBy="NAME", first=1)
    assert (refused["extensions"]["code"], refused["extensions"]["path"]) == ("VALIDATION", "search")


async def test_an_experiment_is_found_by_its_name(client: Client, stranger: Client) -> None:
    await client.create_run(experiment="vision/a b")
    project = (await client.ask("query ($name: String!) { project(name: $name) { id } }", name=client.project))[
        "project"
    ]
    asked = {"projectId": project["id"], "name": "vision/a b"}

    found = (await client.ask(EXPERIMENT, **asked))["experiment"]

    assert found["name"] == "vision/a b"
    assert (await client.ask(EXPERIMENT, id=found["id"]))["experiment"] == found
    assert (await client.ask(EXPERIMENT, **{**asked, "name": "vision"}))["experiment"] is None
    assert (await stranger.ask(EXPERIMENT, **asked))["experiment"] is None
    assert (await client.refused(EXPERIMENT, name="vision"))["extensions"]["code"] == "VALIDATION"


async def test_a_logger_sees_its_own_runs_alone(people: People) -> None:
    project = await people.project()
    logger, editor = await people.member(project, Role.LOGGER), await people.member(project, Role.EDITOR)
    await editor.create_run(experiment="shared")
    await logger.create_run(experiment="shared")
    await editor.create_run(experiment="other")

    assert {node["name"]: node["runCount"] for node in (await listed(editor))["nodes"]} == {"shared": 2, "other": 1}
    [other, shared] = (await listed(logger, orderBy="NAME"))["nodes"]
    assert (other["runCount"], other["lastActivityAt"], shared["runCount"]) == (0, None, 1)
