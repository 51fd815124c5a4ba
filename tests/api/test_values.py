"""Bad names, texts and numbers: each is refused by name and limit, nothing is stored."""

import itertools
import json
import math
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import params, texts
from db.errors import Invalid
from db.pool import Pool
from tests.api.test_runs import LOG_INPUTS, LOG_PARAMS, RUN, SET_TAGS, log_params, params_of
from tests.conftest import CREATE_RUN, Client, new_id
from tests.parts import pid_of

BAD_NAMES = {
    "empty": "",
    "251 characters": "x" * 251,
    "1,001 bytes": "\U0001f600" * 251,
    "only spaces": "   ",
    "leading space": " x",
    "trailing space": "x ",
    "NUL": "a\0b",
    "newline": "a\nb",
    "C0 control": "a\x07b",
    "C1 control": "a\x85b",
    "bidi control": "a\u202eb",
    "zero width only": "\u200d",
    "not NFC": "e\u0301",
    "line separator": "a\u2028b",
}
GOOD_NAMES = [
    "\u00e9",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u4f60" * 250,
    "\u05d0\u05d1\u05d2",
    "__proto__",
    "constructor",
    "<img src=x onerror=alert(1)>",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%n%s",
    "'; drop table run; --",
    "a/b.c-d e",
]


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
@pytest.mark.parametrize("where", ["experiment", "name"])
async def test_bad_name_of_a_run_is_refused(client: Client, where: str, name: str) -> None:
    given = {"id": new_id(), "project": client.project, "experiment": "test", where: name}
    answer = (await client.ask(CREATE_RUN, input=given))["createRun"]
    assert (answer["__typename"], answer["code"], answer["path"]) == ("Invalid", "VALIDATION", f"input.{where}")
    assert (await client.ask("query ($id: ID!) { run(id: $id) { id } }", id=given["id"]))["run"] is None


@pytest.mark.parametrize("key", BAD_NAMES.values(), ids=BAD_NAMES.keys())
async def test_bad_key_is_refused_everywhere(client: Client, key: str) -> None:
    run_id = await client.create_run()
    cases: list[tuple[str, str, dict[str, Any]]] = [
        (LOG_PARAMS, "logParams", {"params": [{"key": "fine", "value": 1}, {"key": key, "value": 1}]}),
        (SET_TAGS, "setTags", {"tags": [{"key": "fine", "value": "x"}, {"key": key, "value": "x"}]}),
        (LOG_INPUTS, "logInputs", {"inputs": [{"name": "fine", "digest": "x"}, {"name": key, "digest": "x"}]}),
    ]
    for document, field, more in cases:
        answer = (await client.ask(document, input={"runId": run_id, **more}))[field]
        assert answer["code"] == "VALIDATION", field
        assert "[1]" in answer["path"]
    run = (await client.ask(RUN, id=run_id))["run"]
    assert (run["params"]["totalCount"], run["tags"], run["inputs"]) == (0, [], [])


@pytest.mark.parametrize("name", GOOD_NAMES)
async def test_unusual_names_are_kept_exactly(client: Client, name: str) -> None:
    run_id = await client.create_run(
        name=name, experiment=name, params=[{"key": name, "value": name}], tags=[{"key": name, "value": name}]
    )
    run = (await client.ask(RUN, id=run_id))["run"]
    assert (run["name"], run["experiment"]["name"]) == (name, name)
    assert [(param["key"], param["value"]) for param in run["params"]["nodes"]] == [(name, name)]
    assert [(tag["key"], tag["value"]) for tag in run["tags"]] == [(name, name)]


async def test_half_a_surrogate_is_refused(client: Client) -> None:
    run_id = await client.create_run()
    for text in ("\ud800", "a\udfffb", {"deep": ["\ud800"]}, {"\ud800": 1}):
        variables = {"input": {"runId": run_id, "params": [{"key": "p", "value": text}]}}
        response = await client.post_raw(json.dumps({"query": LOG_PARAMS, "variables": variables}).encode())
        assert response.json()["data"]["logParams"]["code"] == "VALIDATION"
    query = "query ($name: String) { project(name: $name) { id } }"
    response = await client.post_raw(json.dumps({"query": query, "variables": {"name": "\ud800"}}).encode())
    assert response.json()["errors"][0]["extensions"]["code"] == "VALIDATION"
    response = await client.post_raw(json.dumps({"query": '{ missing(name: "\ud800") }'}).encode())
    assert response.status_code in {200, 400}


