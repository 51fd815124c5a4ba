"""Queries have a cost, found before they run: too much is refused at once, and trainings never pay."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    get_introspection_query,
    get_named_type,
    is_list_type,
    parse,
)
from redis.asyncio import Redis

from api.budgets import Budgets, CostlyLane, RateLimited, open_budgets
from api.cost import costs, price_of
from api.documents import Document, Documents, Refused
from api.prices import PRICES, TRAINING
from api.schema import schema
from benchmarks.abuses import ABUSES
from db.errors import Unavailable
from db.pool import Pool
from runstone import errors, operations
from settings import Settings
from tests.api.test_compare import COMPARE
from tests.api.test_http import client_of
from tests.conftest import Client, Server, new_id
from tests.watching import watching

ROOT = Path(__file__).parents[2]
SCHEMA = schema._schema
ALLOWED = Settings.query_cost_max
VIEWER = "{ viewer { name } }"
SELECTED = {"runIds": [str(number) for number in range(1_000)]}
TOKEN = "0123456789abcdef"
LOG = """
    mutation ($input: LogMetricsInput!) { logMetrics(input: $input) { __typename } }
"""


async def read(document: str) -> Document:
    """The document, newly read. Raises `Refused`."""
    return await Documents(SCHEMA, introspection=True).find(document, lambda _: None)


async def cost_of(document: str, **variables: Any) -> int:
    """What the only operation of a valid document costs."""
    [cost] = (await read(document)).costs.values()
    return cost.with_variables(variables)


async def test_abuse_is_refused(client: Client) -> None:
    for name, (document, variables) in ABUSES.items():
        for _ in range(2):  # the second time it is known
            response = await client.post(document, **variables)

            assert response.status_code == 200, name
            assert "recursion" not in response.text, name
            [error] = response.json()["errors"]
            assert error["extensions"]["code"] == "QUERY_TOO_COMPLEX", name
            assert error["extensions"]["retryable"] is False
            assert error["extensions"]["hint"]
            cost = error["extensions"]["cost"]
            assert cost["requested"] > cost["allowed"] > 0, name
            assert f"{cost['requested']:,}" in error["message"]
            assert error["extensions"]["limit"].startswith(f"{cost['allowed']:,} ")


INVALID = {
    "a cycle": "{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }",
    "a cycle that is not used": VIEWER + "fragment A on Viewer { ...A }",
    "an unused fragment": VIEWER + "fragment A on Viewer { name }",
    "a missing fragment": "{ viewer { ...A } }",
    "an undefined variable": "{ runs(first: $first) { nodes { id } } }",
    "first: 100000": "{ runs(first: 100000) { nodes { id } } }",
    "first: -1": "{ runs(first: -1) { nodes { id } } }",
    "first: text": '{ runs(first: "5") { nodes { id } } }',
    "unknown fields": "{ " + " ".join(f"missing{number}" for number in range(1_400)) + " }",
    "an unknown argument": "{ runs(many: 5) { nodes { id } } }",
    "a scalar with fields": "{ viewer { name { first } } }",
    "a field of a union": "mutation { heartbeat(input: { runId: 1 }) { runId } }",
}


async def test_what_is_wrong_but_small_is_told_in_words(client: Client) -> None:
    for name, document in INVALID.items():
        answer = (await client.post(document)).json()

        assert 1 <= len(answer["errors"]) <= 5, name
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"VALIDATION"}, name


async def test_missing_first_has_a_default(client: Client) -> None:
    await client.create_run()
    assert len((await client.ask("{ runs { nodes { id } } }"))["runs"]["nodes"]) == 1


def legitimate() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What people, the Python client, the explorer and pages ask, as large as it gets."""
    largest = {"select": SELECTED, "first": 500}
    for name in operations.names():
        yield name, operations.document(name), largest
    for path in sorted((ROOT / "dashboard" / "src" / "graphiql" / "examples").glob("*.graphql")):
        yield path.stem, path.read_text(), largest
    yield "introspection", get_introspection_query(input_value_deprecation=True, directive_is_repeatable=True), {}
    yield "comparison", (ROOT / "examples" / "churn" / "compare.graphql").read_text(), largest
    yield (
        "a page of 100 runs, nested",
        """{ runs(first: 100) { nodes { id name status startedAt tags { key value }
          params(first: 50) { nodes { key type value attempt } }
          metrics(first: 20) { nodes { key count first last lastStep min minStep max maxStep nonFinite } } } } }""",
        {},
    )
    yield (
        "a page of 100 runs, nested, of any size",
        """{ runs(first: 100) { totalCount
          nodes { id name params { nodes { key value } } metrics { nodes { key last min max } } } } }""",
        {},
    )
    yield "everything compared", COMPARE, largest
    yield (
        "1,000 runs x 70 columns",
        """query ($columns: [RunColumn!]!) { runFrame(columns: $columns, first: 1000) {
          ids columns { cells } } }""",
        {"columns": [{"area": "PARAM", "key": str(number)} for number in range(70)]},
    )
    yield (
        "1,000 series of 500 points",
        """query ($select: RunSelection!) { series(select: $select, keys: ["loss"], maxPoints: 500, encoding: BASE64) {
          runId key count exact steps times values } }""",
        {"select": SELECTED},
    )


