"""Random filters and orders, through both doors, against an evaluator in plain Python over the same runs."""

import asyncio
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from db.access import Role
from db.conditions import Stat
from db.filter_texts import to_text
from tests.conftest import Client, People, new_id
from tests.finding.naive import NaiveRun, Scalar, holds, ordered
from tests.finding.randomly import Randomly, typed, typed_order

FILTERS = 1_000  # each through two doors
RUNS = 32
REQUESTS = 3  # on their way together
GOALS = {"loss": Stat.MIN, "acc/top-1": Stat.MAX}

RECORD = """
    mutation (
      $run: CreateRunInput!, $metrics: LogMetricsInput!, $inputs: LogInputsInput!
      $end: FinishRunInput!, $ends: Boolean!
    ) {
      createRun(input: $run) { __typename ... on UserError { message } }
      logMetrics(input: $metrics) { __typename ... on UserError { message } }
      logInputs(input: $inputs) { __typename ... on UserError { message } }
      finishRun(input: $end) @include(if: $ends) { __typename ... on UserError { message } }
    }
"""
SET_GOAL = """
    mutation ($input: SetMetricGoalInput!) { setMetricGoal(input: $input) { __typename } }
"""
READ = """
    query ($select: RunSelection!) {
      runs(select: $select, first: 500) {
        nodes { id createdAt finishedAt project { id } experiment { id } createdBy { name } }
      }
    }
"""
AT_ONCE = 5  # filters of a request
FIND = "query ({}) {{ {} }}".format(
    " ".join(f"$text{n}: RunSelection!, $typed{n}: RunSelection!, $order{n}: [RunOrder!]" for n in range(AT_ONCE)),
    " ".join(
        f"{door}{n}: runs(select: ${door}{n}, orderBy: $order{n}, first: 500) {{ nodes {{ id }} }}"
        for n in range(AT_ONCE)
        for door in ("text", "typed")
    ),
)

PARAMS: dict[str, list[Scalar | None]] = {
    "lr": [0.1, 0.01, 1e-5, 1, "0.01", None, math.nan],
    "layers": [1, 2, 3, 10, -4, 0, 2.0],
    "optimizer": ["adam", "Adam", "sgd", "sgd_momentum", "", "100%", "größe"],
    "amp": [True, False, "true", 1],
    "sizes": [[1, "a"], [2], "[2]"],
    "long": ["x" * 100 + "a", "x" * 100 + "B", "x" * 99 + "y", "x" * 100, "X" * 101],
    "my key": ["x", "it's", 'say "x"', "\\", "two\nlines"],
}
SERIES: list[list[float]] = [
    [0.5],
    [3.0, 0.25, 1.0],
    [math.nan],
    [1.0, math.nan],
    [math.inf, 2.0, -math.inf],
    [-0.0, 0.0],
    [7, 7, 7],
]
TAGS = {"team": ["vision", "Vision", "nlp"], "stage": ["prod", "production", "_"], "note": ["a Warm start", "baseline"]}
SOURCE: dict[str, list[str | bool]] = {
    "commit": ["c0ffee", "deadbeef"],
    "branch": ["main", "wip/x"],
    "remote": ["https://example.org/a.git"],
    "dirty": [True, False],
    "entryPoint": ["train.py", "eval.py"],
}
DATASETS = [
    {"name": name, "digest": digest, "context": context}
    for name, digest, context in (("mnist", "d1", "training"), ("mnist", "d2", "test"), ("cifar", "d3", "training"))
]


def imagined(chance: random.Random, earlier: Sequence[NaiveRun]) -> NaiveRun:
    """A run that is to be made."""

    def some(choices: dict[str, list[Any]]) -> dict[str, Any]:
        return {key: chance.choice(values) for key, values in choices.items() if chance.random() < 0.6}

    parent = chance.choice(earlier) if earlier and chance.random() < 0.5 else None
    return NaiveRun(
        id=UUID(new_id()),
        name=f"{chance.choice(['quiet', 'Loud', 'warm'])} {chance.choice(['basalt', 'RESNET-50', 'x_1'])}",
        experiment=chance.choice(["digits", "letters"]),
        user="",
        status=chance.choice(["RUNNING", "FINISHED", "FINISHED", "FAILED", "KILLED"]),
        started_at=chance.choice([None, datetime(2026, 1, 31, tzinfo=UTC) + timedelta(days=chance.randrange(3))]),
        group=chance.choice([None, "seeds", "folds"]),
        ancestors=[parent.id, *parent.ancestors] if parent else [],
        params=some(PARAMS),
        metrics={key: chance.choice(SERIES) for key in ("loss", "acc/top-1", "f1") if chance.random() < 0.7},
        tags=some(TAGS),
        source=some(SOURCE),
        datasets=chance.sample(DATASETS, chance.randrange(3)),
    )