OF_A_RUN = "runs(select: { projectId: $id }) { nodes { %s } }"


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
@pytest.mark.parametrize(
    ("kind", "asked", "path"),
    [
        ("query", "project(name: $text) { id }", "name"),
        ("query", "project(id: $id) { metricGoalHistory(key: $text) { key } }", "key"),
        ("query", "experiments(search: $text) { totalCount }", "search"),
        ("query", "experiment(projectId: $id, name: $text) { id }", "name"),
        ("query", OF_A_RUN % "params(prefix: $text) { nodes { key } }", "prefix"),
        ("query", OF_A_RUN % 'params(prefix: $text, after: "x") { nodes { key } }', "prefix"),
        ("query", OF_A_RUN % "metrics(prefix: $text) { totalCount }", "prefix"),
        ("query", OF_A_RUN % "series(keys: [$text]) { key }", "keys[0]"),
        ("query", 'series(select: { projectId: $id }, keys: ["x", $text]) { key }', "keys[1]"),
        ("mutation", 'createRun(input: { id: $id, experiment: "x", project: $text }) { %s }', "input.project"),
        ("mutation", 'createExperiment(input: { name: "x", projectName: $text }) { %s }', "input.projectName"),
        ("mutation", 'setMetricGoal(input: { key: "x", projectName: $text }) { %s }', "input.projectName"),
        ("mutation", "setMember(input: { projectId: $id, account: $text, role: VIEWER }) { %s }", "input.account"),
    ],
)
async def test_what_no_text_can_be_is_refused_by_name(
    client: Client, kind: str, asked: str, path: str, text: str
) -> None:
    await client.create_run()
    id = (await client.ask("query ($name: String) { project(name: $name) { id } }", name=client.project))["project"][
        "id"
    ]
    declared = "$id: ID!, $text: String!" if "$id" in asked else "$text: String!"
    chosen = asked % "... on UserError { code path }" if "%s" in asked else asked
    body = {"query": f"{kind} ({declared}) {{ {chosen} }}", "variables": {"id": id, "text": text}}
    answer = (await client.post_raw(json.dumps(body).encode())).json()
    [refused] = answer["data"].values() if kind == "mutation" else [answer["errors"][0]["extensions"]]
    assert (refused["code"], refused["path"]) == ("VALIDATION", path)


@pytest.mark.parametrize("value", ["a\0b", {"a": ["\0"]}, {"\0": 1}])
async def test_nul_in_a_value_is_refused(client: Client, value: Any) -> None:
    run_id = await client.create_run()
    assert (await log_params(client, run_id, key=value))["code"] == "VALIDATION"
    assert await params_of(client, run_id) == {}


async def test_value_may_hold_any_other_text(client: Client) -> None:
    text = "line\nline\ttab \x07 \u202e e\u0301 \U0001f600"
    run_id = await client.create_run(params=[{"key": "p", "value": text}])
    assert await params_of(client, run_id) == {"p": text}


async def test_large_values_are_refused_with_the_limit(client: Client) -> None:
    run_id = await client.create_run()
    assert (await log_params(client, run_id, fits="x" * 65_536))["stored"] == 1
    refused = await log_params(client, run_id, p="x" * 65_537)
    assert (refused["code"], refused["path"], refused["limit"]) == (
        "VALIDATION",
        "input.params[0].value",
        "65536 bytes",
    )
    tags = [{"key": f"t{number}", "value": "x"} for number in range(1_001)]
    answer = (await client.ask(SET_TAGS, input={"runId": run_id, "tags": tags}))["setTags"]
    assert (answer["code"], answer["limit"]) == ("VALIDATION", "1000 tags per run")
    await client.ask(SET_TAGS, input={"runId": run_id, "tags": tags[:1_000]})
    answer = (await client.ask(SET_TAGS, input={"runId": run_id, "tags": tags[1_000:]}))["setTags"]
    assert answer["code"] == "VALIDATION"


