"""Runs side by side: what they share, where they differ, what was the result."""

import hashlib
import math
from typing import Any

import httpx
import pytest

from tests.api.test_runs import FINISH
from tests.conftest import Client, new_id

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


async def test_comparison_is_bounded_and_names_what_is_missing(client: Client, stranger: Client) -> None:
    run_id, foreign = await client.create_run(), await stranger.create_run()
    many = await client.refused(COMPARE, select={"runIds": [new_id() for _ in range(1_001)]})
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
