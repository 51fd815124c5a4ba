"""Runs side by side: what they share, where they differ, what was the result."""

import hashlib
import math
from typing import Any

import httpx
import pytest

from db import access, comparisons, ids, runs
from db.access import Role
from db.errors import Invalid
from db.params import Given, checked
from db.pool import Pool
from tests.api.test_runs import FINISH
from tests.conftest import Client, People, new_id

COMPARE = """
    query ($select: RunSelection!, $baselineId: ID, $only: Boolean = false) {
      compareRuns(select: $select, baselineId: $baselineId) {
        runIds baselineId totalKeys differingKeys
        runs { name status experiment { name } }
        params(onlyDifferences: $only) { key differs values types }
        tags(onlyDifferences: $only) { key differs values }
        source(onlyDifferences: $only) { key differs values }
        environment(onlyDifferences: $only) { key differs values }
        inputs(onlyDifferences: $only) { key differs values }
        metrics(onlyDifferences: $only) {
          key differs last min max count delta relativeDelta highestRunId lowestRunId
        }
        artifacts(onlyDifferences: $only) { path differs digests artifacts { state download { url } } }
      }
    }
"""
WITHOUT_FILES = COMPARE.replace("artifacts { state download { url } }", "")  # a thousand times too much to ask for
BEST = """
    query ($select: RunSelection!) {
      compareRuns(select: $select) {
        metrics { key goal last best bestRunId bestLastRunId better }
      }
    }
"""
SET_GOAL = """
    mutation ($input: SetMetricGoalInput!) {
      setMetricGoal(input: $input) {
        __typename
        ... on SetMetricGoalPayload {
          project {
            metricGoals { key goal changedBy { name } }
            metricGoalHistory(key: "loss") { before after changedBy { name } }
          }
        }
        ... on UserError { code message }
      }
    }
"""
PACKAGES = """
    query ($select: RunSelection!, $baselineId: ID) {
      compareRuns(select: $select, baselineId: $baselineId) {
        packages(onlyDifferences: true) { name versions changes }
        numpy: environment(prefix: "package numpy") { key values }
        patches { path download { url } }
      }
    }
"""
LOG = """
    mutation ($input: LogMetricsInput!) {
      logMetrics(input: $input) { __typename ... on UserError { code message path limit } }
    }
"""
CREATE_UPLOADS = """
    mutation ($input: CreateUploadsInput!) {
      createUploads(input: $input) {
        ... on CreateUploadsPayload {
          uploads { id requests { method url headers { name value } } artifact { state } }
        }
      }
    }
"""
COMPLETE = """
    mutation ($input: CompleteUploadsInput!) { completeUploads(input: $input) { __typename } }
"""


async def log(client: Client, run_id: str, **points: Any) -> None:
    given = [
        {"key": key, "step": step, "value": value}
        for key, values in points.items()
        for step, value in enumerate(values)
    ]
    answer = (await client.ask(LOG, input={"runId": run_id, "points": given}))["logMetrics"]
    assert answer["__typename"] == "LogMetricsPayload", answer