async def record(client: Client, run: NaiveRun) -> None:
    """Log the run as a training would."""
    points = [
        {"key": key, "step": step, "value": _json(value)}
        for key, series in run.metrics.items()
        for step, value in enumerate(series)
    ]
    given = {
        "id": str(run.id),
        "project": client.project,
        "experiment": run.experiment,
        "name": run.name,
        "group": run.group,
        "parentId": str(run.ancestors[0]) if run.ancestors else None,
        "startedAt": run.started_at.isoformat() if run.started_at else None,
        "params": [
            {"key": key, "value": _json(value), "type": "FLOAT" if isinstance(value, float) else None}
            for key, value in run.params.items()
        ],
        "tags": [{"key": key, "value": value} for key, value in run.tags.items()],
        "source": run.source or None,
    }
    ends = run.status != "RUNNING"
    answer = await client.ask(
        RECORD,
        run=given,
        metrics={"runId": given["id"], "points": points},
        inputs={"runId": given["id"], "inputs": run.datasets},
        end={"runId": given["id"], "status": run.status if ends else "FINISHED"},
        ends=ends,
    )
    assert all("message" not in result for result in answer.values()), answer


def _json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


async def read(client: Client, runs: Sequence[NaiveRun]) -> str:
    """Note what the server made of the runs; the id of their project."""
    by_id = {str(run.id): run for run in runs}
    nodes = (await client.ask(READ, select={"runIds": list(by_id)}))["runs"]["nodes"]
    assert len(nodes) == len(runs)
    for node in nodes:
        run = by_id[node["id"]]
        run.user = node["createdBy"]["name"]
        run.experiment_id = UUID(node["experiment"]["id"])
        run.created_at = datetime.fromisoformat(node["createdAt"])
        run.finished_at = datetime.fromisoformat(node["finishedAt"]) if node["finishedAt"] else None
    return str(nodes[0]["project"]["id"])


@pytest.fixture
async def runs(client: Client, people: People) -> list[NaiveRun]:
    """Runs of two people, recorded."""
    chance = random.Random(4)
    other = await people.member(client.project, Role.EDITOR)
    for key, goal in GOALS.items():
        given = {"projectName": client.project, "key": key, "goal": f"{goal}IMIZE"}
        assert (await client.ask(SET_GOAL, input=given))["setMetricGoal"]["__typename"] == "SetMetricGoalPayload"
    made: list[NaiveRun] = []
    for _ in range(RUNS):
        made.append(imagined(chance, made))
        await record(chance.choice([client, client, other]), made[-1])
    return made


async def test_random_filters_and_orders_agree_with_plain_python(client: Client, runs: list[NaiveRun]) -> None:
    project_id = await read(client, runs)
    randomly = Randomly(2026, runs, GOALS)
    cases = [(randomly.condition(), randomly.orders()) for _ in range(FILTERS)]
    expected = [ordered([run for run in runs if holds(one, run, GOALS)], orders, GOALS) for one, orders in cases]
    differences: list[str] = []

    async def check(start: int) -> None:
        asked: dict[str, Any] = {}
        for place, (condition, orders) in enumerate(cases[start : start + AT_ONCE]):
            asked[f"text{place}"] = {"projectId": project_id, "where": to_text(condition)}
            asked[f"typed{place}"] = {"projectId": project_id, "filter": typed(condition)}
            asked[f"order{place}"] = [typed_order(order) for order in orders]
        data = await client.ask(FIND, **asked)
        for name, page in data.items():
            place = start + int(name[-1])
            if [node["id"] for node in page["nodes"]] != [str(run.id) for run in expected[place]]:
                differences.append(f"{name[:-1]}: {to_text(cases[place][0])} by {cases[place][1]}")

    waiting = iter(range(0, FILTERS, AT_ONCE))

    async def work() -> None:
        for start in waiting:
            await check(start)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(REQUESTS):
            tasks.create_task(work())

    assert differences == []
    assert sum(0 < len(found) < RUNS for found in expected) > FILTERS / 2
