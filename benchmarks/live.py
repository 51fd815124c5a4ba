"""Live: many runs that log one step at a time, each request acknowledged when its points are durable."""

import asyncio
import base64
import json
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from struct import pack
from typing import Any, Final, TypeVar

import numpy as np
import orjson
import psutil
from numpy.typing import NDArray

from benchmarks import limits, memory, points
from benchmarks.bench import Bench
from benchmarks.load import Load, Outcome, Talk
from benchmarks.peers import fasttrackml, mlflow, mlflow_client
from benchmarks.peers.rest import Peer
from benchmarks.points import START_MS, Batch
from benchmarks.report import Section
from benchmarks.server import LOG, PATH, Server, body, new_writer
from benchmarks.wire import Door, Refused
from deploy.local import environment
from deploy.local.home import free_port
from deploy.local.keep import Program, answers, keeping
from runstone.operations import document

RUNS: Final = 50
KEYS: Final = 20
CONNECTIONS: Final = 64
INSERTERS: Final = 16  # connections that insert rows alone
PACE: Final = 0.5  # of the most
VARIANTS: Final = 64  # different values of a step
COLUMN: Final = "requests/s"
OURS: Final = "Runstone"
SDK: Final = "Runstone, the SDK's document"
ECHO: Final = "echo of the same body"
CLIENT: Final = "MLflow through its client"
BLOCKS: Final = "INSERT of a row for each request"
GROUPED: Final = f"INSERT of {CONNECTIONS} rows at a time"


@dataclass(frozen=True, slots=True)
class Steps:
    """Logs one step of all keys after the other, as a writer of its own, so that the requests are a real log."""

    door: Door
    before: bytes  # of the block in the body
    after: bytes
    number: int  # of the connection: its steps are number, number + CONNECTIONS, ...
    expect: bytes  # in each answer

    def talk(self) -> Talk:
        """Without end."""
        head = self.door.head("POST", PATH)
        keys = orjson.dumps(points.keys(KEYS))
        values = [base64.b64encode(row.tobytes()) for row in variants()]
        seq = 0
        while True:
            steps = base64.b64encode(pack("<q", step_of(self.number, seq)))
            times = base64.b64encode(pack("<q", START_MS + seq))
            sent = b'%b{"seq":%d,"keys":%b,"steps":"%b","times":"%b","values":"%b"}%b' % (
                self.before, seq, keys, steps, times, values[seq % VARIANTS], self.after,
            )  # fmt: skip
            answer = yield b"%b%d\r\n\r\n%b" % (head, len(sent), sent)
            if self.expect not in answer:
                raise Refused(answer[:300].decode(errors="replace"))
            seq += 1


def variants() -> NDArray[np.float64]:
    """Values of all keys, a row for each variant."""
    return np.ascontiguousarray(points.curve(KEYS, VARIANTS, seed=1).T)


Seq = TypeVar("Seq", int, NDArray[np.int64])


def step_of(connection: int, seq: Seq) -> Seq:
    """The step of a request; connections that share a run never share a step."""
    return seq * CONNECTIONS + connection


@dataclass(frozen=True, slots=True)
class PeerSteps:
    """The same over a peer's API."""

    peer: Peer
    run_id: str

    def talk(self) -> Talk:
        """Without end."""
        keys, rows = points.keys(KEYS), variants()
        step = 0
        while True:
            times = np.array([START_MS + step])
            yield self.peer.log(self.run_id, keys, Batch(0, np.array([step]), times, rows[step % VARIANTS, :, None]))
            step += 1


async def measure(bench: Bench) -> Section:
    """Requests per second and latencies of each contender."""
    section = Section(
        f"Live: {RUNS} runs x {KEYS} metrics, one step a request",
        f"{CONNECTIONS} connections with one request in flight each. Paced: the latency when requests come at "
        f"{PACE:.0%} of the rate just measured; at the full rate it only tells how long the queue is. Every "
        "acknowledged point is read back. CPU: of the HTTP server's process, a request. Busy: the part of a core that "
        "the load generator itself used.",
    )
    found: defaultdict[str, list[Figures]] = defaultdict(list)
    notes: dict[str, str] = {}
    peers: dict[str, Callable[[], Awaitable[Figures]]] = {}
    for peer in bench.peers:
        peers[peer.name], notes[peer.name] = partial(_peer, bench, peer), f"{peer.live_connections} connections"
        if peer.venv is not None:
            peers[CLIENT], notes[CLIENT] = partial(_client, bench, peer), f"{peer.live_connections} threads"
    async with echoing(bench.server) as echo:
        for _ in range(bench.choose(full=5, quick=1)):
            found[ECHO].append(await _echo(bench, *echo))
            found[OURS].append(await _ours(bench, LOG, {}))
            found[SDK].append(await _ours(bench, document("Flush"), FLUSH, paced=not bench.quick))
            found[BLOCKS].append(await _blocks(bench, grouped=False))
            found[GROUPED].append(await _blocks(bench, grouped=True))
            await bench.turn(section, peers, found)
    for name, figures in found.items():
        _add(section, name, figures, notes.get(name, ""))
    bench.note_absent(section)
    section.at_least("at least 0.3 x an echo of the same body", section.ratio(COLUMN, OURS, ECHO), 0.3)
    section.at_least("at least 10 x FastTrackML", section.ratio(COLUMN, OURS, fasttrackml.NAME), 10)
    ratios = [section.ratio(COLUMN, OURS, name) for name in (mlflow.NAME, CLIENT)]
    section.at_least("at least 100 x MLflow", min((ratio for ratio in ratios if ratio is not None), default=None), 100)
    section.at_most("p99 below 30 ms, paced", section.median("paced p99 ms", OURS), 30, "ms")
    return section


