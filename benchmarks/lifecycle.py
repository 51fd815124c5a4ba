"""The life of a run: created with its params and tags, given its final metrics, finished."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks import bare, limits, points
from benchmarks.bench import Bench
from benchmarks.cpu import Spent, spending
from benchmarks.live import echoing
from benchmarks.load import Load, Outcome, Talk
from benchmarks.peers import fasttrackml
from benchmarks.peers.rest import Peer, metrics, run_id_of
from benchmarks.points import START_MS, Batch
from benchmarks.report import Section
from benchmarks.server import CREATE, Requester, Server, block, data_of, new_run, new_writer, payload
from benchmarks.wire import Refused
from db import ids

CLIENTS: Final = 8
PARAMS: Final = 30
TAGS: Final = 5
KEYS: Final = 10
COLUMN: Final = "runs/s"
OURS: Final = "Runstone"
ECHO: Final = "echo of the same bodies"
ROWS: Final = "the rows and their indexes without any rule"

END = """
mutation End($runId: ID!, $writerId: ID!, $blocks: [MetricBlockInput!]!) {
  logMetrics(input: {runId: $runId, writerId: $writerId, blocks: $blocks}) {
    __typename ... on UserError { code message }
  }
  finishRun(input: {runId: $runId}) { __typename ... on UserError { code message } }
}
"""

RUN = """
query Run($id: ID!) {
  run(id: $id) { status params { nodes { key value } } tags { key value } metrics { nodes { key last } } }
}
"""


def params() -> list[tuple[str, float]]:
    """Settings of a run."""
    return [(f"param_{number:02}", 0.125 * number) for number in range(PARAMS)]


def tags() -> list[tuple[str, str]]:
    """Annotations of a run."""
    return [(f"tag_{number}", f"text of tag {number}") for number in range(TAGS)]


def final() -> Batch:
    """The last value of each metric."""
    return Batch(0, np.array([100]), np.array([START_MS]), points.curve(KEYS, 1, seed=0))


class Lives:
    """The lives of a client's runs, one after the other: two requests each, made before the clock starts.

    Ids begin with the time. These are of runs that begin at the clients by turns, one every millisecond.
    """

    def __init__(self, server: Requester, client: int, runs: int) -> None:
        times_ms = range(client, CLIENTS * runs, CLIENTS)
        self.run_ids = [new_run(in_ms) for in_ms in times_ms]
        self.requests = [
            request
            for run_id, in_ms in zip(self.run_ids, times_ms, strict=True)
            for request in self._requests(server, run_id, new_writer(in_ms))
        ]

    def talk(self) -> Talk:
        """Create, then log and finish."""
        for request in self.requests:
            payload(data_of((yield request)))

    def _requests(self, server: Requester, run_id: str, writer_id: str) -> tuple[bytes, bytes]:
        """What creates the run, and what logs and finishes it."""
        given = {
            "id": run_id,
            "experiment": "lives",
            "name": "bench",
            "params": [{"key": key, "value": value} for key, value in params()],
            "tags": [{"key": key, "value": value} for key, value in tags()],
        }
        blocks = [block(0, points.keys(KEYS), final())]
        return (
            server.request(CREATE, input=given),
            server.request(END, runId=run_id, writerId=writer_id, blocks=blocks),
        )


@dataclass(frozen=True, slots=True)
class Echoes:
    """The same requests to a server that only sends them back."""

    lives: Lives

    def talk(self) -> Talk:
        """As `Lives`."""
        for request in self.lives.requests:
            if not (yield request):
                raise Refused("the echo is empty")


@dataclass(frozen=True, slots=True)
class PeerLives:
    """The same over a peer's API: three requests each."""

    peer: Peer
    experiment_id: str
    runs: int

    def talk(self) -> Talk:
        """Create with tags, log params and metrics, finish."""
        for _ in range(self.runs):
            run_id = run_id_of((yield self.peer.create(self.experiment_id, tags=dict(tags()))))
            yield self.peer.post(
                "runs/log-batch",
                {
                    "run_id": run_id,
                    "params": [{"key": key, "value": str(value)} for key, value in params()],
                    "metrics": metrics(points.keys(KEYS), final()),
                },
            )
            yield self.peer.finish(run_id)


