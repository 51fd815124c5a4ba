"""A document that was seen before takes a shorter way. Nobody can tell by the answers."""

import functools
import gzip
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from graphql import (
    GraphQLArgument,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    build_client_schema,
    get_introspection_query,
    parse,
)
from graphql.execution.values import VariableValues, get_variable_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp
from strawberry.types.arguments import convert_argument

from api import known
from api.app import open_deps
from api.attempts import SourceInput
from api.documents import Document, Documents
from api.http import GraphQLEndpoint, Load
from api.known import Known, Unusual
from api.prices import TRAINING
from api.schema import schema
from db.access import Role
from db.errors import Unavailable
from db.metrics import Recorder
from runstone import operations
from tests.conftest import Client, People, Server, new_id

SCHEMA = schema._schema


class Uncompiled(Documents):
    """Documents that always go the ordinary way."""

    def kept(self, text: str) -> Document | None:
        document = super().kept(text)
        return replace(document, known=None, lists=None) if document else None

    async def find(self, text: str, pay: Callable[[str], None]) -> Document:
        return replace(await super().find(text, pay), known=None, lists=None)


class Pair:
    """Two doors to one database: the short way where there is one, and the ordinary way."""

    def __init__(self, short: ASGIApp, ordinary: ASGIApp, token: str) -> None:
        self._doors = short, ordinary
        self._headers = {"Authorization": f"Bearer {token}"}

    async def ask(self, document: str, first: dict[str, Any], second: dict[str, Any]) -> Any:
        """The answer that both doors give, each with variables of its own, but for the ids in them."""
        answers = [
            await self._post(door, document, variables)
            for door, variables in zip(self._doors, (first, second), strict=True)
        ]
        assert answers[0] == answers[1]
        return json.loads(answers[0])

    async def _post(self, door: ASGIApp, document: str, variables: dict[str, Any]) -> str:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(door), base_url="http://localhost", headers=self._headers
        ) as http:
            response = await http.post("/graphql", json={"query": document, "variables": variables})
        return without_ids(response.text)


def without_ids(text: str) -> str:
    """The text with the ids blanked, those of runs, uploads and requests; and moments, signatures and budgets."""
    text = re.sub(r'"requestId":"[0-9a-f]{16}"', '"requestId":""', text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r'"remaining":[0-9]+', '"remaining":0', text)
    return re.sub(r'"url":"[^"]*"', '"url":""', text)


@pytest.fixture
async def pair(server: Server, client: Client) -> AsyncIterator[Pair]:
    async with open_deps(server.settings) as deps:
        short = GraphQLEndpoint(deps, SCHEMA, Documents(SCHEMA, introspection=True))
        ordinary = GraphQLEndpoint(deps, SCHEMA, Uncompiled(SCHEMA, introspection=True))
        yield Pair(short, ordinary, client.token)


@functools.cache
def known_of(document: str) -> Known:
    found = known.compiled(SCHEMA, parse(document))
    assert found is not None
    return found


def fields_of(name: str) -> set[str]:
    [operation] = [node for node in parse(operations.document(name)).definitions if node.kind == "operation_definition"]
    return {field.name.value for field in operation.selection_set.selections}  # type: ignore[attr-defined]  # by its kind


@pytest.mark.parametrize("name", [name for name in operations.names() if fields_of(name) <= TRAINING])
def test_every_mutation_of_a_training_has_a_short_way(name: str) -> None:
    assert known_of(operations.document(name)).name == name


def block(seq: Any, **more: Any) -> dict[str, Any]:
    return {"seq": seq, "keys": ["loss", "accuracy"], "steps": [seq], "times": [1000], "values": [0.5, 0.25], **more}


def flush(run_id: str, writer_id: str, **more: Any) -> dict[str, Any]:
    return {"runId": run_id, "writerId": writer_id, "withMetrics": True, "blocks": [block(0)], **more}