@dataclass(frozen=True, slots=True)
class Figures:
    """One repetition of a contender: as fast as it goes, and paced."""

    most: Outcome
    paced: Outcome | None = None
    cpu_us: float | None = None  # of the server's process, a request


def _add(section: Section, name: str, figures: Sequence[Figures], note: str = "") -> None:
    columns = {
        "requests_per_s": [each.most.per_s for each in figures],
        "p50_ms": [each.most.p50_ms for each in figures],
        "p99_ms": [each.most.p99_ms for each in figures],
        "paced_p50_ms": [each.paced.p50_ms for each in figures if each.paced],
        "paced_p99_ms": [each.paced.p99_ms for each in figures if each.paced],
        "CPU_us": [each.cpu_us for each in figures if each.cpu_us is not None],
        "busy": [each.most.busy for each in figures if each.most.busy],
    }
    section.add(name, note, **{column: samples for column, samples in columns.items() if samples})


# What the SDK's request says besides its blocks.
FLUSH: Final[dict[str, Any]] = {
    "params": [], "tags": [], "inputs": [],
    "withParams": False, "withTags": False, "withInputs": False, "withMetrics": True,
}  # fmt: skip


def talkers(door: Door, query: str, more: dict[str, Any], run_ids: Sequence[str], expect: bytes) -> list[Steps]:
    """One for each connection, with a writer each, dealt to the runs in turn."""
    made = []
    for number in range(CONNECTIONS):
        variables = {"runId": run_ids[number % len(run_ids)], "writerId": new_writer(), "blocks": [None], **more}
        before, after = body(query, variables).split(b"[null]")
        made.append(Steps(door, before + b"[", b"]" + after, number, expect))
    return made


async def _ours(bench: Bench, query: str, more: dict[str, Any], *, paced: bool = True) -> Figures:
    """One repetition on new runs."""
    most, cpu_us = await _logged(bench, query, more)
    slower, _ = await _logged(bench, query, more, per_s=most.per_s * PACE) if paced else (None, None)
    return Figures(most, slower, cpu_us)


async def _logged(bench: Bench, query: str, more: dict[str, Any], per_s: float | None = None) -> tuple[Outcome, float]:
    """Drive the load, then read back what was acknowledged. Raises `Refused` when a point is missing or too much."""
    server = bench.server
    run_ids = [await server.create_run() for _ in range(RUNS)]
    given = talkers(server.door, query, more, run_ids, b"LogMetricsPayload")
    outcome, cpu_us = await _driven(bench, server.door, given, server.process("api"), per_s)
    await expect(server, run_ids, outcome.answered)
    await bench.settle(run_ids)
    return outcome, cpu_us


async def _driven(
    bench: Bench, door: Door, given: Sequence[Steps], process: psutil.Process, per_s: float | None = None
) -> tuple[Outcome, float]:
    """What came of the load, and the microseconds of CPU that each request took of the server's process."""
    before = memory.cpu_s(process)
    load = Load(door, given, seconds=bench.choose(full=8, quick=3), warm_up_s=1.0, per_s=per_s)
    outcome = await bench.load.drive(load)
    if outcome.failures:
        raise Refused(outcome.failures[0])
    return outcome, (memory.cpu_s(process) - before) / sum(outcome.answered) * 1e6


async def expect(server: Server, run_ids: Sequence[str], answered: Sequence[int]) -> None:
    """Raises `Refused` unless the runs have exactly the points that were acknowledged."""
    for number, run_id in enumerate(run_ids):
        await _compare(server, run_id, answered, range(number, CONNECTIONS, len(run_ids)))


async def _compare(server: Server, run_id: str, answered: Sequence[int], numbers: Sequence[int]) -> None:
    """Raises `Refused` unless the run has exactly the points that these connections were acknowledged."""
    seqs = np.concatenate([np.arange(answered[number]) for number in numbers])
    steps = np.concatenate([step_of(number, np.arange(answered[number])) for number in numbers])
    order = np.argsort(steps)
    wanted = variants()[seqs[order] % VARIANTS]
    curves = await server.read([run_id], points.keys(KEYS))
    same = len(curves) == KEYS and all(
        np.array_equal(curve.steps, steps[order]) and np.array_equal(curve.values, wanted[:, key])
        for key, curve in enumerate(curves)
    )
    if not same:
        raise Refused(f"run {run_id} does not have the points that were acknowledged")


