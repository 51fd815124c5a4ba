"""Logging points and reading series over GraphQL: exact, once, and clear about what is refused."""

import base64
import json
import math
import struct
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from db.access import Role
from db.pool import Pool
from tests.api.test_values import BAD_NAMES, GOOD_NAMES
from tests.conftest import Client, People

START_MS = 1_700_000_000_000

LOG_METRICS = """
    mutation ($input: LogMetricsInput!) {
      logMetrics(input: $input) {
        __typename
        ... on LogMetricsPayload { runId writerId nextSeq points }
        ... on UserError { code message path limit hint retryable requestId }
        ... on SeqConflict { writerId expectedSeq }
        ... on RunSealed { status }
      }
    }
"""
SERIES = """
    query ($select: RunSelection!, $keys: [String!]!, $x: XAxis! = STEP, $attempt: Int, $fromStep: Int64,
           $toStep: Int64, $maxPoints: Int, $encoding: ColumnEncoding! = JSON) {
      series(select: $select, keys: $keys, x: $x, attempt: $attempt, fromStep: $fromStep, toStep: $toStep,
             maxPoints: $maxPoints, encoding: $encoding) {
        runId key count exact steps times x values attempts
      }
    }
"""
METRICS = """
    query ($id: ID!, $prefix: String! = "", $first: Int! = 500, $after: Cursor) {
      run(id: $id) {
        metrics(prefix: $prefix, first: $first, after: $after) {
          totalCount
          pageInfo { hasNextPage endCursor }
          nodes { key count first last lastStep min minStep max maxStep nonFinite }
        }
      }
    }
"""
FINISH = """
    mutation ($id: ID!) { finishRun(input: { runId: $id }) { __typename } }
"""


def block(seq: int = 0, **columns: Any) -> dict[str, Any]:
    """A block of one point, unless columns are given."""
    return {"seq": seq, "keys": ["loss"], "steps": [seq], "times": [START_MS + seq], "values": [seq / 2], **columns}


def packed(kind: str, numbers: Sequence[float]) -> str:
    """Base64 of little-endian numbers: q for whole ones, d for floats."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}{kind}", *numbers)).decode()


async def log(client: Client, run_id: str, *blocks: dict[str, Any], writer_id: str | None = None) -> dict[str, Any]:
    """What logMetrics answers."""
    given = {"runId": run_id, "writerId": writer_id or str(uuid4()), "blocks": blocks}
    answer: dict[str, Any] = (await client.ask(LOG_METRICS, input=given))["logMetrics"]
    return answer


async def read(client: Client, run_id: str, *keys: str, **more: Any) -> list[dict[str, Any]]:
    """The series of a run."""
    found: list[dict[str, Any]] = (await client.ask(SERIES, select={"runIds": [run_id]}, keys=keys, **more))["series"]
    return found


async def metrics(client: Client, run_id: str, **more: Any) -> dict[str, Any]:
    """The page of the run's metrics."""
    found: dict[str, Any] = (await client.ask(METRICS, id=run_id, **more))["run"]["metrics"]
    return found


async def test_columns_come_back_as_json_and_as_base64(client: Client) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    steps, times, values = [0, 2**63 - 1], [0, 253_402_300_799_999], [-0.0, 5e-324, "NaN", "-Infinity"]
    given = block(keys=["a", "b"], steps=steps, times=times, values=values)

    answer = await log(client, run_id, given, writer_id=writer_id)

    assert answer == {
        "__typename": "LogMetricsPayload", "runId": run_id, "writerId": writer_id, "nextSeq": 1, "points": 4,
    }  # fmt: skip
    [a, b] = await read(client, run_id, "a", "b")
    assert (a["runId"], a["key"], a["count"], a["exact"]) == (run_id, "a", 2, True)
    assert (a["steps"], a["times"], a["attempts"]) == (steps, times, [1, 1])
    assert [math.copysign(1, a["values"][0]), a["values"][1]] == [-1.0, 5e-324]
    assert b["values"] == ["NaN", "-Infinity"]
    [a, b] = await read(client, run_id, "a", "b", encoding="BASE64")
    assert (a["steps"], a["times"], a["attempts"]) == (packed("q", steps), packed("q", times), packed("q", [1, 1]))
    assert (a["x"], a["values"]) == (packed("d", [0, 2**63]), packed("d", [-0.0, 5e-324]))
    assert b["values"] == packed("d", [math.nan, -math.inf])


