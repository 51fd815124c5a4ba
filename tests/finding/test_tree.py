"""Trees and groups of runs."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db import ids
from db.pool import Pool
from tests.conftest import CREATE_RUN, Client, new_id

TREE = """
    query ($id: ID!) {
      run(id: $id) { group parent { id } ancestors { id } descendantCount children { nodes { id } totalCount } }
    }
"""
CHILDREN = """
    query ($id: ID!, $first: Int!, $after: Cursor) {
      run(id: $id) {
        children(
          select: { where: "params.rank > 0" }, orderBy: [{ text: "params.rank DESC" }], first: $first, after: $after
        ) {
          nodes { name } totalCount pageInfo { endCursor hasNextPage }
        }
      }
    }
"""


async def tree(client: Client, run_id: str) -> dict[str, Any]:
    """What is above and below the run."""
    found: dict[str, Any] = (await client.ask(TREE, id=run_id))["run"]
    return found


async def chain(client: Client, length: int) -> list[str]:
    """Runs, each the parent of the next."""
    run_ids: list[str] = []
    for _ in range(length):
        run_ids.append(await client.create_run(parentId=run_ids[-1] if run_ids else None))
    return run_ids


async def test_a_run_knows_what_is_above_and_below_it(client: Client) -> None:
    top, middle, bottom = await chain(client, 3)
    other = await client.create_run(parentId=top)

    assert await tree(client, top) == {
        "group": None,
        "parent": None,
        "ancestors": [],
        "descendantCount": 3,
        "children": {"nodes": [{"id": other}, {"id": middle}], "totalCount": 2},
    }
    assert await tree(client, bottom) == {
        "group": None,
        "parent": {"id": middle},
        "ancestors": [{"id": top}, {"id": middle}],
        "descendantCount": 0,
        "children": {"nodes": [], "totalCount": 0},
    }


async def test_children_are_filtered_ordered_and_paged(client: Client) -> None:
    parent = await client.create_run()
    for rank in (2, 1, 3, None):
        params = [] if rank is None else [{"key": "rank", "value": rank}]
        await client.create_run(parentId=parent, name=f"rank {rank}", params=params)
    await client.create_run(name="elsewhere", params=[{"key": "rank", "value": 0}])

    first = await children(client, parent, first=2)
    second = await children(client, parent, first=2, after=first["pageInfo"]["endCursor"])

    assert [node["name"] for page in (first, second) for node in page["nodes"]] == ["rank 3", "rank 2", "rank 1"]
    assert (first["totalCount"], second["pageInfo"]["hasNextPage"]) == (3, False)


async def children(client: Client, parent: str, **page: Any) -> dict[str, Any]:
    """A page of its children that have a rank, the greatest first."""
    found: dict[str, Any] = (await client.ask(CHILDREN, id=parent, **page))["run"]["children"]
    return found


async def test_a_tree_ends_below_32_levels(client: Client) -> None:
    run_ids = await chain(client, 33)
    assert len((await tree(client, run_ids[-1]))["ancestors"]) == 32

    given = {"id": new_id(), "project": client.project, "experiment": "test", "parentId": run_ids[-1]}
    answer = (await client.ask(CREATE_RUN, input=given))["createRun"]

    assert answer["code"] == "VALIDATION"
    assert answer["message"].endswith("would have 33 runs above it; there may be 32")
    assert (await client.ask(TREE, id=given["id"]))["run"] is None


async def test_a_parent_is_a_run_of_the_same_project(client: Client, stranger: Client) -> None:
    theirs = await stranger.create_run()
    for parent in (theirs, new_id()):
        given = {"id": new_id(), "project": client.project, "experiment": "test", "parentId": parent}
        answer = (await client.ask(CREATE_RUN, input=given))["createRun"]
        assert answer["__typename"] == "NotFound"


async def test_a_run_is_not_above_itself(client: Client) -> None:
    for id in (await client.create_run(), new_id()):
        given = {"id": id, "project": client.project, "experiment": "test", "parentId": id}
        answer = (await client.ask(CREATE_RUN, input=given))["createRun"]
        assert (answer["code"], answer["path"]) == ("VALIDATION", "input.parentId")


INSERT = """
    insert into run (id, project_id, experiment_id, parent_id, name, created_by, request_sha256)
    select given.id, project_id, experiment_id, given.parent_id, name, created_by, request_sha256
    from run, unnest($2::uuid[], $3::uuid[]) as given (id, parent_id)
    where run.id = $1
"""


async def test_nobody_can_make_a_circle(client: Client, stranger: Client, pool: Pool) -> None:
    model, theirs = UUID(await client.create_run()), UUID(await stranger.create_run())
    one, two = ids.new(), ids.new()

    for given, parents in (([one], [one]), ([one, two], [two, one]), ([one], [theirs])):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await pool.execute(INSERT, model, given, parents)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("update run set ancestor_ids = array[$2::uuid], parent_id = $2 where id = $1", model, theirs)


async def test_a_group_is_part_of_what_is_asked(client: Client) -> None:
    given = {"id": new_id(), "project": client.project, "experiment": "test", "group": "seeds of 7"}

    first, again, other = [
        (await client.ask(CREATE_RUN, input=asked))["createRun"]
        for asked in (given, given, {**given, "group": "folds"})
    ]

    assert (first["created"], again["created"], other["__typename"]) == (True, False, "Conflict")
    assert (await tree(client, given["id"]))["group"] == "seeds of 7"