FLUSHES: list[dict[str, Any]] = [
    {},
    {"blocks": []},
    {"blocks": [block(0), block(1, values=["NaN", "-Infinity"])]},
    {"blocks": [block(0, steps="AAAAAAAAAAA=", times="6AMAAAAAAAA=", values="AAAAAAAA4D8AAAAAAADQPw==")]},
    {"blocks": [block(0, values=[1, -0.0])]},
    {"blocks": [block(5)]},
    {"blocks": [block(0, keys=["loss", "loss"])]},
    {"blocks": [block(0, keys=[])]},
    {"blocks": [block(0, values=[0.5])]},
    {"blocks": [block(0, values=[0.5, "x"])]},
    {"blocks": [block(0, values="!")]},
    {"blocks": [block(0, steps=[-1])]},
    {"blocks": [block("0")]},
    {"blocks": [block(True)]},
    {"blocks": [block(2**63)]},
    {"blocks": block(0)},
    {"blocks": [block(0, extra=1)]},
    {"blocks": [{"seq": 0}]},
    {"blocks": None},
    {"blocks": [None]},
    {"writerId": "no id"},
    {"writerId": 7},
    {"runId": None},
    {"unknown": 1},
    {"withMetrics": False},
    {"withMetrics": "yes"},
    {"withParams": True, "params": [{"key": "lr", "value": 0.1}, {"key": "n", "value": None}]},
    {"withParams": True, "params": [{"key": "lr", "value": 1, "type": "FLOAT"}], "withTags": True},
    {"withParams": True, "params": [{"key": "lr", "value": 1, "type": "NONE"}]},
    {"withParams": True, "params": [{"key": "x" * 251, "value": 1}]},
    {"withTags": True, "tags": [{"key": "team", "value": "a"}, {"key": "old", "value": None}]},
    {"withInputs": True, "inputs": [{"name": "mnist", "digest": "d1", "context": "training"}]},
    {"withInputs": True, "inputs": [{"name": "mnist"}]},
]


async def test_a_flush_is_answered_alike(pair: Pair, client: Client) -> None:
    document = operations.document("Flush")
    for change in FLUSHES:
        first, second = [flush(await client.create_run(), new_id()) for _ in range(2)]

        await pair.ask(document, first | change, second | change)
        await pair.ask(document, first | change, second | change)


async def test_the_life_of_a_run_is_answered_alike(pair: Pair, client: Client) -> None:
    first, second = new_id(), new_id()

    async def ask(name: str, **variables: Any) -> dict[str, Any]:
        pairs = [json.loads(json.dumps(variables).replace("RUN", run_id)) for run_id in (first, second)]
        data = (await pair.ask(operations.document(name), *pairs))["data"]
        return dict(data) if data else {}

    given: dict[str, Any] = {
        "id": "RUN",
        "project": client.project,
        "experiment": "alike",
        "name": "twin",
        "startedAt": "2026-01-31T12:00:00+01:00",
        "params": [{"key": "lr", "value": 1e-05}, {"key": "layers", "value": [1, 2]}, {"key": "ä", "value": "ü"}],
        "tags": [{"key": "team", "value": "a"}],
        "source": {"commit": "abc", "dirty": True, "argv": ["--fast"]},
        "environment": {"python": "3.11", "cpuCount": 2, "memoryBytes": 2**40, "packages": []},
    }
    assert (await ask("CreateRun", input=given))["createRun"]["created"] is True
    assert (await ask("CreateRun", input=given))["createRun"]["created"] is False
    assert (await ask("CreateRun", input=given | {"name": "other"}))["createRun"]["__typename"] == "Conflict"
    assert await ask("CreateRun", input=given | {"startedAt": "yesterday"}) == {}
    unasked = (await ask("Heartbeat", runId="RUN"))["heartbeat"]
    assert unasked == {"__typename": "HeartbeatPayload", "stopRequest": None}
    assert (await ask("RequestStop", input={"runId": "RUN", "reason": "é"}))["requestStop"]["requested"] is True
    asked = (await ask("Heartbeat", runId="RUN"))["heartbeat"]
    assert asked == {"__typename": "HeartbeatPayload", "stopRequest": {"reason": "é"}}
    assert (await ask("Flush", **flush("RUN", "RUN")))["logMetrics"]["stopRequested"] is True
    file = {"path": "a.txt", "sizeBytes": 1, "sha256": "0" * 64}
    uploads = (await ask("CreateUploads", input={"runId": "RUN", "files": [file]}))["createUploads"]["uploads"]
    assert len(uploads) == 1
    completed = await ask("CompleteUploads", input={"uploads": [{"uploadId": new_id()}]})
    assert completed["completeUploads"]["__typename"] == "NotFound"
    assert (await ask("FinishRun", input={"runId": "RUN", "status": "NONE"})) == {}
    finished = await ask("FinishRun", input={"runId": "RUN", "status": "FINISHED"})
    assert finished["finishRun"]["run"]["status"] == "FINISHED"
    late = await ask("Flush", **flush("RUN", new_id(), withParams=True, params=[{"key": "late", "value": 1}]))
    assert late["logMetrics"]["__typename"] == "RunSealed"
    resumed = await ask("ResumeRun", input={"runId": "RUN", "attemptId": new_id()})
    assert resumed["resumeRun"]["attempt"] == 2


