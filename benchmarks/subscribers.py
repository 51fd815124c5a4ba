"""Subscribers: many sockets on one process, each of which is sent what is logged meanwhile."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benchmarks import points
from benchmarks.bench import Bench
from benchmarks.memory import cpu_s
from benchmarks.points import START_MS, Batch
from benchmarks.report import Section
from benchmarks.server import LOG, PATH, Server, block, new_writer, payload
from benchmarks.wire import Refused
from db import access

SUBSCRIBERS: Final = 500  # a fifth of them with --quick
SOCKETS_OF_A_TOKEN: Final = 100
RUNS: Final = 50
KEYS: Final = 20
WATCHED: Final = 5  # metrics of a subscriber
PER_S: Final = 2  # messages for each subscriber
LATE_S: Final = 2.0  # what has not come by then counts as lost

ALONE: Final = "the same points, nobody subscribes"
SAME: Final = "points, those of a run ask for the same"
OTHER: Final = "points, each asks for something else"
EVENTS_OF_ALL: Final = "events of all runs"

POINTS: Final = """
subscription Points($runId: ID!, $keys: [String!]!) {
  points(runIds: [$runId], keys: $keys) { runId after series { key steps values } }
}
"""

EVENTS: Final = """
subscription Events {
  runEvents { after kind runId run { id name status } }
}
"""


@dataclass(slots=True)
class Subscriber:
    """One socket, and when each message of its subscription came."""

    socket: ClientConnection
    seen: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    async def begin(self, token: str, query: str, variables: dict[str, Any]) -> None:
        """Subscribe, and take the message that says from where on."""
        await self._send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        await self.socket.recv()
        await self._send(type="subscribe", id="1", payload={"query": query, "variables": variables})
        await self._next()

    async def listen(self) -> None:
        """Without end."""
        while True:
            message = await self._next()
            self.seen.append((time.perf_counter(), message))

    async def _send(self, **message: Any) -> None:
        await self.socket.send(orjson.dumps(message).decode())

    async def _next(self) -> dict[str, Any]:
        """The field of the next message. Raises `Refused`."""
        message = orjson.loads(await self.socket.recv())
        if message["type"] != "next" or "errors" in message["payload"]:
            raise Refused(str(message))
        [found] = message["payload"]["data"].values()
        return dict(found)


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of one kind of subscription."""

    complete: int  # subscribers that were sent everything, once and in order
    delays_ms: Sequence[float]  # from before a request until a subscriber had what it stored
    per_s: float
    cpu_percent: float


