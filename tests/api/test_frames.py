"""Runs as columns, and runs in groups with their statistics."""

import math
import re
import statistics
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from graphql import build_schema, parse, validate

from db import chunks
from db.pool import Pool
from db.quantiles import two_sided
from tests.api.test_compare import by, compare, log
from tests.conftest import Client, new_id

ROOT = Path(__file__).parents[2]
FRAME = """
    query ($select: RunSelection, $columns: [RunColumn!]!, $orderBy: [RunOrder!], $first: Int = 1000, $after: Cursor) {
      runFrame(select: $select, columns: $columns, orderBy: $orderBy, first: $first, after: $after) {
        ids totalCount
        pageInfo { hasNextPage hasPreviousPage endCursor }
        columns { area key stat numeric differs cells }
        runs { name }
      }
    }
"""
GROUPS = """
    query ($select: RunSelection, $by: [RunColumn!], $allParamsBut: [String!], $metrics: [MetricColumn!],
        $first: Int = 200, $after: Cursor) {
      groupRuns(
        select: $select, by: $by, allParamsBut: $allParamsBut, metrics: $metrics, first: $first, after: $after
      ) {
        totalCount runCount runCounts runIds
        pageInfo { hasNextPage endCursor }
        keys { area key cells }
        columns { key stat count nonFinite mean standardDeviation confidenceLow confidenceHigh min max }
        groups {
          values { area key type value }
          runCount runIds
          metrics {
            key stat count nonFinite mean standardDeviation confidenceLow confidenceHigh min max
          }
        }
      }
    }
"""
GOAL = """
    mutation ($input: SetMetricGoalInput!) {
      setMetricGoal(input: $input) { __typename ... on UserError { code message } }
    }
"""


def column(area: str, key: str, **more: Any) -> dict[str, Any]:
    return {"area": area, "key": key, **more}


async def frame(client: Client, columns: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client.ask(FRAME, columns=columns, **more))["runFrame"]
    return found


async def groups(client: Client, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client.ask(GROUPS, **asked))["groupRuns"]
    return found


async def test_runs_are_columns_in_the_order_asked(client: Client) -> None:
    first = await client.create_run(
        name="first",
        params=[
            {"key": "lr", "value": 0.1},
            {"key": "same", "value": "x"},
            {"key": "odd", "type": "FLOAT", "value": "NaN"},
        ],
        tags=[{"key": "team", "value": "a"}],
        source={"commit": "abc", "dirty": True},
    )
    second = await client.create_run(
        name="second", params=[{"key": "lr", "value": 1}, {"key": "same", "value": "x"}, {"key": "odd", "value": [1]}]
    )
    await log(client, first, loss=[0.5, 0.2, 0.4])
    await log(client, second, loss=[3.0, "Infinity"])
    await client.ask(GOAL, input={"projectName": client.project, "key": "loss", "goal": "MINIMIZE"})
    stats = ["LAST", "FIRST", "MIN", "MAX", "BEST", "COUNT"]
    asked = [
        *(column("PARAM", key) for key in ("lr", "same", "odd", "none")),
        *(column("METRIC", "loss", stat=stat) for stat in stats),
        column("TAG", "team"),
        column("SOURCE", "commit"),
        column("SOURCE", "dirty"),
        *(column("ATTRIBUTE", key) for key in ("name", "status", "experiment", "user", "durationSeconds", "createdAt")),
    ]

    found = await frame(client, asked, select={"runIds": [first, second]})

    order = [found["ids"].index(run_id) for run_id in (first, second)]
    assert order == [1, 0], "the newest first"
    cells = {(one["key"], one["stat"]): [one["cells"][place] for place in order] for one in found["columns"]}
    assert [cells[key, None] for key in ("lr", "same", "odd", "none")] == [
        [0.1, 1],
        ["x"] * 2,
        ["NaN", [1]],
        [None] * 2,
    ]
    assert [cells["loss", stat] for stat in stats] == [
        [0.4, "Infinity"], [0.5, 3.0], [0.2, 3.0], [0.5, 3.0], [0.2, 3.0], [3, 2]
    ]  # fmt: skip
    assert [cells[key, None] for key in ("team", "commit", "dirty")] == [["a", None], ["abc", None], ["true", None]]
    assert cells["name", None] == ["first", "second"]
    assert cells["experiment", None] == ["test", "test"]
    assert cells["durationSeconds", None] == [None, None]
    assert cells["createdAt", None][0].endswith("Z")
    shown = {one["key"]: (one["numeric"], one["differs"]) for one in found["columns"]}
    assert (shown["lr"], shown["same"], shown["odd"], shown["none"]) == (
        (True, True), (False, False), (False, True), (False, False)
    )  # fmt: skip
    assert found["totalCount"] == 2