KEYS = st.sampled_from(["lr", *GOOD_NAMES, *BAD_NAMES.values()])
VALUES = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(max_size=4), st.lists(st.integers(), max_size=2),
    st.integers(-(2**64), 2**64), st.sampled_from([-(2**63), 2**63 - 1, 2**63, -0.0, "", "NaN", " x", "x" * 251]),
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(key=KEYS, value=VALUES, type_=st.none() | st.sampled_from(params.ParamType))
def test_the_quick_way_makes_the_same_of_a_param(key: str, value: Any, type_: params.ParamType | None) -> None:
    given_param = params.Given(key, value, type_)

    quick = params._plain(given_param)

    if quick is not None:
        assert repr(quick) == repr(params._typed(given_param, "it"))


def test_the_quick_way_takes_what_is_usual() -> None:
    for value in (0.1, 7, "adam"):
        assert params._plain(params.Given("lr", value)) is not None


@pytest.mark.parametrize("type_", params.ParamType)
def test_the_quick_way_takes_no_value_of_another_type(type_: params.ParamType) -> None:
    for value, own in ((0.1, "FLOAT"), (7, "INT"), ("adam", "STRING")):
        assert (params._plain(params.Given("lr", value, type_)) is not None) is (type_ == own)


@settings(max_examples=300, deadline=None)
@given(keys=st.lists(st.sampled_from(["lr", "a b", " ", "x" * 250, *BAD_NAMES.values(), "é"]), max_size=3))
def test_names_are_plain_when_each_is(keys: list[str]) -> None:
    assert texts.are_plain(keys) is all(map(texts.is_plain, keys))


PLAIN_PARAMS = [params.Given("lr", 0.5), params.Given("n", 1, params.ParamType.INT)]
WRONG_PARAMS = {
    "value": params.Given("a", 2**64),
    "type": params.Given("b", "x", params.ParamType.INT),
    "key": params.Given(" c", 1),
    "twice": params.Given("lr", 1),
}


@pytest.mark.parametrize("names", [*itertools.permutations(WRONG_PARAMS, 2)])
def test_the_first_wrong_param_is_named(names: tuple[str, str]) -> None:
    first, second = (WRONG_PARAMS[name] for name in names)

    with pytest.raises(Invalid) as refused:
        params.checked([*PLAIN_PARAMS, first, second])

    part = {"value": "value", "type": "value", "key": "key", "twice": "key"}[names[0]]
    assert refused.value.path == f"input.params[2].{part}"


@pytest.mark.parametrize("more", [[], [params.Given("é", 1)]])
def test_params_stay_in_their_order(more: list[params.Given]) -> None:
    asked = [
        *more,
        *PLAIN_PARAMS,
        params.Given("b", [1]),
        params.Given("a", None),
        params.Given("f", 1, params.ParamType.FLOAT),
    ]

    found = params.checked(asked)

    assert [(one.key, one.value) for one in found] == [(one.key, one.value) for one in asked]
    assert found[-1].text == "1.0"


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
async def test_large_integers_are_refused(client: Client, number: int) -> None:
    run_id = await client.create_run()
    assert (await log_params(client, run_id, p=number))["code"] == "VALIDATION"
    assert (await log_params(client, run_id, p=2**63 - 1, q=-(2**63)))["stored"] == 2
    assert await params_of(client, run_id) == {"p": 2**63 - 1, "q": -(2**63)}


async def test_overflowing_literal_is_refused(client: Client) -> None:
    run_id = await client.create_run()
    body = '{"query": %s, "variables": {"input": {"runId": "%s", "params": [{"key": "p", "value": 1e999}]}}}'
    response = await client.post_raw((body % (json.dumps(LOG_PARAMS), run_id)).encode())
    assert response.json()["data"]["logParams"]["code"] == "VALIDATION"
    literal = 'mutation { logParams(input: {runId: "%s", params: [{key: "p", value: 1e999}]}) { __typename } }'
    assert (await client.ask(literal % run_id))["logParams"]["__typename"] == "Invalid"


@pytest.mark.parametrize("number", [-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2])
async def test_floats_are_exact(client: Client, number: float) -> None:
    run_id = await client.create_run(params=[{"key": "p", "value": number}])
    found = (await params_of(client, run_id))["p"]
    assert found == number
    assert math.copysign(1, found) == math.copysign(1, number)


@pytest.mark.parametrize(
    "time", ["10000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-01-01T00:00:00", "yesterday", 5, ""]
)
async def test_times_out_of_range_are_refused(client: Client, time: Any) -> None:
    given = {"id": new_id(), "project": client.project, "experiment": "test", "startedAt": time}
    response = (await client.post(CREATE_RUN, input=given)).json()
    if "errors" in response:
        assert response["errors"][0]["extensions"]["code"] == "VALIDATION"
        assert response["errors"][0]["extensions"]["path"] == "input.startedAt"
    else:
        assert response["data"]["createRun"]["code"] == "VALIDATION"