async def test_base64_keeps_every_bit(client: Client) -> None:
    run_id = await client.create_run()
    bits = np.array([0x7FF8000000000001, 0x7FF0000000000001, -1, 1, -(2**63), 0x7FEFFFFFFFFFFFFF, 2**62 + 12345], "<i8")
    column = base64.b64encode(bits.tobytes()).decode()
    count = len(bits)
    given = block(steps=packed("q", range(count)), times=packed("q", [START_MS] * count), values=column)
    assert (await log(client, run_id, given))["points"] == count
    [found] = await read(client, run_id, "loss", encoding="BASE64")
    assert found["values"] == column


async def test_literals_in_a_document_are_taken(client: Client) -> None:
    run_id = await client.create_run()
    document = f"""
        mutation {{
          logMetrics(input: {{ runId: "{run_id}", writerId: "{uuid4()}", blocks: [
            {{ seq: 0, keys: ["a", "b"], steps: [1, "2"], times: [0, 1], values: [1, 2.5e-3, "NaN", -0.0] }}
          ] }}) {{ ... on LogMetricsPayload {{ points }} }}
        }}
    """
    assert (await client.ask(document))["logMetrics"] == {"points": 4}
    [a, b] = await read(client, run_id, "a", "b")
    assert (a["steps"], a["values"], b["values"]) == ([1, 2], [1.0, 0.0025], ["NaN", -0.0])
    for column, value in (("values", "[" + "9" * 5_000 + "]"), ("steps", "[1.5]"), ("values", "[1e999]")):
        rest = {"steps": "[1]", "times": "[1]", "values": "[1]", column: value}
        fields = " ".join(f"{name}: {text}" for name, text in rest.items())
        blocks = f'{{ seq: 0, keys: ["c"], {fields} }}'
        error = await client.refused(
            f'mutation {{ logMetrics(input: {{ runId: "{run_id}", writerId: "{uuid4()}", blocks: [{blocks}] }}) '
            "{ __typename } }"
        )
        assert error["extensions"]["code"] in {"VALIDATION", "BAD_REQUEST"}


async def test_points_of_people(client: Client) -> None:
    run_id = await client.create_run()
    points = [
        {"key": "loss", "value": 0.5},
        {"key": "loss", "value": "Infinity", "step": 2, "time": "2026-01-01T00:00:00.123456Z"},
        {"key": "acc", "value": 1, "step": 7},
    ]
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, "points": points}))["logMetrics"]
    assert (answer["__typename"], answer["points"]) == ("LogMetricsPayload", 3)
    [loss, acc] = await read(client, run_id, "loss", "acc")
    assert (loss["steps"], loss["values"], acc["steps"], acc["values"]) == ([0, 2], [0.5, "Infinity"], [7], [1.0])
    assert loss["times"][1] == 1_767_225_600_123
    assert loss["times"][0] > START_MS


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("values", [1e999], "overflow"),
        ("values", ["0.1"], "number"),
        ("values", [True], "number"),
        ("values", [None], "number"),
        ("values", [[1.0]], "number"),
        ("values", [2**53 + 1], "float"),
        ("values", 1.0, "list"),
        ("values", {"a": 1}, "list"),
        ("values", "not base64!", "base64"),
        ("values", "AAAA", "bytes"),
        ("values", "é", "base64"),
        ("steps", [1.5], "whole"),
        ("steps", [2**63], "64"),
        ("steps", [True], "whole"),
        ("steps", ["x"], "whole"),
        ("steps", [None], "whole"),
        ("times", [1.0], "whole"),
        ("seq", 1.5, "whole"),
        ("seq", 2**63, "64"),
        ("keys", [None], "null"),
        ("keys", [1], "String"),
    ],
)
async def test_what_is_no_column_is_refused(client: Client, column: str, value: Any, says: str) -> None:
    run_id = await client.create_run()
    given = {"runId": run_id, "writerId": str(uuid4()), "blocks": [block(**{column: value})]}
    body = json.dumps({"query": LOG_METRICS, "variables": {"input": given}}).replace("Infinity", "1e999")
    error = (await client.post_raw(body.encode())).json()["errors"][0]
    assert error["extensions"]["code"] in {"VALIDATION", "BAD_REQUEST"}
    if error["extensions"]["code"] == "VALIDATION":
        assert says in error["message"]
        assert column in error["message"]
    assert (await metrics(client, run_id))["nodes"] == []