async def measure(bench: Bench) -> Section:
    """Delays of messages, and what sending them costs the process."""
    count = bench.choose(full=SUBSCRIBERS, quick=SUBSCRIBERS // 5)
    section = Section(
        f"Subscribers: {count} sockets on one process, {PER_S} messages a second each",
        f"{RUNS} runs x {KEYS} metrics log {PER_S} steps a second each, and a subscriber watches {WATCHED} metrics of "
        "one run; or runs are begun and ended, and each subscriber is told of each. A delay counts from before the "
        "request that stores something until a subscriber has it, in the process of the benchmark. Complete: "
        f"subscribers that had everything once and in order {LATE_S:g} s after the last request. CPU: of the api "
        "process, requests included.",
    )
    keys = points.keys(KEYS)
    kinds: dict[str, Callable[[], Awaitable[Figures]]] = {
        ALONE: lambda: _points(bench, 0, lambda _: keys),
        SAME: lambda: _points(bench, count, lambda _: keys[:WATCHED]),
        OTHER: lambda: _points(bench, count, lambda turn: keys[turn : turn + WATCHED]),
        EVENTS_OF_ALL: lambda: _events(bench, count),
    }
    for name, measured in kinds.items():
        with section.trying(name):
            _add(section, name, await measured())
    complete = [section.median("complete", name) or 0 for name in (SAME, OTHER, EVENTS_OF_ALL)]
    section.at_least("all have each point and event once, in order", min(complete), count, "subscribers")
    slowest = max((row.median("p99 ms") for row in section.rows if "p99 ms" in row.figures), default=None)
    section.at_most("p99 of the delays below half a second", slowest, 500, "ms")
    return section


def _add(section: Section, name: str, found: Figures) -> None:
    cpu = {"CPU_%_of_a_core": found.cpu_percent}
    if not found.delays_ms:
        section.add(name, **cpu)
        return
    p50, p99 = (float(np.percentile(found.delays_ms, part)) for part in (50, 99))
    section.add(name, complete=found.complete, messages_per_s=found.per_s, p50_ms=p50, p99_ms=p99, **cpu)


async def _points(bench: Bench, count: int, keys_of: Callable[[int], Sequence[str]]) -> Figures:
    """So many subscribers, dealt to the runs in turns; `keys_of` says what those of a turn watch."""
    server, steps = bench.server, _steps(bench)
    run_ids = [await server.create_run() for _ in range(RUNS)]
    curves = [points.curve(KEYS, steps, seed=run) for run in range(RUNS)]
    watched = [(number % RUNS, keys_of(number // RUNS)) for number in range(count)]
    asked = [{"runId": run_ids[run], "keys": keys} for run, keys in watched]
    async with _subscribed(server, POINTS, asked) as subscribers:
        spent = await _spending(server, lambda: _log(server, run_ids, curves))
    complete = 0
    names = points.keys(KEYS)
    for (run, keys), subscriber in zip(watched, subscribers, strict=True):
        wanted = {key: list(enumerate(curves[run][names.index(key)].tolist())) for key in keys}
        complete += _points_of(subscriber) == wanted
    delays = [
        (at - spent.asked_at[message["runId"], message["series"][0]["steps"][-1]]) * 1000
        for subscriber in subscribers
        for at, message in subscriber.seen
    ]
    await bench.settle(run_ids)
    return Figures(complete, delays, len(delays) / spent.seconds, spent.cpu_percent)


def _points_of(subscriber: Subscriber) -> dict[str, list[tuple[int, float]]]:
    """The steps and values of each metric, in the order in which they came."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for _, message in subscriber.seen:
        for series in message["series"]:
            found[series["key"]] += zip(series["steps"], series["values"], strict=True)
    return found


async def _events(bench: Bench, count: int) -> Figures:
    """Every subscriber is told of all runs that begin and end."""
    server = bench.server
    async with _subscribed(server, EVENTS, [{}] * count) as subscribers:
        spent = await _spending(server, lambda: _begin_and_end(server, _steps(bench)))
    wanted = list(spent.asked_at)
    complete, delays = 0, list[float]()
    for subscriber in subscribers:
        found = {(told["runId"], told["kind"]): at for at, told in subscriber.seen}
        ours = [(told["runId"], told["kind"]) for _, told in subscriber.seen]
        complete += [event for event in ours if event in spent.asked_at] == wanted
        delays += [(found[event] - asked) * 1000 for event, asked in spent.asked_at.items() if event in found]
    return Figures(complete, delays, len(delays) / spent.seconds, spent.cpu_percent)


def _steps(bench: Bench) -> int:
    return bench.choose(full=10, quick=3) * PER_S


@dataclass(frozen=True, slots=True)
class Spent:
    """When each thing was asked for, and what all of it cost the api process."""

    asked_at: dict[tuple[str, Any], float]
    seconds: float
    cpu_percent: float


async def _spending(server: Server, act: Callable[[], Awaitable[dict[tuple[str, Any], float]]]) -> Spent:
    """Act, and wait until everything has come."""
    process = server.process("api")
    start, before = time.perf_counter(), cpu_s(process)
    asked_at = await act()
    seconds = time.perf_counter() - start
    await asyncio.sleep(LATE_S)
    return Spent(asked_at, seconds, (cpu_s(process) - before) / seconds * 100)


async def _log(server: Server, run_ids: Sequence[str], curves: Sequence[Any]) -> dict[tuple[str, Any], float]:
    """Log one step of one run after the other, at an even pace; when each step of a run was asked to be stored."""
    asked_at = {}
    keys, writers = points.keys(KEYS), [new_writer() for _ in run_ids]
    async for number in _paced(curves[0].shape[1] * RUNS, per_s=RUNS * PER_S):
        step, run = divmod(number, RUNS)
        batch = Batch(run, np.array([step]), np.array([START_MS + step]), curves[run][:, step])
        asked_at[run_ids[run], step] = time.perf_counter()
        payload(await server.ask(LOG, runId=run_ids[run], writerId=writers[run], blocks=[block(step, keys, batch)]))
    return asked_at


async def _begin_and_end(server: Server, count: int) -> dict[tuple[str, Any], float]:
    """Begin and end runs by turns, so many requests; when each event was asked for."""
    asked_at = {}
    run_id = ""
    async for number in _paced(count, per_s=PER_S):
        asked = time.perf_counter()
        if number % 2 == 0:
            run_id = await server.create_run()
            asked_at[run_id, "RUN_CREATED"] = asked
        else:
            await server.finish([run_id])
            asked_at[run_id, "STATUS_CHANGED"] = asked
    return asked_at


async def _paced(count: int, per_s: float) -> AsyncIterator[int]:
    start = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(start + number / per_s - time.perf_counter())
        yield number


@asynccontextmanager
async def _subscribed(
    server: Server, query: str, asked: Sequence[dict[str, Any]]
) -> AsyncIterator[Sequence[Subscriber]]:
    """A subscriber for each set of variables, listening while the block runs."""
    address = f"ws://{server.door.host}:{server.door.port}{PATH}"
    tokens = [
        await access.create_token(server.pool, server.scope.account_id)
        for _ in range(0, len(asked), SOCKETS_OF_A_TOKEN)
    ]
    async with AsyncExitStack() as stack:
        subscribers = []
        for number, variables in enumerate(asked):
            opening = connect(
                address, subprotocols=[Subprotocol("graphql-transport-ws")], compression=None, ping_interval=None
            )
            subscriber = Subscriber(await stack.enter_async_context(opening))
            await subscriber.begin(tokens[number // SOCKETS_OF_A_TOKEN], query, variables)
            subscribers.append(subscriber)
        async with asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(subscriber.listen()) for subscriber in subscribers]
            try:
                yield subscribers
            finally:
                for task in listening:
                    task.cancel()
