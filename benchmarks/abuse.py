"""Abuse: what it costs to refuse queries that are made to hurt, and what it does to those who log meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count, cycle
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from benchmarks import live
from benchmarks.abuses import ABUSES
from benchmarks.bench import Bench
from benchmarks.load import Load, Outcome
from benchmarks.report import Section
from benchmarks.server import LOG, PATH, Server, body
from benchmarks.wire import Client, Door, Refused, connected
from db import access

PER_S: Final = 500  # requests of those who log

# Behind each text, so that the server has not seen it: what is known costs nothing to refuse.
NUMBERS: Final = count()


async def measure(bench: Bench) -> Section:
    """The CPU of each refusal, and the latencies of others while they are hurled."""
    server = bench.server
    section = Section(
        f"Abuse: {len(ABUSES)} queries that are made to hurt",
        f"Each as a new text, so that nothing is known of it. CPU: of the server's process, a refusal. Ingest: {PER_S} "
        "requests a second of one step each by others, alone and while one token hurls the list as fast as it is "
        "answered; a token that sends too much that is new is refused unread.",
    )
    costs = {name: [await _refused(server, name) for _ in range(bench.choose(full=9, quick=3))] for name in ABUSES}
    dearest = max(costs, key=lambda name: median(costs[name]))
    section.add("refusing the dearest", dearest, CPU_ms=costs[dearest])
    section.add("refusing one of the list", CPU_ms=[median(each) for each in costs.values()])
    calm, hurt, hurled = [], [], []
    for _ in range(bench.choose(full=5, quick=2)):
        calm.append(await _logged(bench))
        async with _hurling(server) as answers:
            hurt.append(await _logged(bench))
        hurled.append(len(answers))
    section.add("ingest alone", p50_ms=[each.p50_ms for each in calm], p99_ms=[each.p99_ms for each in calm])
    section.add(
        "ingest beside the abuse",
        f"{median(hurled):,.0f} queries hurled meanwhile",
        p50_ms=[each.p50_ms for each in hurt],
        p99_ms=[each.p99_ms for each in hurt],
    )
    section.at_most("each refused within 50 ms of CPU", median(costs[dearest]), 50, "ms")
    ratio = section.ratio("p99 ms", "ingest beside the abuse", "ingest alone")
    section.at_most("ingest p99 of others rises by no more than 2 x", ratio, 2)
    return section


async def _refused(server: Server, name: str) -> float:
    """Milliseconds of CPU that a refusal takes. Raises `Refused` when it is none."""
    process, door = server.process("api"), await _hurler(server)
    with connected(door) as client:
        await client.ask(door.post(PATH, body("{ viewer { name } }", {})))
        request = _request(door, name)
        before = _cpu_ms(process)
        answer = await client.ask(request)
        cpu_ms = _cpu_ms(process) - before
    if b'"QUERY_TOO_COMPLEX"' not in answer:
        raise Refused(f"{name}: {answer[:300].decode(errors='replace')}")
    return cpu_ms


def _request(door: Door, name: str) -> bytes:
    """The query, in a text that was never sent."""
    text, variables = ABUSES[name]
    asked = {"query": f"{text} # {next(NUMBERS)}", "variables": variables}
    return door.post(PATH, json.dumps(asked).encode())  # orjson writes no list so deep


async def _hurler(server: Server) -> Door:
    """The door of a new account, whose token has spent nothing."""
    account = await access.create_account(server.pool, f"hurler {next(NUMBERS)}")
    return replace(server.door, token=await access.create_token(server.pool, account))


def _cpu_ms(process: psutil.Process) -> float:
    """What the process has used, by the nanosecond clock of the scheduler; its other clock ticks every 10 ms."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


async def _logged(bench: Bench) -> Outcome:
    """A paced load of steps. Raises `Refused`."""
    server = bench.server
    run_ids = [await server.create_run() for _ in range(live.RUNS)]
    talkers = live.talkers(server.door, LOG, {}, run_ids, b"LogMetricsPayload")
    load = Load(server.door, talkers, seconds=bench.choose(full=8, quick=4), warm_up_s=1.0, per_s=PER_S)
    outcome = await bench.load.drive(load)
    if outcome.failures:
        raise Refused(outcome.failures[0])
    await live.expect(server, run_ids, outcome.answered)
    await bench.settle(run_ids)
    return outcome


@asynccontextmanager
async def _hurling(server: Server) -> AsyncIterator[list[bytes]]:
    """While the block runs the list is hurled again and again; the answers so far."""
    answers: list[bytes] = []
    async with asyncio.TaskGroup() as tasks:
        hurling = tasks.create_task(_hurl(await _hurler(server), answers))
        try:
            yield answers
        finally:
            hurling.cancel()


async def _hurl(door: Door, answers: list[bytes]) -> None:
    with connected(door) as client:
        for name in cycle(ABUSES):
            answers.append(await _answer(client, _request(door, name)))


async def _answer(client: Client, request: bytes) -> bytes:
    try:
        return await client.ask(request)
    except Refused as refused:  # with another status than 200: the budget is spent
        return str(refused).encode()
