"""Finding and comparing: lists, counts, columns and comparisons of a store of many runs, and what a new run costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import orjson

from benchmarks import floor, memory, store, trainings
from benchmarks.bench import Bench
from benchmarks.peers import fasttrackml, mlflow
from benchmarks.peers.rest import Peer, metrics, run_id_of
from benchmarks.points import Batch
from benchmarks.reading import timed
from benchmarks.report import Section
from benchmarks.server import CREATE, LOG, Server, block, data_of, new_run, new_writer, payload
from benchmarks.statements import Statements, counting
from benchmarks.trainings import KEYS, Training
from benchmarks.wire import Refused
from db import ids

PROJECT: Final = store.PROJECT
SMALL: Final = "store-small"
COMPARED: Final = 100
COMPARED_PARAMS: Final = 30  # of each of these
MANY: Final = 1_000
PAGE: Final = 500

THREE: Final = "params.lr < 0.01 AND tags.team = 'a' AND metrics.val_loss < 0.5"
MIXED: Final = (
    "(params.lr < 0.01 OR params.optimizer IN ('sgd', 'lion')) AND NOT metrics.val_loss > 0.5 "
    "AND tags.team IN ('a', 'b') AND 'warmup'"
)
BY_METRIC: Final = [{"text": "metrics.val_acc DESC"}]

LIST: Final = """
query List($select: RunSelection!, $orderBy: [RunOrder!], $first: Int!, $after: Cursor) {
  runs(select: $select, orderBy: $orderBy, first: $first, after: $after) {
    nodes { id name status createdAt } pageInfo { endCursor hasNextPage }
  }
}
"""

COUNT: Final = """
query Count($select: RunSelection!) { runs(select: $select, first: 1) { totalCount } }
"""

NESTED: Final = """
query Nested($select: RunSelection!) {
  runs(select: $select, first: 100) {
    nodes { id params { nodes { key type value } } metrics { nodes { key last min max count } } }
  }
}
"""

FRAME: Final = """
query Frame($select: RunSelection!, $columns: [RunColumn!]!) {
  runFrame(select: $select, columns: $columns, first: 1000) { ids columns { key numeric differs cells } }
}
"""

COMPARE: Final = """
query Compare($runIds: [ID!]!) {
  compareRuns(select: {runIds: $runIds}) {
    runIds
    params { key differs values } tags { key differs values } metrics { key differs last min max delta }
  }
}
"""

COMPARE_ALL: Final = """
query CompareAll($runIds: [ID!]!) {
  compareRuns(select: {runIds: $runIds}) {
    runIds totalKeys differingKeys
    params { key differs values types } tags { key differs values }
    metrics { key differs last min max count delta relativeDelta }
    source { key differs values } environment { key differs values } inputs { key differs values }
  }
}
"""

PROJECT_ID: Final = """
query ProjectId($name: String!) { project(name: $name) { id } }
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and within how many milliseconds it is to be answered."""

    name: str
    goal_ms: float
    query: str
    variables: dict[str, Any]


async def measure(bench: Bench) -> Section:
    """Milliseconds over HTTP, and of those how many in the database."""
    runs = bench.choose(full=100_000, quick=10_000)
    section = Section(
        f"Find and compare: a store of {runs:,} runs x {trainings.PARAMS} params x {len(KEYS)} metrics",
        "Until the last byte of the answer. Database: planning and execution of the statements of a request, by "
        "pg_stat_statements. KiB: of the answer, uncompressed.",
    )
    server = bench.server
    await store.fill(server.database_url, PROJECT, runs)
    async with counting(server.pool) as statements:
        await _questions(bench, section, statements, runs)
        with section.trying(CREATING):
            await _creating(bench, section, statements)
        with section.trying("compareRuns"):
            await _comparing(bench, section, statements)
    bench.note_absent(section)
    return section


async def _questions(bench: Bench, section: Section, statements: Statements, runs: int) -> None:
    """A row and a goal for each question."""
    server, times = bench.server, bench.choose(full=21, quick=9)
    project_id = (await server.ask(PROJECT_ID, name=PROJECT))["project"]["id"]
    for asked in await _asked(server, project_id, runs):
        with section.trying(asked.name):
            request = server.request(asked.query, **asked.variables)
            answer = await server.answer(request)
            data_of(answer)
            section.add(asked.name, **await _figures(server, statements, request, times), KiB=len(answer) / 1024)
        section.at_most(asked.name, section.median("ms", asked.name), asked.goal_ms, "ms")


async def _figures(
    server: Server, statements: Statements, request: bytes, times: int
) -> dict[str, Sequence[float] | float]:
    """What the request takes: over HTTP each time, and of the database and the api process on average."""
    api = server.process("api")
    before_s = memory.cpu_s(api)
    async with statements.of(times) as database:
        taken = await timed(times, lambda: server.answer(request), warm=False)
    return {"ms": taken, "database_ms": database.ms, "api_CPU_ms": (memory.cpu_s(api) - before_s) * 1000 / times}


async def _asked(server: Server, project_id: str, runs: int) -> list[Asked]:
    """The questions of the table of goals."""
    everything = {"projectId": project_id}
    three, mixed = {**everything, "where": THREE}, {**everything, "where": MIXED}
    behind = await _cursor(server, {"select": everything, "orderBy": BY_METRIC}, runs // 2)
    newest = await _newest(server, everything, MANY)
    columns = [{"area": "PARAM", "key": key} for key in trainings.training(PROJECT, 0).params]
    columns += [{"area": "METRIC", "key": key} for key in KEYS]
    top: dict[str, Any] = {"first": 50, "orderBy": BY_METRIC}
    return [
        Asked("first 50 by a metric", 10, LIST, {"select": everything, **top}),
        Asked(f"50 by a metric, behind the {runs // 2:,}th", 10, LIST, {"select": everything, **top, "after": behind}),
        Asked("three conditions, newest 50", 30, LIST, {"select": three, "first": 50}),
        Asked("three conditions, top 50 by a metric", 10, LIST, {"select": three, **top}),
        Asked("OR, NOT, IN, text search, newest 50", 60, LIST, {"select": mixed, "first": 50}),
        Asked("OR, NOT, IN, text search, top 50 by a metric", 60, LIST, {"select": mixed, **top}),
        Asked("count of three conditions", 60, COUNT, {"select": three}),
        Asked("count of everything", 60, COUNT, {"select": everything}),
        Asked(f"{MANY:,} runs as columns", 60, FRAME, {"select": everything, "columns": columns}),
        Asked("100 runs as nested lists", 60, NESTED, {"select": everything}),
        Asked(f"compareRuns of {MANY:,} runs, everything", 150, COMPARE_ALL, {"runIds": newest}),
    ]


async def _cursor(server: Server, variables: dict[str, Any], behind: int) -> str:
    """The cursor behind so many runs of a list."""
    cursor = None
    for _ in range(behind // PAGE):
        data = await server.ask(LIST, **variables, first=PAGE, after=cursor)
        cursor = data["runs"]["pageInfo"]["endCursor"]
    assert cursor is not None
    return str(cursor)


async def _newest(server: Server, select: dict[str, Any], count: int) -> list[str]:
    """The ids of the newest runs."""
    found: list[str] = []
    cursor = None
    while len(found) < count:
        data = await server.ask(LIST, select=select, first=PAGE, after=cursor)
        found += [node["id"] for node in data["runs"]["nodes"]]
        cursor = data["runs"]["pageInfo"]["endCursor"]
    return found[:count]


CREATING: Final = "creating a run"
ENDING: Final = "ending it"
FLOOR: Final = "the rows of such a run, with their indexes and without any rule"


async def _creating(bench: Bench, section: Section, statements: Statements) -> None:
    """What a run costs the database until its metrics are found by their values, beside its rows alone; and its end.

    The worker writes the rows of metrics when runs end. Then statements that ran once a run are those of its end, and
    what ran less often is the worker's: a part of creating the run. In turns, since the machine's speed changes.
    """
    rounds, runs, server = bench.choose(full=9, quick=3), bench.choose(full=25, quick=15), bench.server
    over_http: list[float] = []
    created_ms, ended_ms, alone_ms = [], [], []

    async def begin(run_id: str, one: Training) -> None:
        given = {
            "id": run_id,
            "project": PROJECT,
            "experiment": one.experiment,
            "name": one.name,
            "params": [{"key": key, "value": value} for key, value in one.params.items()],
            "tags": [{"key": key, "value": value} for key, value in one.tags.items()],
        }
        payload(await server.ask(CREATE, input=given))
        batch = Batch(0, one.steps[-1:], one.times[-1:], one.values[:, -1:])
        payload(await server.ask(LOG, runId=run_id, writerId=new_writer(), blocks=[block(0, KEYS, batch)]))

    await begin(new_run(), _new(0))
    for first in range(0, rounds * runs, runs):
        made = {new_run(): _new(number) for number in range(first, first + runs)}
        async with statements.of(runs) as begun:
            for run_id, one in made.items():
                over_http += await timed(1, partial(begin, run_id, one), warm=False)
        async with statements.of(runs) as ended:
            await bench.settle(list(made))
        async with statements.of(runs) as alone:
            await floor.write(server.database_url, PROJECT, [replace(one, id=ids.new()) for one in made.values()])
        created_ms.append(begun.ms + begun.rest_ms + ended.rest_ms)
        ended_ms.append(ended.ms)
        alone_ms.append(alone.ms)
    section.add(CREATING, "with its metrics, their compaction and all index rows", ms=over_http, database_ms=created_ms)
    section.add(ENDING, database_ms=ended_ms)
    section.add(FLOOR, database_ms=alone_ms)
    section.at_most(f"{CREATING}, in the database", section.median("database ms", CREATING), 3, "ms")


def _new(number: int) -> Training:
    """A run that nobody has logged yet, which stands alone."""
    return replace(trainings.training("new", number), ancestor_ids=[], datasets=())


async def _comparing(bench: Bench, section: Section, statements: Statements) -> None:
    """A hundred runs side by side, and the same runs as the peers list them."""
    times, server = bench.choose(full=21, quick=9), bench.server
    name = f"compareRuns of {COMPARED} runs, {COMPARED_PARAMS} params"
    made = [_shorter(trainings.training(SMALL, number)) for number in range(COMPARED)]
    await store.fill_with(server.database_url, SMALL, made)
    run_ids = [str(one.id) for one in made]
    request = server.request(COMPARE, runIds=run_ids)
    compared = data_of(await server.answer(request))["compareRuns"]
    logged = {key for one in made for key in one.params}
    if (len(compared["params"]), len(compared["metrics"])) != (len(logged), len(KEYS)):
        raise Refused("the comparison lacks some of what was logged")
    size_kib = len(await server.answer(request)) / 1024
    section.add(name, **await _figures(server, statements, request, times), KiB=size_kib)
    for peer in bench.peers:
        with section.trying(_listing(peer.name)):
            await _peer(peer, section, made, times)
    section.at_most(f"{name}: faster than {fasttrackml.NAME}", section.ratio("ms", name, _listing(fasttrackml.NAME)), 1)
    section.at_most(f"{name}: 0.1 x {mlflow.NAME}", section.ratio("ms", name, _listing(mlflow.NAME)), 0.1)


def _listing(peer: str) -> str:
    return f"{peer}: runs/search of the same runs"


def _shorter(one: Training) -> Training:
    """The same with fewer params, alone, and without NaN, which peers do not take in JSON."""
    params = dict(list(one.params.items())[:COMPARED_PARAMS])
    return replace(one, params=params, ancestor_ids=[], values=np.nan_to_num(one.values))


async def _peer(peer: Peer, section: Section, made: Sequence[Training], times: int) -> None:
    """The same runs in a peer, with their last values, and all in one answer."""
    with peer.connected() as client:
        experiment_id = await peer.experiment(client, "compared")
        for one in made:
            run_id = run_id_of(await client.ask(peer.create(experiment_id, tags=one.tags)))
            batch = Batch(0, one.steps[-1:], one.times[-1:], one.values[:, -1:])
            given = [{"key": key, "value": str(value)} for key, value in one.params.items()]
            logged = {"run_id": run_id, "params": given, "metrics": metrics(KEYS, batch)}
            await client.ask(peer.post("runs/log-batch", logged))
        request = peer.post("runs/search", {"experiment_ids": [experiment_id], "max_results": COMPARED})
        answer = await client.ask(request)
        found = orjson.loads(answer)["runs"]
        if len(found) != COMPARED or len(found[0]["data"]["params"]) != COMPARED_PARAMS:
            raise Refused(f"{len(found)} runs are listed")
        section.add(_listing(peer.name), ms=await timed(times, lambda: client.ask(request)), KiB=len(answer) / 1024)