async def test_a_bare_nan_is_refused_with_a_hint(client: Client) -> None:
    run_id = await client.create_run()
    given = {"runId": run_id, "writerId": str(uuid4()), "blocks": [block(values=[math.nan])]}
    response = await client.post_raw(json.dumps({"query": LOG_METRICS, "variables": {"input": given}}).encode())
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("columns", "path", "limit"),
    [
        ({"steps": [-1]}, "input.blocks[0].steps[0]", f"0 to {2**63 - 1}"),
        ({"steps": packed("q", [-(2**63)])}, "input.blocks[0].steps[0]", f"0 to {2**63 - 1}"),
        ({"times": [-1]}, "input.blocks[0].times[0]", "1970 to the year 9999"),
        ({"times": [253_402_300_800_000]}, "input.blocks[0].times[0]", "1970 to the year 9999"),
        (
            {"steps": [0, -1, 2], "times": [1, 2, 3], "values": [1, 2, 3]},
            "input.blocks[0].steps[1]",
            f"0 to {2**63 - 1}",
        ),
        ({"steps": [], "times": [], "values": []}, "input.blocks[0].steps", None),
        ({"times": [1, 2]}, "input.blocks[0].times", None),
        ({"values": [1, 2]}, "input.blocks[0].values", None),
        ({"values": []}, "input.blocks[0].values", None),
        ({"keys": [], "values": []}, "input.blocks[0].keys", "1 to 10000 keys"),
        ({"keys": ["a", "a"], "values": [1, 2]}, "input.blocks[0].keys", None),
        ({"seq": -1}, "input.blocks[0].seq", f"0 to {2**63 - 2}"),
        ({"seq": 2**63 - 1, "steps": [0], "times": [0]}, "input.blocks[0].seq", f"0 to {2**63 - 2}"),
    ],
)
async def test_a_bad_block_is_refused_by_name_and_limit(
    client: Client, columns: dict[str, Any], path: str, limit: str | None
) -> None:
    run_id = await client.create_run()
    answer = await log(client, run_id, block(**columns))
    assert (answer["__typename"], answer["code"], answer["path"]) == ("Invalid", "VALIDATION", path)
    assert answer["limit"] == limit
    assert not answer["retryable"]
    assert (await metrics(client, run_id))["nodes"] == []


@pytest.mark.parametrize(("factor", "unit"), [(1_000, "microseconds"), (1_000_000, "nanoseconds")])
async def test_a_time_in_another_unit_is_named(client: Client, factor: int, unit: str) -> None:
    run_id = await client.create_run()
    answer = await log(client, run_id, block(times=[START_MS * factor]))
    assert (answer["code"], answer["path"]) == ("VALIDATION", "input.blocks[0].times[0]")
    assert unit in answer["message"]
    assert "milliseconds" in answer["hint"]


@pytest.mark.parametrize("key", BAD_NAMES.values(), ids=BAD_NAMES.keys())
async def test_a_bad_key_is_refused(client: Client, key: str) -> None:
    run_id = await client.create_run()
    answer = await log(client, run_id, block(keys=["fine", key], values=[1, 2]))
    assert (answer["code"], answer["path"]) == ("VALIDATION", "input.blocks[0].keys[1]")
    given = {"runId": run_id, "points": [{"key": "fine", "value": 1}, {"key": key, "value": 1}]}
    answer = (await client.ask(LOG_METRICS, input=given))["logMetrics"]
    assert (answer["code"], answer["path"]) == ("VALIDATION", "input.points[1].key")
    assert (await metrics(client, run_id))["nodes"] == []


