"""Finding runs: whichever plan answers, it is the same list; nobody finds what is not theirs."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from benchmarks import store, trainings
from benchmarks.trainings import Training
from db import filter_texts, filters, finding, runs, standings
from db.access import Role, Scope
from db.conditions import NEWEST_FIRST, All, Area, Condition, Field, Not, Order, Stat
from db.filter_texts import to_text
from db.filters import Plan, Question, Span, Statement
from db.pool import Pool
from db.runs import Placed
from tests.conftest import Client, People, Server
from tests.finding.naive import NaiveRun, holds, ordered
from tests.finding.randomly import Randomly, typed_order

RUNS = 1_200  # more than are looked at one after the other
CASES = 40
PAGE = 40

LIST = """
    query (
      $select: RunSelection, $orderBy: [RunOrder!], $first: Int! = 50, $after: Cursor, $last: Int, $before: Cursor
    ) {
      runs(select: $select, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
        nodes { id }
        totalCount
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }
"""
KEYS = """
    query ($select: RunSelection, $kinds: [RunKeyKind!], $search: String! = "", $first: Int! = 100, $after: Cursor) {
      runKeys(select: $select, kinds: $kinds, search: $search, first: $first, after: $after) {
        nodes { kind key types isNumeric runCount distinctCount differs }
        totalCount
        pageInfo { hasNextPage endCursor }
      }
    }
"""
LOG = """
    mutation ($input: LogMetricsInput!) { logMetrics(input: $input) { __typename } }
"""
FINISH = """
    mutation ($input: FinishRunInput!) { finishRun(input: $input) { __typename } }
"""
LAST_OF: dict[str, Any] = {"area": "METRIC", "key": "m", "stat": "LAST"}


def imagined(one: trainings.Training, project: str, by_id: dict[UUID, NaiveRun]) -> NaiveRun:
    """A made-up training as the naive evaluator knows runs."""
    parent = by_id[one.parent_id] if one.parent_id else None
    code = one.source
    source = {"commit": code.commit_id, "branch": code.branch, "remote": code.remote, "entryPoint": code.entry_point}
    return NaiveRun(
        id=one.id,
        name=one.name,
        experiment=one.experiment,
        user=f"{one.user}@{project}",
        status=one.status,
        created_at=one.created_at,
        started_at=one.created_at,
        finished_at=one.finished_at,
        group=one.group,
        ancestors=[parent.id, *parent.ancestors] if parent else [],
        params=one.params,
        metrics=dict(zip(trainings.KEYS, one.values.tolist(), strict=True)),
        tags=one.tags,
        source={key: text for key, text in source.items() if text} | {"dirty": bool(code.is_dirty)},
        datasets=[
            {"name": each.name, "digest": each.digest} | ({"context": each.context} if each.context else {})
            for each in one.datasets
        ],
    )


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[Client]:
    """The admin, in a new project that it has yet to make."""
    client = Client(server, server.token, f"p-{uuid4().hex[:12]}")
    yield client
    await client.close()


async def page(client: Client, **asked: Any) -> dict[str, Any]:
    """A page of runs with the ids of its nodes."""
    found: dict[str, Any] = (await client.ask(LIST, **asked))["runs"]
    return {"ids": [node["id"] for node in found["nodes"]], "total": found["totalCount"], **found["pageInfo"]}


async def test_every_plan_finds_the_same(admin: Client, pool: Pool) -> None:
    """Many runs, so that indexes are walked, sets are read and plans are changed; forwards and backwards."""
    url = admin.server.settings.database_url
    assert url is not None
    made = [trainings.training(admin.project, number) for number in range(RUNS)]
    made = [one if one.number % 3 else of_one_number(one) for one in made]
    await store.fill_with(url, admin.project, made)
    known: dict[UUID, NaiveRun] = {}
    for one in made:
        known[one.id] = imagined(one, admin.project, known)
    experiments = await pool.fetch(
        "select experiment.* from experiment join project on project.id = project_id where project.name = $1",
        admin.project,
    )
    for run in known.values():
        run.experiment_id = next(row["id"] for row in experiments if row["name"] == run.experiment)
    chance, randomly = random.Random(7), Randomly(7, list(known.values()), {})
    fields = [
        *(Field(Area.METRIC, key, stat) for key in ("loss", "val_acc") for stat in (Stat.LAST, Stat.MIN, Stat.MAX)),
        *(Field(Area.PARAM, key) for key in ("lr", "patience", "layers", "momentum", "warmup_steps")),
        *(Field(Area.TAG, key) for key in ("team", "note", "nothing")),
        *(Field(Area.ATTRIBUTE, key) for key in ("createdAt", "id", "name")),
    ]
    differences = []

    async def check(condition: Condition, orders: Sequence[Order]) -> None:
        found = ordered([run for run in known.values() if holds(condition, run, {})], orders, {})
        expected = [str(run.id) for run in found]
        asked = {
            "select": {"projectId": str(experiments[0]["project_id"]), "where": to_text(condition)},
            "orderBy": [typed_order(order) for order in orders],
        }
        first = await page(admin, **asked, first=PAGE)
        then = await page(admin, **asked, first=PAGE, after=first["endCursor"])
        last = await page(admin, **asked, last=PAGE)
        earlier = await page(admin, **asked, last=PAGE, before=last["startCursor"])
        seen = [first["ids"], then["ids"], last["ids"], earlier["ids"], first["total"], first["hasNextPage"]]
        wanted = [
            expected[:PAGE],
            expected[PAGE : 2 * PAGE] if expected else [],
            expected[-PAGE:],
            expected[-2 * PAGE : -PAGE] if len(expected) > PAGE else [],
            len(expected),
            len(expected) > PAGE,
        ]
        if seen != wanted:
            differences.append(f"{to_text(condition)} by {orders}")

    for _ in range(CASES // 4):
        cases = [
            (
                All(tuple(randomly.condition(depth=1) for _ in range(chance.choice([1, 2, 3])))),
                [Order(chance.choice(fields), chance.random() < 0.5)],
            )
            for _ in range(4)
        ]
        await asyncio.gather(*(check(*case) for case in cases))
    for field in fields:  # nearly all, to the end of each order
        await check(Not(randomly.condition(depth=0)), [Order(field, chance.random() < 0.5)])
    assert differences == []


def of_one_number(one: Training) -> Training:
    """The same, when its metrics never change: their least, greatest and last values are in one index."""
    return replace(one, values=np.repeat(one.values[:, -1:], one.values.shape[1], axis=1))


BY_ACC: Sequence[Order] = (Order(Field(Area.METRIC, "val_acc"), is_descending=True),)


@pytest.mark.parametrize("orders", [NEWEST_FIRST, BY_ACC])
async def test_a_walk_goes_on_from_what_was_tried(
    admin: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch, orders: Sequence[Order]
) -> None:
    """Forwards and backwards, to the end or until it is given up, whether runs log right now or not."""
    url = admin.server.settings.database_url
    assert url is not None
    await store.fill_with(url, admin.project, [trainings.training(admin.project, number) for number in range(400)])
    project_id = await pool.fetchval("select id from project where name = $1", admin.project)
    scope = Scope(uuid4(), "viewer", False, {project_id: Role.VIEWER})
    plans: list[Plan] = []
    listed = filters.listed

    def noted(question: Question, orders: Sequence[Order], span: Span, plan: Plan) -> Statement:
        plans.append(plan)
        return listed(question, orders, span, plan)

    monkeypatch.setattr(filters, "listed", noted)

    async def check(text: str) -> None:
        selection = runs.Selection(project_id=project_id, condition=filter_texts.parse(text, "where"))
        monkeypatch.setattr(finding, "TRIED", 1_000)  # so that all are looked at
        every = [placed async for placed in in_pages(selection, 500)]
        monkeypatch.setattr(finding, "TRIED", 30)
        for step in (7, 25):
            assert [placed async for placed in in_pages(selection, step)] == every
            assert [placed async for placed in in_pages(selection, step, is_backward=True)] == every[::-1]

    async def in_pages(selection: runs.Selection, limit: int, *, is_backward: bool = False) -> AsyncIterator[Placed]:
        span = Span(limit, is_backward=is_backward)
        while found := await runs.page(pool, scope, selection, orders, span=span):
            for placed in reversed(found) if is_backward else found:
                yield placed
            end = found[0 if is_backward else -1].position
            span = replace(span, before=end) if is_backward else replace(span, after=end)

    for text in ("tags.team = 'a'", "tags.team = 'a' AND params.lr < 0.01", "NOT tags.team = 'a' AND 'warmup'"):
        await check(text)
    run_id = await admin.create_run(tags=[{"key": "team", "value": "a"}], params=[{"key": "lr", "value": 0.001}])
    point = {"key": "val_acc", "step": 0, "value": 0.5}
    await admin.ask(LOG, input={"runId": run_id, "points": [point]})
    await check("tags.team = 'a' AND params.lr < 0.01 AND metrics.val_acc > 0.1")
    monkeypatch.setattr(finding, "SHOWN_US", 0.0)  # so that what is looked up waits for the sorting
    await check("tags.team = 'a' AND params.lr < 0.01 AND NOT 'warmup'")
    walks = [plan.most for plan in plans if plan.is_walk and plan.most not in (None, 30)]
    looks = [plan for plan in plans if plan.start is not None]
    assert walks
    assert looks
    assert any(plan.late for plan in looks)


@pytest.mark.parametrize("order", [None, LAST_OF, {**LAST_OF, "descending": True}])
async def test_pages_neither_repeat_nor_skip_while_runs_come(client: Client, order: dict[str, Any] | None) -> None:
    """Some values are not compacted yet, some are by the end; new runs get in before, between and behind."""
    chance = random.Random(3)

    async def add() -> str:
        run_id = await client.create_run()
        if chance.random() < 0.8:
            point = {"key": "m", "step": 0, "value": chance.choice([1, 2, chance.random() * 3])}
            await client.ask(LOG, input={"runId": run_id, "points": [point]})
        return run_id

    there = [await add() for _ in range(20)]
    asked: dict[str, Any] = {"orderBy": [order] if order else None, "first": 3}
    seen: list[str] = []
    found = await page(client, **asked)
    while True:
        seen += found["ids"]
        if not found["hasNextPage"]:
            break
        await add()
        found = await page(client, **asked, after=found["endCursor"])
        assert len(seen) < 200

    assert len(set(seen)) == len(seen)
    assert set(there) <= set(seen)


async def test_nobody_finds_what_others_logged(people: People, client: Client, stranger: Client) -> None:
    """A logger sees its own runs; neither filters, counts nor facets tell of others."""
    logger = await people.member(client.project, Role.LOGGER)
    given = {"params": [{"key": "secret", "value": 1}], "tags": [{"key": "hidden", "value": "x"}]}
    theirs = await client.create_run(**given)
    await client.ask(LOG, input={"runId": theirs, "points": [{"key": "m", "step": 0, "value": 1.0}]})
    await stranger.create_run(**given)
    own = await logger.create_run(params=[{"key": "mine", "value": 2}])

    for where, order in (
        ("params.secret = 1", {"area": "PARAM", "key": "secret"}),
        ("tags.hidden = 'x'", {"area": "TAG", "key": "hidden"}),
        ("metrics.m > 0", LAST_OF),
    ):
        assert (await page(client, select={"where": where}, orderBy=[order]))["ids"] == [theirs]
        found = await page(logger, select={"where": where}, orderBy=[order])
        assert (found["ids"], found["total"]) == ([], 0)
        everything = await page(logger, select={"where": f"NOT {where}"}, orderBy=[order])
        assert (everything["ids"], everything["total"]) == ([own], 1)
    keys = (await logger.ask(KEYS, kinds=["PARAM", "TAG", "METRIC"]))["runKeys"]
    assert [node["key"] for node in keys["nodes"]] == ["mine"]
    keys = (await client.ask(KEYS, kinds=["PARAM", "TAG", "METRIC"]))["runKeys"]
    assert [(node["key"], node["runCount"]) for node in keys["nodes"]] == [
        ("m", 1), ("mine", 1), ("secret", 1), ("hidden", 1),
    ]  # fmt: skip


async def test_metrics_are_among_the_facets_when_they_are_compacted(client: Client, pool: Pool) -> None:
    """Those of one number, of several, and of one that is not finite."""
    run_id = await client.create_run()
    logged: list[dict[str, Any]] = [
        {"once": 1.0, "curve": 1.0, "same": 2.0, "broken": "NaN"},
        {"curve": 2.0, "same": 2.0},
    ]
    for step, values in enumerate(logged):
        points = [{"key": key, "step": step, "value": value} for key, value in values.items()]
        await client.ask(LOG, input={"runId": run_id, "points": points})
    await client.ask(FINISH, input={"runId": run_id})
    async with asyncio.timeout(30):
        while await pool.fetchval("select exists (select from block where run_id = $1)", UUID(run_id)):
            await asyncio.sleep(0.05)
    found = (await client.ask(KEYS, kinds=["METRIC"]))["runKeys"]
    assert [node["key"] for node in found["nodes"]] == ["broken", "curve", "once", "same"]
    first = (await client.ask(KEYS, kinds=["METRIC"], first=3))["runKeys"]
    rest = (await client.ask(KEYS, kinds=["METRIC"], after=first["pageInfo"]["endCursor"]))["runKeys"]
    assert [node["key"] for node in rest["nodes"]] == ["same"]


async def test_facets_tell_types_and_differences(client: Client) -> None:
    one = await client.create_run(
        params=[{"key": "lr", "value": 0.1}, {"key": "kind", "value": "a"}, {"key": "same", "value": 1}]
    )
    await client.create_run(
        params=[{"key": "lr", "value": 1}, {"key": "kind", "value": [1]}, {"key": "same", "value": 1}],
        tags=[{"key": "lr note", "value": "x" * 300}],
    )
    wide = {"key": "lr", "types": ["FLOAT", "INT"], "isNumeric": True, "runCount": 2, "distinctCount": 2}

    found = (await client.ask(KEYS, kinds=["PARAM", "TAG"], search="LR"))["runKeys"]
    assert found["nodes"][0] == {"kind": "PARAM", **wide, "differs": True}
    assert [(node["kind"], node["key"]) for node in found["nodes"][1:]] == [("TAG", "lr note")]
    first = (await client.ask(KEYS, kinds=["PARAM", "TAG"], first=2))["runKeys"]
    rest = (await client.ask(KEYS, kinds=["PARAM", "TAG"], first=9, after=first["pageInfo"]["endCursor"]))["runKeys"]
    shown = [*first["nodes"], *rest["nodes"]]
    assert [node["key"] for node in shown] == ["kind", "lr", "same", "lr note"]
    assert [node["differs"] for node in shown] == [True, True, False, True]
    assert first["totalCount"] == 4
    selected = (await client.ask(KEYS, select={"runIds": [one]}, kinds=["PARAM"]))["runKeys"]["nodes"]
    assert [(node["key"], node["types"], node["differs"]) for node in selected] == [
        ("kind", ["STRING"], False), ("lr", ["FLOAT"], False), ("same", ["INT"], False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["'; drop table run; --", "x' or '1'='1", "$1", "%", "{0}", 'a" or "', "\\'; --", "/*"]
)
async def test_texts_are_only_texts(client: Client, text: str) -> None:
    """Keys and values that would be more in SQL find what has them, and nothing else."""
    run_id = await client.create_run(params=[{"key": text, "value": text}], tags=[{"key": text, "value": text}])
    await client.create_run(params=[{"key": "k", "value": "v"}], tags=[{"key": "k", "value": "v"}])

    for area in ("param", "tag"):
        for operator in ("eq", "like"):
            asked = {"filter": {area: {"key": text, operator: text}}}
            assert (await page(client, select=asked))["ids"] == [run_id]
        order = [{"area": area.upper(), "key": text}]
        assert (await page(client, orderBy=order))["ids"][0] == run_id
    assert (await page(client, select={"filter": {"mentions": text}}))["total"] == 0
    assert (await client.ask(KEYS, search=text))["runKeys"]["totalCount"] == 2


async def test_a_cursor_is_of_its_list(client: Client) -> None:
    for _ in range(3):
        await client.create_run(params=[{"key": "lr", "value": 1}])
    by_lr = {"orderBy": [{"area": "PARAM", "key": "lr"}], "select": {"where": "params.lr = 1"}}
    cursor = (await page(client, **by_lr, first=1))["endCursor"]
    edited = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]

    for asked in (
        {**by_lr, "after": edited},
        {**by_lr, "before": edited, "last": 1},
        {"after": cursor},
        {**by_lr, "select": {"where": "params.lr = 2"}, "after": cursor},
        {**by_lr, "orderBy": [{"area": "PARAM", "key": "lr", "descending": True}], "after": cursor},
    ):
        error = await client.refused(LIST, **asked)
        assert error["extensions"]["code"] == "VALIDATION"
    error = await client.refused(LIST, last=501)
    assert error["extensions"]["path"] == "last"


async def test_compaction_and_the_blocks_before_it_say_the_same(client: Client, pool: Pool) -> None:
    """Of a run that logs keys in several lists, while it runs and when it has ended."""
    run_id = await client.create_run()
    for step, keys in enumerate((["m", "a"], ["m"], ["m", "b"])):
        points = [{"key": key, "step": 10 - step, "value": float(step + 1)} for key in keys]
        await client.ask(LOG, input={"runId": run_id, "points": points})
    asked = {"where": "metrics.m = 1 AND first(metrics.m) = 3 AND max(metrics.m) = 3 AND count(metrics.m) = 3"}

    assert (await page(client, select=asked))["ids"] == [run_id]
    await client.ask(FINISH, input={"runId": run_id})
    async with asyncio.timeout(30):
        while await pool.fetchval("select exists (select from block where run_id = $1)", UUID(run_id)):
            assert (await page(client, select=asked))["ids"] == [run_id]
            await asyncio.sleep(0.05)
    assert (await page(client, select=asked))["ids"] == [run_id]
    before = await pool.fetch("select * from metric where run_id = $1 order by key", UUID(run_id))
    assert [row["key"] for row in before] == ["a", "b", "m"]
    async with pool.acquire() as conn:
        await standings.put(conn, [UUID(run_id)])
    assert await pool.fetch("select * from metric where run_id = $1 order by key", UUID(run_id)) == before