async def upload(client: Client, run_id: str, path: str, content: bytes) -> None:
    file = {"path": path, "sizeBytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    [made] = (await client.ask(CREATE_UPLOADS, input={"runId": run_id, "files": [file]}))["createUploads"]["uploads"]
    if made["id"] is None:
        return
    [request] = made["requests"]
    headers = {header["name"]: header["value"] for header in request["headers"]}
    async with httpx.AsyncClient() as http:
        sent = await http.request(request["method"], request["url"], headers=headers, content=content)
    assert sent.status_code in {200, 412}, sent.text
    await client.ask(COMPLETE, input={"uploads": [{"uploadId": made["id"]}]})


async def compare(client: Client, *run_ids: str, **more: Any) -> dict[str, Any]:
    data = await client.ask(COMPARE, select={"runIds": run_ids}, **more)
    compared: dict[str, Any] = data["compareRuns"]
    return compared


def by(compared: list[dict[str, Any]], name: str = "key") -> dict[str, dict[str, Any]]:
    return {row[name]: row for row in compared}


async def test_two_runs_side_by_side(client: Client) -> None:
    alice = await client.create_run(
        name="alice",
        params=[{"key": "solver", "value": "liblinear"}, {"key": "C", "value": 0.1}, {"key": "only", "value": None}],
        tags=[{"key": "team", "value": "a"}],
        source={"commit": "abc", "dirty": False},
        environment={"python": "3.11.7", "packages": [{"name": "numpy", "version": "2.1"}]},
    )
    bob = await client.create_run(
        name="bob",
        experiment="other",
        params=[{"key": "solver", "value": "liblinear"}, {"key": "C", "value": 0.5}],
        tags=[{"key": "team", "value": "a"}],
        source={"commit": "abc", "dirty": True},
        environment={"python": "3.11.7", "packages": [{"name": "numpy", "version": "2.2"}]},
    )
    await log(client, alice, accuracy=[0.5, 0.8], loss=["NaN", 0.4])
    await log(client, bob, accuracy=[0.6, 0.9])
    await upload(client, alice, "model/model.bin", b"alice's")
    await upload(client, bob, "model/model.bin", b"bob's")
    await upload(client, alice, "model/README", b"the same")
    await upload(client, bob, "model/README", b"the same")
    for run_id in (alice, bob):
        await client.ask(FINISH, input={"runId": run_id, "waitSeconds": 30})

    compared = await compare(client, bob, alice)

    assert compared["runIds"] == [bob, alice]
    assert [run["experiment"]["name"] for run in compared["runs"]] == ["other", "test"]
    params = by(compared["params"])
    assert params["solver"]["differs"] is False
    assert (params["C"]["differs"], params["C"]["values"]) == (True, [0.5, 0.1])
    assert (params["only"]["differs"], params["only"]["types"]) == (True, [None, "NULL"])
    assert by(compared["source"])["commit"]["differs"] is False
    assert by(compared["source"])["dirty"]["values"] == ["true", "false"]
    assert by(compared["environment"])["package numpy"]["values"] == ["2.2", "2.1"]
    accuracy = by(compared["metrics"])["accuracy"]
    assert (accuracy["last"], accuracy["min"], accuracy["max"]) == ([0.9, 0.8], [0.6, 0.5], [0.9, 0.8])
    assert accuracy["delta"] == [0.0, pytest.approx(-0.1)]
    assert accuracy["relativeDelta"][1] == pytest.approx(-0.1 / 0.9)
    assert (accuracy["highestRunId"], accuracy["lowestRunId"]) == (bob, alice)
    loss = by(compared["metrics"])["loss"]
    assert (loss["last"], loss["count"], loss["delta"]) == ([None, 0.4], [None, 2], [None, None])
    files = by(compared["artifacts"], "path")
    assert (files["model/README"]["differs"], files["model/model.bin"]["differs"]) == (False, True)
    downloaded = []
    for artifact in files["model/model.bin"]["artifacts"]:
        async with httpx.AsyncClient() as http:
            response = await http.get(artifact["download"]["url"])
        assert response.headers["content-disposition"].startswith("attachment")
        downloaded.append(response.content)
    assert downloaded == [b"bob's", b"alice's"]

    only = await compare(client, bob, alice, only=True, baselineId=alice)
    assert only["baselineId"] == alice
    assert set(by(only["params"])) == {"C", "only"}
    assert set(by(only["artifacts"], "path")) == {"model/model.bin"}
    assert by(only["metrics"])["accuracy"]["delta"] == [pytest.approx(0.1), 0.0]
    kinds = ("params", "tags", "source", "environment", "inputs", "metrics", "artifacts")
    assert compared["totalKeys"] == sum(len(compared[kind]) for kind in kinds)
    assert compared["differingKeys"] == sum(len(only[kind]) for kind in kinds)


async def test_metrics_that_are_not_finite_are_compared(client: Client) -> None:
    first, second = await client.create_run(), await client.create_run()
    await log(client, first, x=["NaN"], y=["Infinity"], z=[0.0])
    await log(client, second, x=["NaN"], y=["-Infinity"], z=[1.0])
    metrics = by((await compare(client, first, second))["metrics"])
    assert (metrics["x"]["differs"], metrics["x"]["highestRunId"]) == (False, None)
    assert (metrics["y"]["last"], metrics["y"]["lowestRunId"]) == (["Infinity", "-Infinity"], second)
    assert metrics["y"]["delta"] == ["NaN", "-Infinity"]
    assert metrics["z"]["relativeDelta"] == [None, None]
    assert math.isclose(metrics["z"]["delta"][1], 1.0)


async def test_metric_of_several_keysets_is_one(client: Client) -> None:
    """Steps that log other keys beside it, and nothing that has to be in order."""
    first, second = await client.create_run(), await client.create_run()
    points = [("a", 5, 2.0), ("b", 5, 0.0), ("a", 1, 7.0), ("b", 1, 0.0)]
    for given in (points, [("a", 3, 1.0)], [("a", 4, "NaN"), ("c", 4, 1.0)]):
        sent = [{"key": key, "step": step, "value": value} for key, step, value in given]
        await client.ask(LOG, input={"runId": first, "points": sent})
    await log(client, second, c=[1.0])
    for _ in range(2):  # as it was logged, and perhaps compacted
        metrics = by((await compare(client, first, second))["metrics"])
        a = metrics["a"]
        assert (a["last"], a["min"], a["max"], a["count"]) == ([2.0, None], [1.0, None], [7.0, None], [4, None])
        assert (metrics["c"]["differs"], metrics["b"]["count"]) == (False, [2, None])
        await client.ask(FINISH, input={"runId": first})


async def set_goal(client: Client, key: str, goal: str | None) -> dict[str, Any]:
    asked = {"projectName": client.project, "key": key, "goal": goal}
    answer: dict[str, Any] = (await client.ask(SET_GOAL, input=asked))["setMetricGoal"]
    return answer


async def test_declared_goals_say_what_is_better(client: Client, people: People) -> None:
    first, second, third = [await client.create_run() for _ in range(3)]
    await log(client, first, loss=[0.5, 0.3], accuracy=[0.7, 0.6], guess=[1.0])
    await log(client, second, loss=[0.1, 0.4], accuracy=[0.6, 0.8], guess=[2.0])
    await log(client, third, loss=[0.3, "NaN"], accuracy=["Infinity"])
    await set_goal(client, "loss", "MINIMIZE")
    answer = await set_goal(client, "accuracy", "MAXIMIZE")
    assert {(one["key"], one["goal"]) for one in answer["project"]["metricGoals"]} == {
        ("loss", "MINIMIZE"),
        ("accuracy", "MAXIMIZE"),
    }

    metrics = by((await client.ask(BEST, select={"runIds": [first, second, third]}))["compareRuns"]["metrics"])

    loss, accuracy, guess = metrics["loss"], metrics["accuracy"], metrics["guess"]
    assert (loss["best"], loss["bestRunId"], loss["bestLastRunId"]) == ([0.3, 0.1, 0.3], second, first)
    assert loss["better"] == [None, False, None]
    assert (accuracy["best"], accuracy["bestRunId"], accuracy["bestLastRunId"]) == ([0.7, 0.8, None], second, third)
    assert accuracy["better"] == [None, True, True]
    assert [guess[name] for name in ("goal", "best", "bestRunId", "bestLastRunId", "better")] == [None] * 5

    assert (await set_goal(client, "loss", "MINIMIZE"))["project"]["metricGoalHistory"][0]["before"] is None
    changes = (await set_goal(client, "loss", None))["project"]["metricGoalHistory"]
    assert [(each["before"], each["after"]) for each in changes] == [("MINIMIZE", None), (None, "MINIMIZE")]
    viewer = await people.member(client.project, Role.VIEWER)
    assert (await set_goal(viewer, "loss", "MAXIMIZE"))["__typename"] == "Forbidden"
    assert (await set_goal(client, "", "MAXIMIZE"))["__typename"] == "Invalid"


async def test_runs_of_several_projects_are_compared_as_far_as_they_are_seen(
    client: Client, stranger: Client, people: People, pool: Pool
) -> None:
    mine, theirs, hidden = await client.create_run(), await stranger.create_run(), await stranger.create_run()
    for owner, run_id in ((client, mine), (stranger, theirs)):
        await log(owner, run_id, loss=[1.0], both=[1.0])
        await set_goal(owner, "both", "MINIMIZE")
    await set_goal(client, "loss", "MINIMIZE")
    guest = await people.member(client.project, Role.VIEWER)
    guest.project = stranger.project
    await people.promote(guest, Role.VIEWER)
    metrics = by((await client.ask(BEST, select={"runIds": [mine]}))["compareRuns"]["metrics"])
    assert metrics["loss"]["goal"] == "MINIMIZE"
    metrics = by((await guest.ask(BEST, select={"runIds": [mine, theirs]}))["compareRuns"]["metrics"])
    assert (metrics["loss"]["goal"], metrics["both"]["goal"]) == (None, "MINIMIZE")
    await people.promote(guest, Role.LOGGER)
    for run_id in (theirs, hidden, new_id()):
        error = await guest.refused(BEST, select={"runIds": [mine, run_id]})
        assert error["message"] == f"there is no run {run_id} in the selection"
    guest.project = client.project


async def test_packages_and_patches_are_told_apart(client: Client) -> None:
    patch = b"--- a\n+++ b\n"
    digest = "sha256:" + hashlib.sha256(patch).hexdigest()
    versions: list[dict[str, str]] = [{"numpy": "2.1", "torch": "2.9", "old": "1"}, {"numpy": "2.2", "torch": "2.9"}]
    ids_made = [
        await client.create_run(
            environment={"packages": [{"name": name, "version": each[name]} for name in each]},
            source={"commit": "abc", "patchDigest": digest} if number == 0 else {"commit": "abc"},
        )
        for number, each in enumerate([*versions, {"new": "3"}])
    ]
    await upload(client, ids_made[0], "source/changes.patch", patch)
    await upload(client, ids_made[1], "source/changes.patch", b"not of its source")
    for run_id in ids_made[:2]:
        await client.ask(FINISH, input={"runId": run_id, "waitSeconds": 30})

    compared = (await client.ask(PACKAGES, select={"runIds": ids_made}))["compareRuns"]

    assert compared["packages"] == [
        {"name": "new", "versions": [None, None, "3"], "changes": [None, None, "ADDED"]},
        {"name": "numpy", "versions": ["2.1", "2.2", None], "changes": [None, "CHANGED", "REMOVED"]},
        {"name": "old", "versions": ["1", None, None], "changes": [None, "REMOVED", "REMOVED"]},
        {"name": "torch", "versions": ["2.9", "2.9", None], "changes": [None, None, "REMOVED"]},
    ]
    assert compared["numpy"] == [{"key": "package numpy", "values": ["2.1", "2.2", None]}]
    of_second = (await client.ask(PACKAGES, select={"runIds": ids_made}, baselineId=ids_made[1]))["compareRuns"]
    assert by(of_second["packages"], "name")["old"]["changes"] == ["ADDED", None, None]
    [first, *others] = compared["patches"]
    assert (first["path"], others) == ("source/changes.patch", [None, None])
    async with httpx.AsyncClient() as http:
        assert (await http.get(first["download"]["url"])).content == patch


async def test_a_thousand_runs_are_compared(client: Client, pool: Pool) -> None:
    project_id = await pool.fetchval("select id from project where name = $1", client.project)
    experiment = await client.create_run()
    account_id = await pool.fetchval("select created_by from run where id = $1", ids.parse(experiment, "id"))
    beginnings = []
    for number in range(1_000):
        given = [Given("n", number), Given("mixed", [str(number), number][number % 2]), Given("same", 0.5)]
        start = runs.Start(
            id=ids.new(), project=client.project, experiment="test", name=str(number), parent_id=None, started_at=None,
            params=checked(given[: 3 if number else 2]), tags={"even": str(number % 2)}, source=None, environment=None,
        )  # fmt: skip
        beginnings.append(runs.Beginning(start, project_id, account_id))
    async with pool.acquire() as conn, conn.transaction():
        await runs.begin(conn, beginnings)
    asked = [str(each.asked.id) for each in beginnings]

    compared = (await client.ask(WITHOUT_FILES, select={"runIds": asked}))["compareRuns"]

    assert compared["runIds"] == asked
    assert [run["name"] for run in compared["runs"]] == [str(number) for number in range(1_000)]
    params = by(compared["params"])
    assert params["n"]["values"] == list(range(1_000))
    assert params["mixed"]["values"] == [[str(number), number][number % 2] for number in range(1_000)]
    assert params["mixed"]["types"] == ["STRING", "INT"] * 500
    assert (params["same"]["differs"], params["same"]["values"]) == (True, [None, *[0.5] * 999])
    assert by(compared["tags"])["even"]["values"] == ["0", "1"] * 500
    assert (compared["totalKeys"], compared["differingKeys"]) == (4, 4)


async def test_too_much_to_compare_is_refused(client: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    run_ids = [await client.create_run(params=[{"key": key, "value": "x" * 10} for key in "abc"]) for _ in range(2)]
    found = await access.find_token(pool, client.token.split("_")[1])
    assert found is not None
    asked = (pool, found.scope, [ids.parse(run_id, "id") for run_id in run_ids])
    for name, limit in (("CELLS_MAX", 5), ("BYTES_MAX", 59)):
        with monkeypatch.context() as patched:
            patched.setattr(comparisons, name, limit)
            with pytest.raises(Invalid, match="have") as refused:
                await comparisons.params(*asked)
            assert str(refused.value.limit).startswith(f"{limit} ")
            assert len(await comparisons.params(*asked, "a")) == 1


async def test_comparison_is_bounded_and_names_what_is_missing(client: Client, stranger: Client) -> None:
    run_id, foreign = await client.create_run(), await stranger.create_run()
    many = await client.refused(WITHOUT_FILES, select={"runIds": [new_id() for _ in range(1_001)]})
    assert (many["extensions"]["code"], many["extensions"]["limit"]) == ("VALIDATION", "1000 ids")
    answers = []
    for other in (foreign, new_id()):
        error = await client.refused(COMPARE, select={"runIds": [run_id, other]})
        assert error["extensions"]["code"] == "NOT_FOUND"
        answers.append(error["message"].replace(other, "X"))
    assert answers[0] == answers[1]
    baseline = await client.refused(COMPARE, select={"runIds": [run_id]}, baselineId=foreign)
    assert (baseline["extensions"]["code"], baseline["extensions"]["path"]) == ("VALIDATION", "baselineId")
    empty = await client.refused(COMPARE, select={"runIds": []})
    assert empty["extensions"]["code"] == "NOT_FOUND"