async def test_unusual_keys_are_kept_exactly(client: Client) -> None:
    run_id = await client.create_run()
    await log(client, run_id, block(keys=GOOD_NAMES, values=list(range(len(GOOD_NAMES)))))
    found = await read(client, run_id, *GOOD_NAMES)
    assert [one["key"] for one in found] == GOOD_NAMES
    assert [one["values"] for one in found] == [[float(place)] for place in range(len(GOOD_NAMES))]
    assert {node["key"] for node in (await metrics(client, run_id))["nodes"]} == set(GOOD_NAMES)


@pytest.mark.parametrize(
    ("point", "path"),
    [
        ({"key": "a", "value": 1, "step": -1}, "input.points[0].step"),
        ({"key": "a", "value": 1, "time": "1969-12-31T23:59:59Z"}, "input.points[0].time"),
    ],
)
async def test_a_bad_point_is_refused_by_name(client: Client, point: dict[str, Any], path: str) -> None:
    run_id = await client.create_run()
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, "points": [point]}))["logMetrics"]
    assert (answer["code"], answer["path"]) == ("VALIDATION", path)


@pytest.mark.parametrize(
    "point",
    [
        {"key": "a", "value": None},
        {"key": "a", "value": "0.1"},
        {"key": "a", "value": True},
        {"key": "a"},
        {"key": "a", "value": 1, "step": 1.5},
        {"key": "a", "value": 1, "step": 2**63},
        {"key": "a", "value": 1, "time": "10000-01-01T00:00:00Z"},
        {"key": "a", "value": 1, "time": 17},
    ],
)
async def test_what_is_no_point_is_refused(client: Client, point: dict[str, Any]) -> None:
    run_id = await client.create_run()
    error = await client.refused(LOG_METRICS, input={"runId": run_id, "points": [point]})
    assert error["extensions"]["code"] == "VALIDATION"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"blocks": [], "points": []},
        {"writerId": "01890000-0000-7000-8000-000000000000", "points": []},
        {"blocks": [block()]},
        {"writerId": "x", "blocks": [block()]},
    ],
)
async def test_either_blocks_or_points_are_sent(client: Client, given: dict[str, Any]) -> None:
    run_id = await client.create_run()
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, **given}))["logMetrics"]
    assert (answer["__typename"], answer["path"]) in {("Invalid", "input"), ("Invalid", "input.writerId")}


async def test_an_empty_batch_is_fine(client: Client) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    answer = await log(client, run_id, writer_id=writer_id)
    assert (answer["nextSeq"], answer["points"], answer["writerId"]) == (0, 0, writer_id)
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, "points": []}))["logMetrics"]
    assert (answer["nextSeq"], answer["points"]) == (0, 0)


async def test_a_batch_has_a_bounded_number_of_points(client: Client) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())

    def given(seq: int, n: int) -> dict[str, Any]:
        return block(seq, steps=list(range(n)), times=[START_MS] * n, values=[0.5] * n)

    for blocks in ([given(0, 10_001)], [given(0, 9_999), given(1, 2)]):
        answer = await log(client, run_id, *blocks, writer_id=writer_id)
        assert (answer["code"], answer["path"], answer["limit"]) == ("VALIDATION", "input.blocks", "10000 points")
    assert (await log(client, run_id, given(0, 10_000), writer_id=writer_id))["points"] == 10_000
    points = [{"key": "p", "value": 1, "step": step} for step in range(10_001)]
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, "points": points}))["logMetrics"]
    assert (answer["code"], answer["path"], answer["limit"]) == ("VALIDATION", "input.points", "10000 points")


async def test_a_run_has_a_bounded_number_of_keys(client: Client) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    keys = [f"k{number}" for number in range(10_000)]
    answer = await log(client, run_id, block(keys=keys, values=[0.5] * 10_000), writer_id=writer_id)
    assert answer["points"] == 10_000
    answer = await log(client, run_id, block(1, keys=["one more"]), writer_id=writer_id)
    assert (answer["code"], answer["path"], answer["limit"]) == (
        "VALIDATION", "input.blocks[0].keys", "10000 keys in a run",
    )  # fmt: skip
    points = [{"key": "k0", "value": 1}, {"key": "one more", "value": 1}]
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, "points": points}))["logMetrics"]
    assert (answer["code"], answer["path"], answer["limit"]) == ("VALIDATION", "input.points", "10000 keys in a run")
    page = await metrics(client, run_id, prefix="k99")
    assert (page["totalCount"], len(page["nodes"])) == (111, 111)


