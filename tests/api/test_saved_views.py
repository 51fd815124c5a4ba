"""Saved views: what is shared by a name, seen by those who read the project, and never changed."""

from typing import Any

import asyncpg
import pytest

from db.access import Role
from db.pool import Pool
from tests.conftest import Client, People, new_id

SAVE = """
    mutation ($input: SaveViewInput!) {
      saveView(input: $input) {
        __typename
        ... on SaveViewPayload { view { id name search experiment { id } project { name } createdBy { name } } }
        ... on UserError { code message path limit }
      }
    }
"""
VIEW = "query ($id: ID!) { savedView(id: $id) { id name search } node(id: $id) { id } }"
VIEWS = """
    query ($projectId: ID, $experimentId: ID, $first: Int! = 50, $after: Cursor) {
      savedViews(projectId: $projectId, experimentId: $experimentId, first: $first, after: $after) {
        totalCount pageInfo { hasNextPage endCursor } nodes { id name }
      }
    }
"""
DELETE = "mutation ($id: ID!) { deleteSavedView(id: $id) { __typename ... on UserError { code } } }"
PLACES = """
    query ($name: String!) { project(name: $name) { id experiments { nodes { id } } } }
"""


async def places(client: Client) -> tuple[str, str]:
    """The ids of the client's project and of an experiment in it."""
    await client.create_run()
    project = (await client.ask(PLACES, name=client.project))["project"]
    return project["id"], project["experiments"]["nodes"][0]["id"]


async def save(client: Client, **given: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.ask(SAVE, input={"name": "best", "search": "q=1", **given}))["saveView"]
    return answer


async def saved(client: Client, **given: Any) -> str:
    return str((await save(client, **given))["view"]["id"])


async def deleted(client: Client, view_id: str) -> str:
    answer = (await client.ask(DELETE, id=view_id))["deleteSavedView"]
    return str(answer.get("code") or answer["__typename"])


async def test_a_view_is_found_again_as_it_was_saved(client: Client, pool: Pool) -> None:
    project_id, experiment_id = await places(client)
    search = "q=metrics.loss%20%3C%200.3&cols=param:lr,metric:val/loss@min&u=1"

    view = (await save(client, experimentId=experiment_id, name="Best of May ✓", search=search))["view"]

    assert (view["name"], view["search"]) == ("Best of May ✓", search)
    assert (view["experiment"]["id"], view["project"]["name"]) == (experiment_id, client.project)
    found = await client.ask(VIEW, id=view["id"])
    assert found == {
        "savedView": {"id": view["id"], "name": view["name"], "search": search},
        "node": {"id": view["id"]},
    }
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("update saved_view set search = '' where id = $1", view["id"])
    of_project = (await save(client, projectId=project_id))["view"]
    assert of_project["experiment"] is None


async def test_views_come_the_newest_first_in_pages(client: Client) -> None:
    project_id, experiment_id = await places(client)
    names = [f"view {number}" for number in range(3)]
    for name in names:
        await save(client, experimentId=experiment_id, name=name)
    await save(client, projectId=project_id, name="of all")

    page = (await client.ask(VIEWS, projectId=project_id, first=3))["savedViews"]
    rest = (await client.ask(VIEWS, projectId=project_id, first=3, after=page["pageInfo"]["endCursor"]))["savedViews"]

    assert [view["name"] for view in page["nodes"]] == ["of all", "view 2", "view 1"]
    assert (page["totalCount"], [view["name"] for view in rest["nodes"]]) == (4, ["view 0"])
    of_experiment = (await client.ask(VIEWS, experimentId=experiment_id))["savedViews"]["nodes"]
    assert [view["name"] for view in of_experiment] == names[::-1]


async def test_who_reads_the_project_sees_views_and_editors_save_them(people: People) -> None:
    project = await people.project()
    viewer, logger, editor, other, owner = [
        await people.member(project, role) for role in (Role.VIEWER, Role.LOGGER, Role.EDITOR, Role.EDITOR, Role.OWNER)
    ]
    project_id, experiment_id = await places(editor)
    view_id = await saved(editor, experimentId=experiment_id)

    assert [(await client.ask(VIEW, id=view_id))["savedView"] is not None for client in (viewer, logger, other)] == [
        True,
        False,
        True,
    ]
    assert (await logger.ask(VIEWS))["savedViews"] == {
        "totalCount": 0,
        "pageInfo": {"hasNextPage": False, "endCursor": None},
        "nodes": [],
    }
    for client in (viewer, logger):
        assert (await save(client, projectId=project_id))["code"] == "FORBIDDEN"
    assert [await deleted(client, view_id) for client in (viewer, logger, other)] == [
        "FORBIDDEN",
        "NOT_FOUND",
        "FORBIDDEN",
    ]
    second = await saved(editor, experimentId=experiment_id)
    assert await deleted(owner, view_id) == await deleted(editor, second) == "DeleteSavedViewPayload"
    assert (await editor.ask(VIEW, id=view_id))["savedView"] is None
    assert await deleted(owner, view_id) == "NOT_FOUND"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": ""}, "input.name"),
        ({"name": "x" * 251}, "input.name"),
        ({"name": "two\nlines"}, "input.name"),
        ({"search": "x" * 16_385}, "input.search"),
        ({"search": "\0"}, "input.search"),
        ({"projectId": None}, "input.experimentId"),
        ({"projectId": "x"}, "input.projectId"),
    ],
)
async def test_what_cannot_be_a_view_is_refused(client: Client, given: dict[str, Any], path: str) -> None:
    project_id, _ = await places(client)
    refused = await save(client, **{"projectId": project_id, **given})
    assert (refused["code"], refused["path"]) == ("VALIDATION", path)


async def test_a_view_of_what_is_not_there_is_not_saved(client: Client, stranger: Client) -> None:
    project_id, experiment_id = await places(client)
    for given in ({"projectId": project_id}, {"experimentId": experiment_id}, {"experimentId": new_id()}):
        assert (await save(stranger, **given))["code"] == "NOT_FOUND"