NESTED = """
    query ($select: RunSelection!) {
      runs(select: $select) { nodes { id params { nodes { key type value attempt } } } }
    }
"""


async def test_few_params_of_runs_with_many_are_told_as_those_of_runs_with_few(client: Client) -> None:
    many = [{"key": f"param-{number:02}", "value": number} for number in range(20)]
    run_ids = [await client.create_run(params=params) for params in (many, many[:3], many[5:], [])]

    found = await frame(
        client, [column("PARAM", key) for key in ("param-02", "param-05", "none")], select={"runIds": run_ids}
    )

    cells = {one["key"]: dict(zip(found["ids"], one["cells"], strict=True)) for one in found["columns"]}
    assert cells == {
        "param-02": dict(zip(run_ids, [2, 2, None, None], strict=True)),
        "param-05": dict(zip(run_ids, [5, None, 5, None], strict=True)),
        "none": dict.fromkeys(run_ids),
    }


async def test_every_value_stays_with_its_run_and_key(client: Client) -> None:
    """Values that are empty or hold what separates others, keys that few have, runs that have none."""
    values: list[dict[str, Any]] = [
        {"a": "", "b": "one\ntwo", "c": 1},
        {},
        {"b": "\x01", "é": "ü\u2028"},
        {"a": "\n", "b": "", "c": "1"},
        {"c": None, "d": [1, {"x": ""}]},
        {"a": "", "b": "two\n", "c": 3},
    ]
    run_ids = [
        await client.create_run(
            params=[{"key": key, "value": value} for key, value in of_run.items()],
            tags=[{"key": key, "value": value} for key, value in of_run.items() if isinstance(value, str)],
        )
        for of_run in values
    ]
    keys = ["a", "b", "c", "d", "é"]

    asked = [column("PARAM", key) for key in keys] + [column("TAG", key) for key in keys]
    found = await frame(client, asked, select={"runIds": run_ids})
    for shown in found["columns"]:
        expected = dict(zip(run_ids, (of_run.get(shown["key"]) for of_run in values), strict=True))
        if shown["area"] == "TAG":
            expected = {run_id: value if isinstance(value, str) else None for run_id, value in expected.items()}
        assert dict(zip(found["ids"], shown["cells"], strict=True)) == expected

    for params in (
        by((await compare(client, *run_ids))["params"]),
        by((await compare(client, *run_ids[:1]))["params"]),
    ):
        for key, shown in params.items():
            expected_values = [of_run.get(key) for of_run in values]
            assert shown["values"] == expected_values[: len(shown["values"])]

    nodes = (await client.ask(NESTED, select={"runIds": run_ids}))["runs"]["nodes"]
    answered = {
        node["id"]: [(one["key"], one["value"], one["attempt"]) for one in node["params"]["nodes"]] for node in nodes
    }
    assert answered == {
        run_id: [(key, of_run[key], 1) for key in sorted(of_run)]
        for run_id, of_run in zip(run_ids, values, strict=True)
    }


async def test_long_texts_stay_with_their_runs(client: Client) -> None:
    values = ["x" * 500, "", "é" * 30_000 + "\n", None, {"a": ["y" * 300]}]
    run_ids = [await client.create_run(params=[{"key": "text", "value": value}]) for value in values]
    run_ids.append(await client.create_run())

    found = await frame(client, [column("PARAM", "text")], select={"runIds": run_ids})

    [shown] = found["columns"]
    assert dict(zip(found["ids"], shown["cells"], strict=True)) == dict(zip(run_ids, [*values, None], strict=True))