async def test_what_is_needed_is_allowed() -> None:
    for name, document, variables in legitimate():
        for cost in (await read(document)).costs.values():
            assert 0 < cost.with_variables(variables) <= ALLOWED, name


def test_every_list_of_the_schema_has_a_price() -> None:
    """So that a new field that answers much is thought of."""
    fields: dict[str, tuple[str, str, GraphQLField]] = {
        f"{type_name}.{name}": (type_name, name, field)
        for type_name, type_ in SCHEMA.type_map.items()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        for name, field in type_.fields.items()
    }
    large = {place for place, (_, _, field) in fields.items() if is_large(field)}
    in_pages = {
        place
        for place, (type_name, name, field) in fields.items()
        if type_name.endswith("Connection") and price_of(type_name, name, field).is_paged
    }
    mutations = set(SCHEMA.mutation_type.fields) if SCHEMA.mutation_type else set()

    assert PRICES.keys() <= fields.keys()
    assert large <= PRICES.keys() | in_pages
    assert mutations >= TRAINING


def is_large(field: GraphQLField) -> bool:
    """Whether the field answers many values: a list, or a column."""
    type_ = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return is_list_type(type_) or re.search(r"Column$|^Cells$", get_named_type(type_).name) is not None


async def test_an_unlisted_field_costs_more_than_nothing() -> None:
    plain = await cost_of("{ viewer { name } }")
    assert plain > 0
    assert await cost_of("{ viewer { name isAdmin } }") == plain + 1


async def test_the_cost_follows_the_arguments() -> None:
    async def page(first: int, more: str = "id") -> int:
        return await cost_of(f"{{ runs(first: {first}) {{ nodes {{ {more} }} }} }}")

    assert await page(20) - await page(10) == await page(30) - await page(20) == 20  # a run and its id, ten times
    assert (
        await page(20, "params(first: 30) { nodes { key } }") - await page(10, "params(first: 30) { nodes { key } }")
        > 600
    )
    assert await cost_of("{ runs { nodes { id } } }") == await page(50), "the schema's default"
    assert await cost_of("{ runs(first: 500) { nodes { id } } }") == await cost_of(
        "{ runs(first: 5000) { nodes { id } } }"
    )
    assert await page(50, "id } totalCount pageInfo { endCursor") > await page(50) + 5_000, "counting is dear"


