"""The life of a run: created with its params and tags, given its final metrics, finished."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks import points
from benchmarks.bench import Bench
from benchmarks.load import Load, Outcome, Talk
from benchmarks.peers import fasttrackml
from benchmarks.peers.rest import Peer, metrics, run_id_of
from benchmarks.points import START_MS, Batch
from benchmarks.report import Section
from benchmarks.server import CREATE, Requester, Server, block, data_of, new_run, new_writer, payload
from benchmarks.wire import Refused

CLIENTS: Final = 8
PARAMS: Final = 30
TAGS: Final = 5
KEYS: Final = 10
COLUMN: Final = "runs/s"
OURS: Final = "Runstone"

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


@dataclass(frozen=True, slots=True)
class Lives:
    """The lives of these runs, one after the other: two requests each."""

    server: Requester
    run_ids: Sequence[str]

    def talk(self) -> Talk:
        """Create, then log and finish."""
        for run_id in self.run_ids:
            given = {
                "id": run_id,
                "experiment": "lives",
                "name": "bench",
                "params": [{"key": key, "value": value} for key, value in params()],
                "tags": [{"key": key, "value": value} for key, value in tags()],
            }
            payload(data_of((yield self.server.request(CREATE, input=given))))
            blocks = [block(0, points.keys(KEYS), final())]
            payload(data_of((yield self.server.request(END, runId=run_id, writerId=new_writer(), blocks=blocks))))


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
    """Runs per second of each contender."""
    section = Section(
        f"Run lifecycle: create, {PARAMS} params, {TAGS} tags, {KEYS} final metrics, finish; {CLIENTS} clients",
        "Runstone takes two requests a run, the peers' API three. Every run is read back.",
    )
    runs = bench.choose(full=50, quick=15)
    section.add(OURS, runs_per_s=[await _ours(bench, runs) for _ in range(bench.choose(full=5, quick=3))])
    for peer in bench.peers:
        with section.trying(peer.name):
            rates = [await _peer(bench, peer, min(runs, 20)) for _ in range(bench.choose(full=3, quick=1))]
            section.add(peer.name, runs_per_s=rates)
    bench.note_absent(section)
    section.at_least("at least 5 x FastTrackML", section.ratio(COLUMN, OURS, fasttrackml.NAME), 5)
    return section


async def _ours(bench: Bench, runs: int) -> float:
    run_ids = [[new_run() for _ in range(runs)] for _ in range(CLIENTS)]
    talkers = [Lives(bench.server.requester, chosen) for chosen in run_ids]
    outcome = await bench.load.drive(Load(bench.server.door, talkers))
    _must_have_gone_well(outcome)
    for run_id in (run_id for chosen in run_ids for run_id in chosen):
        await _expect(bench.server, run_id)
    return CLIENTS * runs / outcome.seconds


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


async def _peer(bench: Bench, peer: Peer, runs: int) -> float:
    with peer.connected() as client:
        experiment_id = await peer.experiment(client, f"lives {new_run()}")
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
    return CLIENTS * runs / outcome.seconds


def _must_have_gone_well(outcome: Outcome) -> None:
    if outcome.failures:
        raise Refused(outcome.failures[0])