async def test_metrics_are_told_the_same_however_they_are_stored(client: Client, pool: Pool) -> None:
    """Runs of one keyset and of two that overlap, of which none, some or all is compacted, and one without metrics."""
    given: list[list[dict[str, list[float]]]] = [
        [{"a": [3.0, 1.0, 2.0], "b": [0.0, 0.0, 0.0]}],
        [{"a": [5.0, 4.0]}, {"a": [9.0, 7.0, 8.0], "c": [1.0, 1.0, 1.0]}],
        [{"b": [6.0]}, {"b": [6.0, -1.0]}],
        [],
    ]
    run_ids = [await client.create_run() for _ in given]
    wide = [column("METRIC", key, stat=stat) for key in "abc" for stat in ("LAST", "FIRST", "MIN", "MAX", "COUNT")]
    narrow = [column("METRIC", "a", stat="MIN"), column("METRIC", "c")]

    async def shown(asked: list[dict[str, Any]]) -> dict[tuple[str, str], list[Any]]:
        found = await frame(client, asked, select={"runIds": run_ids})
        places = [found["ids"].index(run_id) for run_id in run_ids]
        return {(one["key"], one["stat"]): [one["cells"][place] for place in places] for one in found["columns"]}

    for of_run, run_id in zip(given, run_ids, strict=True):
        for points in of_run[:1]:
            await log(client, run_id, **points)
    while await chunks.compact(pool, [UUID(run_ids[2])]):
        pass
    for of_run, run_id in zip(given, run_ids, strict=True):
        for points in of_run[1:]:
            await log(client, run_id, **points)
    before, narrow_before = await shown(wide), await shown(narrow)
    while await chunks.compact(pool, [UUID(run_id) for run_id in run_ids]):
        pass

    assert before == await shown(wide)
    assert narrow_before == {key: before[key] for key in narrow_before} == await shown(narrow)
    assert before["a", "LAST"] == [2.0, 8.0, None, None]
    assert before["a", "MIN"] == [1.0, 4.0, None, None]
    assert before["a", "COUNT"] == [3, 5, None, None]
    assert before["b", "MAX"] == [0.0, None, 6.0, None]
    assert before["b", "LAST"] == [0.0, None, -1.0, None]
    assert before["c", "FIRST"] == [None, 1.0, None, None]


async def test_frames_are_paged_and_ordered(client: Client) -> None:
    ids = [await client.create_run(params=[{"key": "n", "value": number % 3}]) for number in range(5)]
    asked = {"select": {"runIds": ids}, "orderBy": [{"area": "PARAM", "key": "n", "descending": True}], "first": 2}
    values, seen, after = [], [], None
    for _ in range(3):
        found = await frame(client, [column("PARAM", "n")], **asked, after=after)
        values += found["columns"][0]["cells"]
        seen += found["ids"]
        after = found["pageInfo"]["endCursor"]
    assert (values, sorted(seen), found["pageInfo"]["hasNextPage"]) == ([2, 1, 1, 0, 0], sorted(ids), False)
    other = await client.refused(FRAME, columns=[], select={"runIds": ids[1:]}, after=after)
    assert (other["extensions"]["code"], other["extensions"]["path"]) == ("VALIDATION", "after")


async def test_frames_and_groups_are_bounded(client: Client, stranger: Client) -> None:
    foreign = await stranger.create_run()
    for document, asked, path in (
        (FRAME, {"columns": [], "first": 1_001}, "first"),
        (FRAME, {"columns": [column("PARAM", str(number)) for number in range(501)]}, "columns"),
        (FRAME, {"columns": [column("ATTRIBUTE", "colour")]}, "columns[0].key"),
        (FRAME, {"columns": [column("DATASET", "name")]}, "columns[0]"),
        (GROUPS, {"first": 0}, "first"),
        (GROUPS, {"metrics": [{"key": str(number)} for number in range(101)]}, "metrics"),
    ):
        error = await client.refused(document, **asked)
        assert (error["extensions"]["code"], error["extensions"].get("path")) == ("VALIDATION", path), error
    for other in (foreign, new_id()):
        found = await frame(client, [column("ATTRIBUTE", "name")], select={"runIds": [other]})
        assert (found["ids"], found["columns"][0]["cells"], found["totalCount"]) == ([], [], 0)


