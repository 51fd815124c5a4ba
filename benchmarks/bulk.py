"""Bulk: many points as fast as they are taken, such as a training that was logged offline."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from benchmarks import limits, points
from benchmarks.bench import Bench
from benchmarks.load import Load, Talk
from benchmarks.peers import mlflow
from benchmarks.peers.rest import Peer, Posts
from benchmarks.points import Batch
from benchmarks.report import Section
from benchmarks.server import LOG, Server, block, data_of, new_writer, payload
from benchmarks.wire import Refused

RUNS: Final = 10
KEYS: Final = 20
STEPS: Final = 5_000
CLIENTS: Final = 4
MOST: Final = 10_000  # points of a request
STEPS_PER_BATCH: Final = MOST // KEYS
COLUMN: Final = "points/s"
OURS: Final = "Runstone"
COPY: Final = "COPY into rows with a primary key"
BLOCKS: Final = "INSERT of a row for each batch"


TUPLES: Final = "tuples, as asyncpg encodes them"
BINARY: Final = "binary, as numpy makes it"
LIMITS: Final = {TUPLES: limits.copy_tuples, BINARY: limits.copy_binary, BLOCKS: limits.insert_block}


@dataclass(frozen=True, slots=True)
class Requests:
    """Sends requests that were made before, and looks at each answer."""

    requests: Sequence[bytes]

    def talk(self) -> Talk:
        """One after the other."""
        for request in self.requests:
            payload(data_of((yield request)))


async def measure(bench: Bench) -> Section:
    """Points per second of each contender."""
    section = Section(
        f"Bulk: {RUNS} runs x {KEYS} metrics x {STEPS:,} steps, {CLIENTS} clients",
        "Each request, COPY or INSERT carries 10,000 points and is acknowledged when they are durable; requests are "
        "made before the clock starts. Everything is read back and compared.",
    )
    given = list(points.batches(RUNS, KEYS, STEPS, STEPS_PER_BATCH))
    rates: dict[str, list[float]] = {name: [] for name in (OURS, *LIMITS) if name != TUPLES or not bench.quick}
    for _ in range(bench.choose(full=5, quick=3)):
        rates[OURS].append(await _ours(bench, given))
        async with limits.database(bench.server.pool, bench.server.database_url, "limits") as url:
            for name, insert in LIMITS.items():
                if name in rates:
                    rates[name].append(await _limit(url, given, insert))
    best = max((name for name in (TUPLES, BINARY) if name in rates), key=lambda name: median(rates[name]))
    section.add(OURS, "GraphQL logMetrics over HTTP", points_per_s=rates[OURS])
    section.add(COPY, best, points_per_s=rates[best])
    section.add(BLOCKS, "bytes without any rule", points_per_s=rates[BLOCKS])
    for peer in bench.peers:
        with section.trying(peer.name):
            await _peer(bench, peer, section)
    bench.note_absent(section)
    section.at_least("at least 2 x COPY", section.ratio(COLUMN, OURS, COPY), 2)
    peers = [peer.name for peer in bench.peers if section.median(COLUMN, peer.name)]
    section.at_least(
        "at least 10 x the best peer", min((section.ratio(COLUMN, OURS, name) or 0 for name in peers), default=None), 10
    )
    section.at_least("at least 100 x MLflow", section.ratio(COLUMN, OURS, mlflow.NAME), 100)
    return section


async def _ours(bench: Bench, given: Sequence[Batch]) -> float:
    """Points per second of one repetition."""
    run_ids = [await bench.server.create_run() for _ in range(RUNS)]
    seconds = await send(bench, run_ids, points.keys(KEYS), given)
    await _compare(bench.server, run_ids, given)
    await bench.settle(run_ids)
    return sum(batch.points for batch in given) / seconds


async def send(
    bench: Bench, run_ids: Sequence[str], keys: Sequence[str], given: Sequence[Batch], *, clients: int = CLIENTS
) -> float:
    """Seconds until everything is acknowledged. Each client is a writer of each run."""
    server, talkers = bench.server, []
    for batches in points.dealt(given, clients):
        writers = {run_id: new_writer() for run_id in run_ids}
        seqs = dict.fromkeys(run_ids, 0)
        requests = []
        for batch in batches:
            run_id = run_ids[batch.run]
            blocks = [block(seqs[run_id], keys, batch)]
            requests.append(server.request(LOG, runId=run_id, writerId=writers[run_id], blocks=blocks))
            seqs[run_id] += 1
        if requests:
            talkers.append(Requests(requests))
    outcome = await bench.load.drive(Load(server.door, talkers))
    if outcome.failures:
        raise Refused(outcome.failures[0])
    return outcome.seconds


async def _compare(server: Server, run_ids: Sequence[str], given: Sequence[Batch]) -> None:
    """Raises `Refused` unless the server has exactly these points."""
    for number, run_id in enumerate(run_ids):
        curves = await server.read([run_id], points.keys(KEYS))
        steps = np.concatenate([batch.steps for batch in given if batch.run == number])
        values = np.concatenate([batch.values for batch in given if batch.run == number], axis=1)
        same = len(curves) == KEYS and all(
            np.array_equal(curve.steps, steps) and np.array_equal(curve.values, row)
            for curve, row in zip(curves, values, strict=True)
        )
        if not same:
            raise Refused(f"run {run_id} does not have the points that it was given")


async def _limit(url: str, given: Sequence[Batch], insert: limits.Insert) -> float:
    """Points per second straight into the database."""
    async with limits.connections(url, CLIENTS) as conns:
        await limits.make_tables(conns[0])
        seconds = await limits.timed(conns, points.dealt(given, CLIENTS), insert)
        wanted = sum(batch.points for batch in given)
        stored = await limits.stored_points(conns[0])
        if stored != wanted:
            raise Refused(f"{stored} of {wanted} points are stored")
    return wanted / seconds


async def _peer(bench: Bench, peer: Peer, section: Section) -> None:
    """Points per second of a peer, which is given fewer points when it is slow."""
    steps = bench.choose(full=peer.bulk_steps, quick=peer.bulk_steps // 5)
    given = list(points.batches(RUNS, KEYS, steps, peer.points_per_request // KEYS))
    rates = []
    for _ in range(bench.choose(full=3, quick=1)):
        with peer.connected() as client:
            run_ids = await peer.create_runs(client, RUNS)
            seconds = await send_to(bench, peer, run_ids, points.keys(KEYS), given)
            await peer.expect(client, run_ids, points.keys(KEYS), steps)
        rates.append(sum(batch.points for batch in given) / seconds)
    section.add(peer.name, f"{steps:,} steps, {peer.points_per_request:,} points a request", points_per_s=rates)


async def send_to(
    bench: Bench, peer: Peer, run_ids: Sequence[str], keys: Sequence[str], given: Sequence[Batch]
) -> float:
    """Seconds until a peer has acknowledged everything."""
    talkers = [
        Posts([peer.log(run_ids[batch.run], keys, batch) for batch in batches])
        for batches in points.dealt(given, CLIENTS)
        if batches
    ]
    outcome = await bench.load.drive(Load(peer.door, talkers))
    if outcome.failures:
        raise Refused(outcome.failures[0])
    return outcome.seconds