async def test_variables_cost_what_literals_cost() -> None:
    document = """
        query ($first: Int! = 7, $select: RunSelection!, $keys: [String!]!, $points: Int) {
          runs(first: $first) { edges { node { ...More } } }
          compareRuns(select: $select) { params { key values } runs { ...More } }
          series(select: $select, keys: $keys, maxPoints: $points) { key values }
        }
        fragment More on Run { id children(first: $first) { nodes { id tags { key } } } }
    """
    given = {"select": {"runIds": ["1", "2", "3"]}, "keys": ["a", "b"]}
    for first, points in ((7, None), (40, 500)):
        literal = re.sub(r"query \(.*\)", "", document)
        for name, value in (("$first", first), ("$points", points), ("$keys", given["keys"])):
            literal = literal.replace(name, json.dumps(value))
        literal = literal.replace("$select", '{ runIds: ["1", "2", "3"] }')
        assert await cost_of(document, **given, first=first, points=points) == await cost_of(literal)
    assert await cost_of(document, **given, first=7) == await cost_of(document, **given)
    assert await cost_of(document, **given, first=8) > await cost_of(document, **given)


async def test_a_fragment_costs_what_its_fields_cost() -> None:
    spread = """
        query ($n: Int!) { runs(first: $n) { ...Page pageInfo { ...Ends } } }
        fragment Ends on PageInfo { endCursor }
        fragment Page on RunConnection { nodes { ...One ... on Run { params(first: $n) { nodes { ...Key } } } } }
        fragment One on Run { a: parent { ...Two } b: parent { ...Two } }
        fragment Two on Run { metrics(first: $n) { nodes { key } } tags { key } }
        fragment Key on Param { key }
    """
    two = "metrics(first: $n) { nodes { key } } tags { key }"
    written = f"""
        query ($n: Int!) {{ runs(first: $n) {{
          nodes {{ a: parent {{ {two} }} b: parent {{ {two} }} params(first: $n) {{ nodes {{ key }} }} }}
          pageInfo {{ endCursor }}
        }} }}
    """
    for n in (1, 3, 50):
        assert await cost_of(spread, n=n) == await cost_of(written, n=n)


async def test_a_bomb_is_measured_in_steps_not_in_leaves() -> None:
    """2^29 fields with variables in each fragment: only sharing what was measured comes to an end."""
    document, _ = ABUSES["fragment bomb with variables"]
    with pytest.raises(Refused, match="refused") as refused:
        await read(document)
    assert "fields" in refused.value.errors[0].message
    small = parse(re.sub(r"\.\.\.F\d+ }", "}", document).replace("...F0", "...F0 }", 1))
    assert costs(SCHEMA, small)


async def test_an_answer_says_what_it_cost(client: Client) -> None:
    document = "query ($first: Int!) { runs(first: $first) { nodes { id name } } }"
    answers = [(await client.post(document, first=first)).json() for first in (10, 20, 20)]
    shown = [answer["extensions"]["cost"] for answer in answers]

    assert [cost["requested"] for cost in shown] == [await cost_of(document, first=first) for first in (10, 20, 20)]
    assert {(cost["allowed"], cost["depth"]) for cost in shown} == {(ALLOWED, 3)}
    assert all(cost["remaining"] < Settings.token_cost_per_minute for cost in shown)


async def test_mutations_of_a_training_are_answered_as_ever(client: Client) -> None:
    run_id = await client.create_run()
    given = {"runId": run_id, "points": [{"key": "loss", "value": 0.5}]}
    assert (await client.post(LOG, input=given)).json() == {"data": {"logMetrics": {"__typename": "LogMetricsPayload"}}}