async def test_groups_have_the_statistics_of_their_runs(client: Client) -> None:
    losses: dict[str, list[Any]] = {"adam": [0.1, 0.2, 0.6], "sgd": [1.0], "none": ["NaN", "Infinity"]}
    made: dict[str, list[str]] = {}
    for optimizer, values in losses.items():
        for seed, value in enumerate(values):
            params = [{"key": "seed", "value": seed}, {"key": "opt", "value": optimizer}]
            run_id = await client.create_run(params=params)
            made.setdefault(optimizer, []).append(run_id)
            await log(client, run_id, loss=[2.0, value])
    metrics = [{"key": "loss"}, {"key": "loss", "stat": "COUNT"}, {"key": "nothing"}]
    asked = {"select": {"runIds": [run_id for of_one in made.values() for run_id in of_one]}, "metrics": metrics}

    found = await groups(client, **asked, by=[column("PARAM", "opt")])

    assert (await groups(client, **asked, allParamsBut=["seed"]))["groups"] == found["groups"]
    assert (found["totalCount"], found["runCount"], found["runCounts"]) == (3, 6, [3, 2, 1])
    assert found["keys"] == [{"area": "PARAM", "key": "opt", "cells": ["adam", "none", "sgd"]}]
    adam, none, sgd = (dict(one, of=one["metrics"][0]) for one in found["groups"])
    assert adam["values"] == [{"area": "PARAM", "key": "opt", "type": "STRING", "value": "adam"}]
    assert sorted(adam["runIds"]) == sorted(made["adam"])
    assert (adam["of"]["count"], adam["of"]["min"], adam["of"]["max"]) == (3, 0.1, 0.6)
    assert adam["of"]["mean"] == pytest.approx(0.3)
    assert adam["of"]["standardDeviation"] == pytest.approx(statistics.stdev([0.1, 0.2, 0.6]))
    margin = 4.302652729749464 * math.sqrt(0.07) / math.sqrt(3)  # t of two degrees of freedom; the variance is 0.07
    assert adam["of"]["confidenceLow"] == pytest.approx(0.3 - margin)
    assert adam["of"]["confidenceHigh"] == pytest.approx(0.3 + margin)
    assert (sgd["of"]["mean"], sgd["of"]["standardDeviation"], sgd["of"]["confidenceLow"]) == (1.0, None, None)
    assert (none["of"]["count"], none["of"]["nonFinite"], none["of"]["mean"], none["of"]["min"]) == (0, 2, None, None)
    for name, cells in found["columns"][0].items():
        if name not in {"key", "stat"}:
            assert cells == [one["of"][name] for one in (adam, none, sgd)], name
    assert found["columns"][1]["mean"] == [2.0, 2.0, 2.0]
    assert found["columns"][2]["count"] == [0, 0, 0]

    pages, after = [], None
    for _ in range(3):
        page = await groups(client, **asked, by=[column("PARAM", "opt")], first=1, after=after)
        pages += page["groups"]
        after = page["pageInfo"]["endCursor"]
    assert pages == found["groups"]


async def test_a_page_tells_what_differs_in_the_whole_selection(client: Client) -> None:
    for lr in (0.1, 0.1, 0.2):
        await client.create_run(params=[{"key": "lr", "value": lr}, {"key": "model", "value": "unet"}])
    document = """
        query ($columns: [RunColumn!]!) {
          runFrame(columns: $columns, first: 1) { columns { key differs differsInSelection } }
        }
    """
    asked = [column("PARAM", key) for key in ("lr", "model", "none")]

    found = (await client.ask(document, columns=asked))["runFrame"]["columns"]

    assert [each["differs"] for each in found] == [False, False, False]
    assert {each["key"]: each["differsInSelection"] for each in found} == {"lr": True, "model": False, "none": False}


async def test_groups_are_in_the_order_of_their_values(client: Client) -> None:
    values = [10, 9.5, "9", None, {"type": "FLOAT", "value": "NaN"}, [1], 10]
    ids = []
    for value in values:
        given = value if isinstance(value, dict) else {"value": value}
        ids.append(await client.create_run(params=[{"key": "x", **given}]))
    ids.append(await client.create_run())
    found = await groups(client, select={"runIds": ids}, by=[column("PARAM", "x")])
    assert found["keys"][0]["cells"] == [9.5, 10, "NaN", "9", [1], None, None]
    assert found["runCounts"] == [1, 2, 1, 1, 1, 1, 1], "a param that is null is not one that is missing"
    everything = await groups(client, select={"runIds": ids})
    assert (everything["totalCount"], everything["runCounts"]) == (1, [8])
    nothing = await groups(client, select={"runIds": []}, by=[column("PARAM", "x")], metrics=[{"key": "loss"}])
    assert (nothing["totalCount"], nothing["groups"], nothing["columns"][0]["mean"]) == (0, [], [])


@pytest.mark.parametrize(
    ("freedom", "expected"),  # of the tables: two-sided, 95 %
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423), (100, 1.9840), (1_000, 1.9623)],
)
def test_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert two_sided(freedom) == pytest.approx(expected, abs=5e-5)


def test_quantiles_of_few_degrees_are_exact() -> None:
    assert two_sided(1) == pytest.approx(math.tan(0.95 * math.pi / 2), rel=1e-14)
    assert two_sided(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-14)


def test_queries_of_the_docs_are_valid() -> None:
    written = (ROOT / "docs" / "comparing.md").read_text()
    queries = re.findall(r"```graphql\n(.*?)```", written, re.DOTALL)
    schema = build_schema((ROOT / "schema.graphql").read_text())
    assert len(queries) == 4
    assert [error.message for query in queries for error in validate(schema, parse(query))] == []