@asynccontextmanager
async def echoing(server: Server) -> AsyncIterator[tuple[Door, psutil.Process]]:
    """The echo, served as the api is."""
    settings = replace(server.settings, port=free_port("127.0.0.1"))
    async with keeping() as keeper:
        child = await keeper.start(
            Program(
                name="The echo",
                argv=(sys.executable, "-P", "-m", "benchmarks.echo"),
                env=environment.for_child(settings),
                log=settings.home / "logs" / "echo.log",
                ready=partial(answers, settings.url),
            )
        )
        assert child.process is not None
        yield replace(server.door, port=settings.port), psutil.Process(child.process.pid)


async def _echo(bench: Bench, door: Door, process: psutil.Process) -> Figures:
    """One repetition; the echo has what is looked for in each answer, since it is in the request."""
    given = talkers(door, LOG, {}, [new_writer() for _ in range(RUNS)], b"LogMetricsPayload")
    most, cpu_us = await _driven(bench, door, given, process)
    paced, _ = await _driven(bench, door, given, process, per_s=most.per_s * PACE)
    return Figures(most, paced, cpu_us)


async def _blocks(bench: Bench, *, grouped: bool) -> Figures:
    """The bytes of each request as a row, straight into the database: the rate of requests, and how long one waits."""
    seconds = bench.choose(full=5, quick=2)
    store, clients, at_once = (_store_grouped, 1, CONNECTIONS) if grouped else (_store_alone, INSERTERS, 1)
    async with (
        limits.database(bench.server.pool, bench.server.database_url, "limits") as url,
        limits.connections(url, clients) as conns,
    ):
        await limits.make_tables(conns[0])
        start = time.perf_counter()
        waits = await asyncio.gather(*(store(conn, number, start + seconds) for number, conn in enumerate(conns)))
        seconds_taken = time.perf_counter() - start
        rows = sum(len(each) for each in waits) * at_once
        stored = await limits.stored_points(conns[0])
    if stored != rows * KEYS:
        raise Refused(f"{stored} of {rows * KEYS} points are stored")
    taken_ms = np.concatenate(waits) * 1000
    p50, p99 = (float(np.percentile(taken_ms, part)) for part in (50, 99))
    return Figures(Outcome((), seconds_taken, rows / seconds_taken, p50, p99, 0.0, ()))


async def _store_alone(conn: limits.Conn, number: int, end: float) -> list[float]:
    """Seconds that each row took, in a transaction of its own."""
    waits: list[float] = []
    while (start := time.perf_counter()) < end:
        await limits.insert_blocks(conn, [_row(number, len(waits))])
        waits.append(time.perf_counter() - start)
    return waits


async def _store_grouped(conn: limits.Conn, _: int, end: float) -> list[float]:
    """Seconds that each group of rows took, one row for each connection of the live load."""
    waits: list[float] = []
    while (start := time.perf_counter()) < end:
        await limits.insert_blocks(conn, [_row(number, len(waits)) for number in range(CONNECTIONS)])
        waits.append(time.perf_counter() - start)
    return waits


async def _client(bench: Bench, peer: Peer) -> Figures:
    """MLflow's own Python client, in a process of its venv, with a thread for each run."""
    assert peer.venv is not None
    seconds = bench.choose(full=10, quick=5)
    with peer.connected() as client:
        run_ids = await peer.create_runs(client, peer.live_connections)
        process = await asyncio.create_subprocess_exec(
            str(peer.venv / "bin" / "python"),
            *("-I", str(Path(mlflow_client.__file__)), peer.door.url, str(seconds), *run_ids),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(seconds + 120):
            output, _ = await process.communicate()
        if process.returncode:
            raise Refused(f"MLflow's client ended with {process.returncode}")
        result = json.loads(output)
        for run_id, steps in zip(run_ids, result["steps"], strict=True):
            await peer.expect(client, [run_id], points.keys(KEYS)[:1], steps)
    taken_ms = np.array(result["seconds"]) * 1000
    p50, p99 = (float(np.percentile(taken_ms, part)) for part in (50, 99))
    return Figures(
        Outcome(tuple(result["steps"]), seconds, sum(result["steps"]) / result["elapsed"], p50, p99, 0.0, ())
    )


VALUES: Final = variants()


def _row(number: int, seq: int) -> tuple[int, int, int, bytes, bytes, bytes]:
    return (
        number % RUNS, number, seq,
        pack("<q", step_of(number, seq)), pack("<q", START_MS + seq), VALUES[seq % VARIANTS].tobytes(),
    )  # fmt: skip


async def _peer(bench: Bench, peer: Peer) -> Figures:
    """One repetition on new runs, counted afterwards."""
    with peer.connected() as client:
        run_ids = await peer.create_runs(client, peer.live_connections)
        given = [PeerSteps(peer, run_id) for run_id in run_ids]
        most = await bench.load.drive(Load(peer.door, given, seconds=bench.choose(full=10, quick=5), warm_up_s=1.0))
        if most.failures:
            raise Refused(most.failures[0])
        for run_id, steps in zip(run_ids, most.answered, strict=True):
            await peer.expect(client, [run_id], points.keys(KEYS)[:1], steps)
    return Figures(most)