LOG_AND_FINISH = """
    mutation ($log: LogMetricsInput!, $finish: FinishRunInput!, $more: Boolean! = false) {
      setTags(input: {runId: "RUN", tags: []}) @include(if: $more) { __typename }
      logged: logMetrics(input: $log) {
        __typename
        ... on LogMetricsPayload { runId writerId nextSeq points stopRequested }
        ... on UserError { code message path limit hint }
        ... on SeqConflict { expectedSeq }
      }
      finishRun(input: $finish) {
        __typename
        ... on FinishRunPayload { run { id status attempt } validating failed { path } }
        ... on UserError { code message path limit hint }
      }
      after: logMetrics(input: $log) @include(if: $more) { __typename }
    }
"""


def last(**more: Any) -> dict[str, Any]:
    """The last points of a run and its end."""
    log = {"runId": "RUN", "writerId": "WRITER", "blocks": [block(0)]}
    return {"log": log | more.pop("log", {}), "finish": {"runId": "RUN"} | more.pop("finish", {}), **more}


LASTS: list[tuple[dict[str, Any], bool]] = [  # what is asked, and whether it is done in one step
    (last(), True),
    (last(more=True), True),
    (last(finish={"status": "FAILED", "finishedAt": "2026-01-31T12:00:00+01:00", "waitSeconds": 1}), True),
    (last(log={"blocks": [block(0), block(1, values=["NaN", 7])]}), True),
    (last(log={"runId": "RUN".lower()}), False),
    (last(log={"runId": "OTHER"}), False),
    (last(finish={"runId": "OTHER"}), False),
    (last(finish={"runId": "no id"}), False),
    (last(finish={"waitSeconds": 31}), False),
    (last(finish={"finishedAt": "1900-01-31T12:00:00Z"}), False),
    (last(log={"blocks": []}), False),
    (last(log={"blocks": [block(1)]}), False),
    (last(log={"blocks": [block(0, steps=[-1])]}), False),
    (last(log={"writerId": None}), False),
    (last(log={"writerId": None, "blocks": None, "points": [{"key": "loss", "value": 1}]}), False),
    (last(log={"points": []}), False),
]