async def test_a_seq_is_used_once(client: Client) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    assert (await log(client, run_id, block(0), block(1), writer_id=writer_id))["nextSeq"] == 2
    assert (await log(client, run_id, block(0), block(1), writer_id=writer_id))["nextSeq"] == 2
    for given in (block(1, values=[9]), block(3)):
        answer = await log(client, run_id, given, writer_id=writer_id)
        assert (answer["__typename"], answer["code"], answer["expectedSeq"]) == ("SeqConflict", "CONFLICT", 2)
        assert (answer["writerId"], answer["retryable"]) == (writer_id, False)
    assert (await read(client, run_id, "loss"))[0]["values"] == [0.0, 0.5]


async def test_a_finished_run_takes_nothing_new(client: Client) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    await log(client, run_id, block(0), writer_id=writer_id)
    await client.ask(FINISH, id=run_id)
    assert (await log(client, run_id, block(0), writer_id=writer_id))["__typename"] == "LogMetricsPayload"
    answer = await log(client, run_id, block(1), writer_id=writer_id)
    assert (answer["__typename"], answer["code"], answer["status"]) == ("RunSealed", "RUN_SEALED", "FINISHED")
    points = [{"key": "a", "value": 1}]
    answer = (await client.ask(LOG_METRICS, input={"runId": run_id, "points": points}))["logMetrics"]
    assert answer["__typename"] == "RunSealed"
    [found] = await read(client, run_id, "loss")
    assert found["values"] == [0.0]


async def test_who_may_log_and_read(people: People, stranger: Client) -> None:
    project = await people.project()
    owner = await people.member(project, Role.LOGGER)
    logger, viewer = await people.member(project, Role.LOGGER), await people.member(project, Role.VIEWER)
    run_id, writer_id = await owner.create_run(), str(uuid4())
    assert (await log(owner, run_id, block(0), writer_id=writer_id))["points"] == 1

    for client, refusal in ((stranger, "NotFound"), (logger, "NotFound"), (viewer, "Forbidden")):
        for blocks in ([block(0)], [block(1)], []):
            answer = await log(client, run_id, *blocks, writer_id=writer_id)
            assert answer["__typename"] == refusal
        if refusal == "NotFound":
            missing = await log(client, str(uuid4()), block(0))
            assert answer["path"] == missing["path"] == "input.runId"
            assert answer["message"].replace(run_id, "") == missing["message"].replace(missing["message"][-36:], "")
            error = await client.refused(SERIES, select={"runIds": [run_id]}, keys=["loss"])
            assert error["extensions"]["code"] == "NOT_FOUND"
    assert (await read(viewer, run_id, "loss"))[0]["values"] == [0.0]
    assert (await read(owner, run_id, "loss"))[0]["values"] == [0.0]


async def test_metrics_are_summed_up_and_paged(client: Client) -> None:
    run_id = await client.create_run()
    given = block(keys=["b", "a/x", "a/y"], steps=[3, 1], times=[1, 2], values=[1, -2, "NaN", 4, "NaN", "Infinity"])
    await log(client, run_id, given)
    page = await metrics(client, run_id)
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (3, False)
    assert page["nodes"] == [
        {"key": "a/x", "count": 2, "first": 4.0, "last": "NaN", "lastStep": 3, "min": 4.0, "minStep": 1, "max": 4.0,
         "maxStep": 1, "nonFinite": 1},
        {"key": "a/y", "count": 2, "first": "Infinity", "last": "NaN", "lastStep": 3, "min": None, "minStep": None,
         "max": None, "maxStep": None, "nonFinite": 2},
        {"key": "b", "count": 2, "first": -2.0, "last": 1.0, "lastStep": 3, "min": -2.0, "minStep": 1, "max": 1.0,
         "maxStep": 3, "nonFinite": 0},
    ]  # fmt: skip
    first = await metrics(client, run_id, first=2)
    assert [node["key"] for node in first["nodes"]] == ["a/x", "a/y"]
    second = await metrics(client, run_id, first=2, after=first["pageInfo"]["endCursor"])
    assert ([node["key"] for node in second["nodes"]], second["pageInfo"]["hasNextPage"]) == (["b"], False)
    assert [node["key"] for node in (await metrics(client, run_id, prefix="a/"))["nodes"]] == ["a/x", "a/y"]