@pytest.mark.parametrize("id", ["", "x", "01890a5d", "\0", "01890a5dac96774bbcceb302099a8057", "' or 1=1 --"])
async def test_ids_that_are_none_are_refused(client: Client, id: str) -> None:
    given = {"id": id, "project": client.project, "experiment": "test"}
    answer = (await client.ask(CREATE_RUN, input=given))["createRun"]
    assert (answer["code"], answer["path"]) == ("VALIDATION", "input.id")


async def test_an_empty_id_is_not_an_absent_one(client: Client) -> None:
    given = {"id": new_id(), "project": client.project, "experiment": "test", "parentId": ""}
    answer = (await client.ask(CREATE_RUN, input=given))["createRun"]
    assert (answer["code"], answer["path"]) == ("VALIDATION", "input.parentId")
    for asked in ('runs(select: { projectId: "" })', 'experiments(projectId: "")'):
        error = await client.refused(f"{{ {asked} {{ nodes {{ id }} }} }}")
        assert error["extensions"]["path"].endswith("projectId")


@pytest.mark.parametrize(
    "document",
    [
        "query ($large: ID!) { run(id: $large) { id } }",
        "query ($large: String!) { runs(select: { where: $large }) { nodes { id } } }",
        "query ($large: Int!) { runs(first: $large) { nodes { id } } }",
        "mutation ($large: String!) { createProject(input: { name: $large }) { __typename } }",
        "mutation ($large: ID!) { logParams(input: { runId: $large, params: [] }) { __typename } }",
    ],
    ids=["id", "filter", "wrong type", "refused", "compiled"],
)
async def test_what_was_asked_is_not_kept(client: Client, document: str) -> None:
    api = psutil.Process(pid_of(client.server, "api"))
    await client.post(document, large="x" * 1_000_000)
    before = api.memory_info().rss
    for number in range(100):
        assert (await client.post(document, large=f"{number:03}" + "x" * 1_000_000)).status_code == 200
    assert api.memory_info().rss - before < 50_000_000


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a-", "a" * 101, "\u0430bc", "a/b", ".."])
async def test_project_names_are_plain(client: Client, name: str) -> None:
    document = """
        mutation ($input: CreateProjectInput!) {
          createProject(input: $input) { __typename ... on UserError { code path limit } }
        }
    """
    answer = (await client.ask(document, input={"name": name}))["createProject"]
    assert (answer["code"], answer["path"]) == ("VALIDATION", "input.name")
    assert "a-z" in answer["limit"]


async def test_project_can_be_made_once(client: Client) -> None:
    document = """
        mutation ($input: CreateProjectInput!) {
          createProject(input: $input) {
            __typename
            ... on CreateProjectPayload { project { name viewerRole } }
            ... on UserError { code path message }
          }
        }
    """
    name = f"made-{new_id()}"
    made = (await client.ask(document, input={"name": name}))["createProject"]
    assert made["project"] == {"name": name, "viewerRole": "OWNER"}
    again = (await client.ask(document, input={"name": name}))["createProject"]
    assert (again["__typename"], again["code"], again["path"]) == ("NameTaken", "CONFLICT", "input.name")
    assert again["message"] == "another project has this name"


FAULT = """
    create function {name}() returns trigger language plpgsql as $$
    begin
        raise exception 'secret detail';
    end $$;
    create trigger {name} before insert on param for each row when (new.run_id = '{run_id}')
        execute function {name}();
"""


async def test_unexpected_fault_shows_no_internals(client: Client, pool: Pool) -> None:
    run_id = await client.create_run()
    name = f"fault_{run_id.replace('-', '')}"
    await pool.execute(FAULT.format(name=name, run_id=run_id))
    try:
        error = await client.refused(LOG_PARAMS, input={"runId": run_id, "params": [{"key": "a", "value": 1}]})
    finally:
        await pool.execute(f"drop trigger {name} on param; drop function {name}()")
    assert error["message"] == "internal error"
    assert error["extensions"]["code"] == "INTERNAL"
    assert len(error["extensions"]["requestId"]) == 16