async def test_a_token_has_a_budget_that_trainings_do_not_need(
    server: Server, client: Client, stranger: Client
) -> None:
    run_id = await client.create_run()
    headers = {"Authorization": f"Bearer {client.token}"}
    page = {"query": "{ runs(first: 100) { nodes { id name params { nodes { key } } } } }"}
    cost = await cost_of(page["query"])
    async with client_of(replace(server.settings, token_cost_per_minute=cost * 3)) as http:
        answers = [await http.post("/graphql", json=page, headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        limited = answers[3]
        assert limited.status_code == 429
        assert 1 <= int(limited.headers["retry-after"]) <= 60
        [error] = limited.json()["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert error["extensions"]["retryable"] is True
        assert error["extensions"]["cost"]["requested"] == cost > error["extensions"]["cost"]["remaining"]
        known = errors.from_request_error(error, limited.status_code)
        assert isinstance(known, errors.RateLimited)
        assert known.retryable

        point = {"runId": run_id, "points": [{"key": "loss", "value": 0.5}]}
        logged = await http.post("/graphql", json={"query": LOG, "variables": {"input": point}}, headers=headers)
        assert logged.json()["data"]["logMetrics"]["__typename"] == "LogMetricsPayload"
        others = {"Authorization": f"Bearer {stranger.token}"}
        assert (await http.post("/graphql", json=page, headers=others)).status_code == 200


async def test_a_token_that_sends_ever_new_documents_waits_but_a_training_goes_on(
    server: Server, client: Client
) -> None:
    run_id = await client.create_run()
    headers = {"Authorization": f"Bearer {client.token}"}
    filling = "#" + "x" * 8_000
    async with client_of(server.settings) as http:

        async def ask(query: str, **variables: Any) -> httpx.Response:
            return await http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)

        answers = await asyncio.gather(*(ask(f"{VIEWER} {filling}{number}") for number in range(40)))
        assert [answers[0].status_code, answers[-1].status_code] == [200, 429]
        [error] = answers[-1].json()["errors"]
        assert (error["extensions"]["code"], error["extensions"]["retryable"]) == ("RATE_LIMITED", True)
        assert (await ask(f"{VIEWER} {filling}0")).status_code == 200, "the server knows it"
        point = {"runId": run_id, "points": [{"key": "loss", "value": 0.5}]}
        logged = await ask(LOG, input=point)
        assert logged.json()["data"]["logMetrics"]["__typename"] == "LogMetricsPayload"


async def test_a_new_document_is_read_and_paid_once_for_all_who_send_it_at_once() -> None:
    documents = Documents(SCHEMA, introspection=True)
    paid: list[str] = []

    found = await asyncio.gather(*(documents.find(VIEWER, paid.append) for _ in range(20)))
    refused = await asyncio.gather(
        *(documents.find("{ nothing }", paid.append) for _ in range(20)), return_exceptions=True
    )

    assert all(document is found[0] for document in found)
    assert all(isinstance(each, Refused) for each in refused)
    assert paid == [VIEWER, "{ nothing }"]


async def test_ten_mutations_cost_ten_times_one(server: Server, client: Client) -> None:
    def making(count: int) -> str:
        given = f'input: {{ name: "same", projectName: "{client.project}" }}'
        return f"mutation {{ {' '.join(f'a{at}: createExperiment({given}) {{ __typename }}' for at in range(count))} }}"

    assert await cost_of(making(10)) == 10 * await cost_of(making(1))
    headers = {"Authorization": f"Bearer {client.token}"}
    async with client_of(replace(server.settings, token_cost_per_minute=await cost_of(making(15)))) as http:
        for count, status in ((10, 200), (10, 429), (1, 200)):
            answer = await http.post("/graphql", json={"query": making(count)}, headers=headers)
            assert answer.status_code == status


async def test_processes_share_budgets_through_redis(server: Server) -> None:
    assert server.settings.redis_url is not None
    token_id = new_id()
    async with Redis.from_url(server.settings.redis_url) as redis:
        here, there = (Budgets(redis, 6_000, ALLOWED) for _ in range(2))
        here.spend(token_id, 4_000)
        await here._share()
        there.spend(token_id, 1_000)
        assert there.remaining(token_id) >= 4_900, "it does not know yet"
        await there._share()
        assert 900 <= there.remaining(token_id) <= 2_000
        with pytest.raises(RateLimited) as limited:
            there.spend(token_id, 5_500)
        assert 30 <= limited.value.retry_after_s <= 60
        await here._share()
        assert here.remaining(token_id) > there.remaining(token_id), "it has nothing to tell, so it hears nothing"
        assert await redis.ttl(f"runstone:spent:{token_id}") <= 60


async def test_budgets_go_on_without_redis() -> None:
    async with Redis.from_url("redis://127.0.0.1:9") as nowhere:
        budgets = Budgets(nowhere, 6_000, ALLOWED)
        sharing = asyncio.create_task(budgets.share())
        budgets.spend(TOKEN, 5_000)
        await asyncio.sleep(0.2)
        with pytest.raises(RateLimited):
            budgets.spend(TOKEN, 5_000)
        assert not sharing.done()
        sharing.cancel()


async def test_costly_queries_wait_for_each_other_and_others_do_not() -> None:
    lane = CostlyLane(at_once=1, waiting_max=1)
    async with lane.turn(ALLOWED):
        async with lane.turn(1_000):
            pass
        waiting = asyncio.create_task(enter(lane))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="costly"):
            await enter(lane)
        assert not waiting.done()
    await waiting
    async with lane.turn(ALLOWED):
        pass


async def enter(lane: CostlyLane) -> None:
    async with lane.turn(ALLOWED):
        pass


async def test_slow_reads_end_in_words_and_leave_trainings_alone(server: Server, client: Client, pool: Pool) -> None:
    run_id = await client.create_run()
    headers = {"Authorization": f"Bearer {client.token}"}
    slow = {"query": f'{{ run(id: "{run_id}") {{ tagHistory {{ key }} }} }}'}
    async with client_of(replace(server.settings, read_timeout_s=1)) as http:

        async def ask(asked: dict[str, Any]) -> dict[str, Any]:
            answer: dict[str, Any] = (await http.post("/graphql", json=asked, headers=headers)).json()
            return answer

        async with pool.acquire() as conn, conn.transaction():
            await conn.execute("lock table tag_change in access exclusive mode")
            reading = [asyncio.create_task(ask(slow)) for _ in range(server.settings.database_pool_max + 4)]
            await asyncio.sleep(0.2)
            for number in range(20):
                point = {"runId": run_id, "points": [{"key": "loss", "value": number}]}
                answer = await ask({"query": LOG, "variables": {"input": point}})
                assert answer["data"]["logMetrics"]["__typename"] == "LogMetricsPayload"
            assert not any(task.done() for task in reading), "they still wait while points are stored"
            answers = await asyncio.gather(*reading)
        found = [error["extensions"] for answer in answers for error in answer["errors"]]
        assert {error["code"] for error in found} <= {"TIMEOUT", "UNAVAILABLE"}
        assert {error["retryable"] for error in found} == {True}
        assert sum(error["code"] == "TIMEOUT" for error in found) >= server.settings.database_pool_max
        assert (await ask(slow))["data"]["run"]["tagHistory"] == []


async def test_a_query_as_a_whole_has_an_end(server: Server, client: Client, pool: Pool) -> None:
    run_id = await client.create_run()
    headers = {"Authorization": f"Bearer {client.token}"}
    slow = {"query": f'{{ run(id: "{run_id}") {{ tagHistory {{ key }} }} }}'}
    async with (
        client_of(replace(server.settings, query_timeout_s=1)) as http,
        pool.acquire() as conn,
        conn.transaction(),
    ):
        await conn.execute("lock table tag_change in access exclusive mode")
        answer = await http.post("/graphql", json=slow, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["errors"][0]["extensions"]["code"] == "TIMEOUT"


async def test_subscriptions_have_a_cost_too(client: Client, server: Server) -> None:
    parents = "parent { " * 15 + "id" + " }" * 15
    async with watching(server, client.token) as watcher:
        error = await watcher.refusal(f"subscription {{ runEvents {{ run {{ {parents} }} }} }}")
        assert error["extensions"]["code"] == "QUERY_TOO_COMPLEX"
        assert error["extensions"]["cost"] == {"of": "levels", "requested": 18, "allowed": 12}
        await watcher.subscribe("subscription { runEvents { kind } }", "2")
        assert (await watcher.next("2"))["kind"] == "SUBSCRIBED"


async def test_process_ends_though_redis_overhears_that(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def overhear(_: Budgets) -> None:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(Budgets, "_share", overhear)
    nowhere = Redis(host="127.0.0.1", port=9)
    async with asyncio.timeout(30), open_budgets(nowhere, 6_000, ALLOWED) as budgets:
        budgets.spend("token", 1)
        await asked.wait()
    await nowhere.aclose()