async def measure(bench: Bench) -> Section:
    """Runs per second of each contender, and the CPU that a run takes."""
    section = Section(
        f"Run lifecycle: create, {PARAMS} params, {TAGS} tags, {KEYS} final metrics, finish; {CLIENTS} clients",
        "Runstone takes two requests a run, the peers' API three. Every run is read back. CPU: of all processes that "
        "serve a run, until its metrics are compacted and found by their values; the load generator's comes on top.",
    )
    runs = bench.choose(full=50, quick=15)
    found: defaultdict[str, list[Figures]] = defaultdict(list)
    peers: dict[str, Callable[[], Awaitable[Figures]]] = {
        peer.name: partial(_peer, bench, peer, min(runs, 20)) for peer in bench.peers
    }
    async with echoing(bench.server) as (door, _):
        for _ in range(bench.choose(full=9, quick=3)):
            found[OURS].append(await _ours(bench, runs))
            found[ECHO].append(await _echo(bench, Requester(door), runs))
            for at_once in (1, CLIENTS):
                found[f"{ROWS}, {at_once} at a time"].append(await _rows(bench, runs, at_once))
            await bench.turn(section, peers, found)
    for name, figures in found.items():
        _add(section, name, figures)
    bench.note_absent(section)
    section.at_least("at least 5 x FastTrackML", section.ratio(COLUMN, OURS, fasttrackml.NAME), 5)
    return section


@dataclass(frozen=True, slots=True)
class Figures:
    """One repetition of a contender."""

    runs: int
    seconds: float
    spent: Spent


def _add(section: Section, name: str, figures: Sequence[Figures]) -> None:
    section.add(
        name,
        runs_per_s=[each.runs / each.seconds for each in figures],
        server_CPU_ms=[each.spent.servers_s / each.runs * 1000 for each in figures],
        Postgres_CPU_ms=[each.spent.postgres_s / each.runs * 1000 for each in figures],
    )


async def _ours(bench: Bench, runs: int) -> Figures:
    talkers = [Lives(bench.server.requester, client, runs) for client in range(CLIENTS)]
    run_ids = [run_id for lives in talkers for run_id in lives.run_ids]
    await bench.server.create_run()  # a peer is asked for an experiment before the clock starts
    async with spending(lambda: bench.compacted(run_ids)) as spent:
        outcome = await bench.load.drive(Load(bench.server.door, talkers))
    _must_have_gone_well(outcome)
    for run_id in run_ids:
        await _expect(bench.server, run_id)
    return Figures(len(run_ids), outcome.seconds, spent)


async def _nothing_more() -> None:
    """What was answered is done."""


async def _echo(bench: Bench, requester: Requester, runs: int) -> Figures:
    talkers = [Echoes(Lives(requester, client, runs)) for client in range(CLIENTS)]
    async with spending(_nothing_more) as spent:
        outcome = await bench.load.drive(Load(requester.door, talkers))
    _must_have_gone_well(outcome)
    return Figures(CLIENTS * runs, outcome.seconds, spent)


async def _rows(bench: Bench, runs: int, at_once: int) -> Figures:
    """The rows of the runs straight into the database, by a client each or those of all clients together."""
    clients = CLIENTS // at_once
    async with (
        limits.database(bench.server.pool, bench.server.database_url, "limits") as url,
        limits.connections(url, clients) as conns,
    ):
        await conns[0].execute(bare.TABLES)

        async def live(conn: limits.Conn) -> None:
            for _ in range(runs):
                await bare.live(conn, [ids.new() for _ in range(at_once)], params(), tags(), final())

        start = time.perf_counter()
        async with spending(_nothing_more) as spent, asyncio.TaskGroup() as tasks:
            for conn in conns:
                tasks.create_task(live(conn))
        seconds = time.perf_counter() - start
        if await conns[0].fetchval("select count(*) from metric") != CLIENTS * runs * KEYS:
            raise Refused("rows are missing")
    return Figures(CLIENTS * runs, seconds, spent)


async def _expect(server: Server, run_id: str) -> None:
    """Raises `Refused` unless the run is as it was sent."""
    run: dict[str, Any] = (await server.ask(RUN, id=run_id))["run"]
    same = (
        run["status"] == "FINISHED"
        and [(each["key"], each["value"]) for each in run["params"]["nodes"]] == params()
        and [(each["key"], each["value"]) for each in run["tags"]] == tags()
        and [each["last"] for each in run["metrics"]["nodes"]] == final().values[:, 0].tolist()
    )
    if not same:
        raise Refused(f"run {run_id} is not as it was sent")


async def _peer(bench: Bench, peer: Peer, runs: int) -> Figures:
    with peer.connected() as client:
        experiment_id = await peer.experiment(client, f"lives {new_run()}")
        async with spending(_nothing_more) as spent:
            outcome = await bench.load.drive(Load(peer.door, [PeerLives(peer, experiment_id, runs)] * CLIENTS))
        _must_have_gone_well(outcome)
        found = await peer.runs(client, experiment_id)
    whole = [
        run
        for run in found
        if run["info"]["status"] == "FINISHED"
        and len(run["data"]["params"]) == PARAMS
        and len(run["data"]["metrics"]) == KEYS
    ]
    if len(whole) != CLIENTS * runs:
        raise Refused(f"{len(whole)} of {CLIENTS * runs} runs are as they were sent")
    return Figures(CLIENTS * runs, outcome.seconds, spent)


def _must_have_gone_well(outcome: Outcome) -> None:
    if outcome.failures:
        raise Refused(outcome.failures[0])