async def test_series_of_many_runs_are_summed_up(client: Client) -> None:
    runs = [await client.create_run() for _ in range(3)]
    values = [math.sin(step / 50) for step in range(3_000)]
    values[1_234] = 100.0
    for run_id in runs:
        given = block(steps=list(range(3_000)), times=[START_MS + 10 * step for step in range(3_000)], values=values)
        await log(client, run_id, given)
    asked = {"select": {"runIds": runs}, "keys": ["loss"], "maxPoints": 200, "x": "RELATIVE_TIME"}
    found = (await client.ask(SERIES, **asked))["series"]
    assert [one["runId"] for one in found] == runs
    for one in found:
        assert (one["count"], one["exact"]) == (3_000, False)
        assert len(one["steps"]) <= 200
        assert {0, 1_234, 2_999} <= set(one["steps"])
        assert one["values"] == [values[step] for step in one["steps"]]
        assert one["x"] == [10.0 * step for step in one["steps"]]
    [part, *_] = (await client.ask(SERIES, **{**asked, "fromStep": 1_000, "toStep": 1_099}))["series"]
    assert (part["steps"], part["exact"]) == (list(range(1_000, 1_100)), True)
    assert part["times"] == [START_MS + 10 * step for step in part["steps"]]
    one_run = 'query ($id: ID!) { run(id: $id) { series(keys: ["loss"], maxPoints: 5000) { exact values } } }'
    [whole] = (await client.ask(one_run, id=runs[0]))["run"]["series"]
    assert whole == {"exact": True, "values": values}


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"maxPoints": 4}, "maxPoints"),
        ({"maxPoints": -1}, "maxPoints"),
        ({"fromStep": 2, "toStep": 1}, "toStep"),
        ({"select": {"runIds": ["x"]}}, "select.runIds[0]"),
        ({"select": {"runIds": [str(uuid4()) for _ in range(1_001)]}}, "select.runIds"),
    ],
)
async def test_a_bad_question_is_refused_by_name(client: Client, arguments: dict[str, Any], path: str) -> None:
    run_id = await client.create_run()
    error = await client.refused(SERIES, **{"select": {"runIds": [run_id]}, "keys": ["loss"], **arguments})
    assert (error["extensions"]["code"], error["extensions"]["path"]) == ("VALIDATION", path)


async def test_odd_keys_in_a_question_find_nothing(client: Client) -> None:
    run_id = await client.create_run()
    await log(client, run_id, block())
    assert await read(client, run_id) == []
    assert await read(client, run_id, "", "' or 1=1 --", "%", "loss ") == []
    assert len(await read(client, run_id, "loss", "loss")) == 1
    error = await client.refused(SERIES, select={"runIds": [run_id]}, keys=["\0"])
    assert error["extensions"]["code"] == "VALIDATION"
    assert await read(client, run_id, "loss", attempt=-1) == []


async def test_the_worker_compacts_a_finished_run(client: Client, pool: Pool) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    for seq in range(5):
        await log(client, run_id, block(seq), writer_id=writer_id)
    before = await read(client, run_id, "loss"), await metrics(client, run_id)
    await client.ask(FINISH, id=run_id)
    while await pool.fetchval("select exists (select from block where run_id = $1)", run_id):
        await pool.execute("select pg_sleep(0.05)")
    assert await pool.fetchval("select count(*) from chunk where run_id = $1", run_id) == 1
    assert (await read(client, run_id, "loss"), await metrics(client, run_id)) == before
    assert (await log(client, run_id, *(block(seq) for seq in range(5)), writer_id=writer_id))["nextSeq"] == 5