async def test_last_points_and_an_end_are_answered_alike(
    pair: Pair, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[bool] = []
    in_one_step = Recorder.close

    async def noted(*args: Any) -> Any:
        steps.append(False)
        steps[-1] = (done := await in_one_step(*args)) is not None
        return done

    monkeypatch.setattr(Recorder, "close", noted)
    for asked, is_one_step in LASTS:
        for is_first in (True, False):
            if is_first:
                names = [
                    {"RUN": await client.create_run(), "OTHER": await client.create_run(), "WRITER": new_id()}
                    for _ in range(2)
                ]
            given = [
                functools.reduce(lambda text, name: text.replace(*name), of.items(), json.dumps(asked)) for of in names
            ]
            steps.clear()
            await pair.ask(LOG_AND_FINISH, *map(json.loads, given))
            assert any(steps) is (is_one_step and is_first), asked


async def test_an_end_behind_last_points_waits_for_uploads(
    pair: Pair, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    finish = Recorder.finish

    async def noted(self: Recorder, *args: Any) -> Any:
        asked.append(args)
        return await finish(self, *args)

    monkeypatch.setattr(Recorder, "finish", noted)
    pairs = []
    for _ in range(2):
        run_id = await client.create_run()
        file = {"path": "a.txt", "sizeBytes": 1, "sha256": "0" * 64}
        await client.ask(operations.document("CreateUploads"), input={"runId": run_id, "files": [file]})
        pairs.append(json.loads(json.dumps(last()).replace("RUN", run_id).replace("WRITER", new_id())))

    answer = await pair.ask(LOG_AND_FINISH, *pairs)

    assert answer["data"]["logged"]["points"] == 2
    assert answer["data"]["finishRun"]["run"]["status"] == "FINISHED"
    assert len(asked) == 2  # by either door: the one step does not wait for uploads


async def test_a_store_that_is_away_is_told_for_last_points_and_the_end(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise Unavailable("the database does not answer now")

    monkeypatch.setattr(Recorder, "close", away)
    run_id = await client.create_run()
    async with open_deps(server.settings) as deps:
        door = GraphQLEndpoint(deps, SCHEMA, Documents(SCHEMA, introspection=True))
        asked = json.loads(json.dumps(last()).replace("RUN", run_id).replace("WRITER", new_id()))
        answer = json.loads(await Pair(door, door, client.token)._post(door, LOG_AND_FINISH, asked))

    assert [answer["data"][key]["code"] for key in ("logged", "finishRun")] == ["UNAVAILABLE"] * 2


async def test_what_a_stranger_asks_is_answered_alike(pair: Pair, stranger: Client) -> None:
    theirs = await stranger.create_run()

    for run_id in (theirs, new_id()):
        given = flush(run_id, new_id())
        data = (await pair.ask(operations.document("Flush"), given, given))["data"]
        assert data["logMetrics"]["__typename"] == "NotFound"


READS = """
    query ($select: RunSelection!, $id: ID!, $keys: [String!]!, $more: Boolean! = true) {
      compareRuns(select: $select) {
        ...Compared
        artifacts { path differs digests artifacts { state failure { reason } download { url } } }
      }
      run(id: $id) {
        params { nodes { key type value } edges { cursor node { key } } }
        metrics { nodes { ...Sum first: first lastStep nonFinite } }
        tags { key value }
        attempts { number status source { commit argv } environment { packages { name version } } }
        tagHistory(key: "team") { before after changedBy { name } }
        series(keys: $keys) { key count steps x values attempts }
      }
      series(select: $select, keys: $keys, encoding: BASE64) { runId key exact values times }
      runs(select: $select, first: 5) { nodes { id name durationSeconds experiment { name } } totalCount }
    }
    fragment Compared on RunComparison {
      runs { id name status params(first: 2) { nodes { key } } }
      params { key differs values types }
      metrics { key differs last min max count delta relativeDelta highestRunId lowestRunId }
      tags { key ...Text }
      source { key @include(if: $more) ...Text }
    }
    fragment Text on ComparedText { __typename differs values }
    fragment Sum on Metric { key count min max }
"""


async def test_lists_are_answered_alike(pair: Pair, client: Client) -> None:
    run_ids = []
    for number in range(3):
        run_id = await client.create_run(
            params=[{"key": "lr", "value": number / 7}, {"key": "n", "value": None}, {"key": "x", "value": "NaN"}],
            tags=[{"key": "team", "value": f"t{number}"}],
            source={"commit": f"c{number}", "argv": ["a"]},
            environment={"python": "3.11", "packages": [{"name": "numpy", "version": "2"}]},
        )
        values = ["NaN", 0.5, "-Infinity", -0.0, 1e300][number:]
        block = {"seq": 0, "keys": ["loss"], "steps": [*range(len(values))], "values": values}
        flushed = {"blocks": [block | {"times": [1000] * len(values)}], "withMetrics": True}
        data = await client.ask(operations.document("Flush"), runId=run_id, writerId=new_id(), **flushed)
        assert data["logMetrics"]["__typename"] == "LogMetricsPayload"
        run_ids.append(run_id)
    given = {"select": {"runIds": run_ids}, "id": run_ids[0], "keys": ["loss", "none"]}

    answer = await pair.ask(READS, given, given)

    assert "errors" not in answer
    assert len(answer["data"]["compareRuns"]["metrics"][0]["last"]) == 3
    assert answer["data"]["run"]["tagHistory"]


CALLS = """
    query ($select: RunSelection!, $two: Int = 2, $with: Boolean! = true) {
      a: runs(select: $select, first: 3) { ...Ids }
      b: runs(select: $select, first: 3) { ...Ids nodes { name createdBy { name } parent { id experiment { name } } } }
      c: runs(select: $select, first: 3) { ...Ids nodes @include(if: $with) { ancestors { name } } }
      d: runs(select: $select, first: 3) { nodes { params(first: 1, prefix: "l") { totalCount nodes { key } } } }
      e: runs(select: $select, first: 3) { nodes { metrics(first: $two) { nodes { key } } series(keys: []) { key } } }
      f: runs(select: $select, first: 3) { nodes { children(first: 3) { nodes { params { nodes { value } } } } } }
    }
    fragment Ids on RunConnection { nodes { id } }
"""


@pytest.mark.parametrize("more", [{}, {"with": False}])
async def test_lists_of_what_is_called_for_are_answered_alike(
    pair: Pair, client: Client, more: dict[str, bool]
) -> None:
    parent_id = await client.create_run(params=[{"key": "lr", "value": 0.1}, {"key": "n", "value": [1]}])
    child_id = await client.create_run(parentId=parent_id, params=[{"key": "lr", "value": "a"}])
    given = {"select": {"runIds": [parent_id, child_id]}} | more

    found = (await pair.ask(CALLS, given, given))["data"]

    assert {len(found["a"]["nodes"][0]), len(found["b"]["nodes"][0])} == {1, 4}
    assert "ancestors" not in found["c"]["nodes"][0] if more else "ancestors" in found["c"]["nodes"][0]
    assert [node["params"]["totalCount"] for node in found["d"]["nodes"]] == [1, 1]
    assert [len(node["children"]["nodes"]) for node in found["f"]["nodes"]] == [0, 1]


async def test_a_call_that_fails_in_a_list_is_answered_alike(pair: Pair, client: Client) -> None:
    await client.create_run()
    asked = "{ runs(first: 2) { nodes { id params(first: 0) { nodes { key } } createdBy { name } } } }"

    answer = await pair.ask(asked, {}, {})

    assert answer["errors"][0]["path"] == ["runs", "nodes", 0, "params"]


async def test_the_schema_is_answered_alike(pair: Pair) -> None:
    answer = await pair.ask(get_introspection_query(), {}, {})

    assert "errors" not in answer
    assert build_client_schema(answer["data"]).subscription_type is not None


LOG = """
    mutation Log($one: LogMetricsInput!, $more: Boolean! = true) {
      first: logMetrics(input: $one) { ...Answer }
      second: logMetrics(input: { runId: "RUN", points: [{ key: "a", value: 1.5 }] }) @skip(if: $more) {
        __typename ... { points: __typename }
      }
    }
    fragment Answer on LogMetricsResult {
      kind: __typename
      ... on LogMetricsPayload { runId nextSeq points }
      ... on Invalid { path limit }
    }
"""


def test_a_document_with_a_shape_that_is_not_foreseen_goes_the_ordinary_way() -> None:
    listed = (
        'mutation ($key: String!) { logMetrics(input: {runId: "x", points: [{key: $key, value: 1}]}) { __typename }}'
    )
    nested = (
        'mutation { createRun(input: {experiment: "a", id: "x"}) { ... on CreateRunPayload { run { tags { key }}}}}'
    )
    several = "mutation A { __typename } mutation B { __typename }"

    for document in (listed, nested, several, "{ viewer { name } }"):
        assert known.compiled(SCHEMA, parse(document)) is None


async def test_aliases_fragments_and_directives_are_answered_alike(pair: Pair, client: Client) -> None:
    first, second = await client.create_run(), await client.create_run()

    for more in (True, False):
        asked = [
            {"one": {"runId": run_id, "points": [{"key": "a", "value": "NaN"}]}, "more": more}
            for run_id in (first, second)
        ]
        answer = await pair.ask(LOG.replace("RUN", first), *asked)
        assert answer["data"]["first"]["kind"] == "LogMetricsPayload"
        assert ("second" in answer["data"]) is not more


@functools.cache
def values_of(type_: Any) -> st.SearchStrategy[Any]:
    """JSON values for an input type, most of them right."""
    odd: st.SearchStrategy[Any] = st.sampled_from(
        [None, True, 0, -1, 2**31, 2**63, 2**70, 0.5, math.nan, "", "NaN", "x", [], [None], {}, "RUN"]
    )
    if isinstance(type_, GraphQLNonNull):
        return values_of(type_.of_type).filter(lambda value: value is not None) | odd
    if isinstance(type_, GraphQLList):
        return st.lists(values_of(type_.of_type), max_size=3) | odd
    if isinstance(type_, GraphQLInputObjectType):
        required = {n: values_of(f.type) for n, f in type_.fields.items() if isinstance(f.type, GraphQLNonNull)}
        optional = {n: values_of(f.type) for n, f in type_.fields.items() if n not in required}
        return st.fixed_dictionaries(required, optional=optional) | odd
    right = {
        "Int64": st.integers(-(2**63), 2**63 - 1) | st.just("17"),
        "Int64Column": st.lists(st.integers(-5, 5), max_size=3) | st.just("AAAAAAAAAAA="),
        "Float64Column": st.lists(st.floats(allow_nan=False) | st.integers(-5, 5), max_size=3),
        "MetricValue": st.floats(allow_nan=False) | st.sampled_from(["NaN", 3]),
        "DateTime": st.sampled_from(["2026-01-31T12:00:00Z", "2026-01-31"]),
        "Boolean": st.booleans(),
        "Int": st.integers(-5, 5),
        "ParamType": st.sampled_from(["FLOAT", "INT"]),
    }
    return right.get(type_.name, st.text(max_size=5)) | odd


CREATE = "mutation ($input: CreateRunInput!) { createRun(input: $input) { __typename } }"
LOG_METRICS = "mutation ($input: LogMetricsInput!) { logMetrics(input: $input) { __typename } }"


def argument_of(document: str) -> GraphQLArgument:
    """The input of the mutation that is asked."""
    [field] = known_of(document)._fields
    assert SCHEMA.mutation_type is not None
    argument: GraphQLArgument = SCHEMA.mutation_type.fields[field.key].args["input"]
    return argument


def is_taken(document: str, given_input: Any) -> bool:
    """Whether the short way takes the input; then it makes of it what the ordinary way does."""
    node: Any = parse(document).definitions[0]
    try:
        [(_, bound)] = known_of(document).bound({"input": given_input})
    except Unusual:
        return False
    ordinary = get_variable_values(SCHEMA, node.variable_definitions, {"input": given_input})

    assert isinstance(ordinary, VariableValues)
    kind = known._origin(argument_of(document))
    registry = schema.schema_converter.scalar_registry
    expected = convert_argument(ordinary.coerced["input"], kind.type, registry, schema.config)
    assert repr(bound["input"]) == repr(expected)
    return True


@pytest.mark.parametrize("document", [CREATE, LOG_METRICS])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_the_short_way_takes_is_what_the_ordinary_way_takes(document: str, data: st.DataObject) -> None:
    is_taken(document, data.draw(values_of(argument_of(document).type)))


PARAMS: list[tuple[list[Any], bool]] = [  # the params of a run, and whether the short way takes them
    ([], True),
    ([{"key": "a", "value": value} for value in (0, 2**70, -0.5, "x", True, None, [None], {"b": [1]})], True),
    ([{"key": "a"}, {"value": 1, "key": "b"}, {"key": "c", "value": None}, {"key": "c"}], True),
    ([{"key": "a", "type": "INT"}, {"key": "b", "type": None}, {"key": "c"}], True),
    ([{"key": "a", "type": "int"}], False),
    ([{"key": "a", "type": ["INT"]}], False),
    ([{}, {}], False),
    ([{"key": "a", "value": 1}, {"value": 1}], False),
    ([{"key": "a", "value": 1}, {"key": "b", "value": 1, "more": 1}], False),
    ([{"key": "a"}, {"key": None}], False),
    ([{"key": "a"}, {"key": 1}], False),
    ([{"key": "a"}, None], False),
    ([{"key": "a"}, ["a"]], False),
]


@pytest.mark.parametrize(("params", "is_right"), PARAMS)
def test_a_list_of_objects_is_taken_when_each_is_right(params: list[Any], is_right: bool) -> None:
    assert is_taken(CREATE, {"id": "a", "experiment": "b", "params": params}) is is_right


def test_objects_without_fields_get_their_defaults() -> None:
    coerce = known.coercer(GraphQLList(SCHEMA.type_map["SourceInput"]))

    assert coerce([{}, {}, {"branch": "main"}]) == [SourceInput(), SourceInput(), SourceInput(branch="main")]


def test_a_field_with_another_name_in_python_is_given_by_that_one() -> None:
    coerce = known.coercer(GraphQLList(SCHEMA.type_map["HeartbeatInput"]))

    assert [one.run_id for one in coerce([{"runId": "a"}, {"runId": "b"}])] == ["a", "b"]


async def test_a_new_role_counts_at_once(people: People) -> None:
    project = await people.project()
    member = await people.member(project, Role.VIEWER)
    document = "mutation ($input: LogMetricsInput!) { logMetrics(input: $input) { __typename } }"
    run_id = await (await people.member(project, Role.EDITOR)).create_run()
    asked = {"input": {"runId": run_id, "points": [{"key": "a", "value": 1}]}}
    assert (await member.ask(document, **asked))["logMetrics"]["__typename"] == "Forbidden"

    await people.promote(member, Role.EDITOR)

    assert (await member.ask(document, **asked))["logMetrics"]["__typename"] == "LogMetricsPayload"


async def test_an_overloaded_server_says_when_to_come_back(server: Server, client: Client) -> None:
    async with open_deps(server.settings) as deps:
        busy = GraphQLEndpoint(deps, SCHEMA, Documents(SCHEMA, introspection=True))
        busy._load = Load(requests_max=0)
        full = GraphQLEndpoint(deps, SCHEMA, Documents(SCHEMA, introspection=True))
        full._load = Load(bytes_max=10)
        narrow = GraphQLEndpoint(deps, SCHEMA, Documents(SCHEMA, introspection=True))
        narrow._load = Load(bytes_max=1_000)
        plain = json.dumps({"query": "{ viewer { name } }".ljust(10_000)}).encode()
        packed = gzip.compress(plain)
        for door, body, packing in ((busy, plain, "identity"), (full, plain, "identity"), (narrow, packed, "gzip")):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://localhost") as http:
                headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
                response = await http.post("/graphql", content=body, headers={**headers, "Content-Encoding": packing})

            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            [error] = response.json()["errors"]
            assert error["extensions"]["code"] == "UNAVAILABLE"
            assert error["extensions"]["retryable"] is True
