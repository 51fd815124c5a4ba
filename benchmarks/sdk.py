"""What logging costs a training: the call itself, and a whole loop with the server up, slow and away."""

import asyncio
import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Any, Final

from benchmarks import sdk_process
from benchmarks.bench import Bench
from benchmarks.report import Section
from benchmarks.server import Server
from benchmarks.wire import Refused
from deploy.local.home import free_port

LATE_S: Final = 1.0  # a slow server's answers, on top
PROCESS_S: Final = 200.0
COLUMN: Final = "p50 us"
ONE: Final = "run.log, 1 scalar"
TEN: Final = "run.log, 10 scalars"
NOTHING: Final = "loop that logs nothing in either half"
UNPLUGGED: Final = "loop, server unplugged for a third"
STATES: Final = ("up", "slow", "away")


async def measure(bench: Bench) -> Section:
    """Microseconds of a call; the slowdown of a loop."""
    section = Section(
        "What logging costs a training",
        f"{sdk_process.CALLS:,} calls one after the other, all of them stored afterwards, beside write(2) of the "
        f"same as a line of JSON; both survive kill -9 of the process. The loop has steps of about "
        f"{sdk_process.STEP_S * 1000:.0f} ms of hashing and logs {sdk_process.KEYS} scalars in each, in turns with "
        f"steps that log nothing; slow: every answer comes {LATE_S:.0f} s late; "
        f"unplugged: no server in the second third of the loop, which is what is measured. Noise: 95 of 100 such "
        f"measurements are no further from the truth; of the loop that logs nothing the truth is 0. log: the "
        f"call alone, whose code and data the hashing has driven out of the caches of the processor.",
    )
    for name, count in ((ONE, 1), (TEN, 10)):
        found = [await _calls(bench.server, count) for _ in range(bench.choose(full=5, quick=1))]
        for contender, row in (("log", name), ("write", f"write(2) of JSON, {count}")):
            figures = {f"{part}_us": [each[f"{contender}_{part}"] for each in found] for part in ("p50", "p99")}
            section.add(row, **figures)
    section.add(NOTHING, **await _slowdown(bench, "up", "nothing"))
    for state in STATES:
        section.add(_loop_name(state), **await _slowdown(bench, state, "loop"))
    section.add(UNPLUGGED, **await _unplugged(bench))
    section.at_most("1 scalar at most 3 us", section.median(COLUMN, ONE), 3, "us")
    section.at_most("10 scalars at most 5 us", section.median(COLUMN, TEN), 5, "us")
    section.at_most("99 of 100 calls at most 50 us", section.median("p99 us", TEN), 50, "us")
    for state in STATES:
        slowdown = section.median("slowdown percent", _loop_name(state))
        section.at_most(f"a loop of 10 ms steps, server {state}: slower by at most 0.5 %", slowdown, 0.5, "%")
    slowdown = section.median("slowdown percent", UNPLUGGED)
    section.at_most("steps keep their rate within 1 % while the server is unplugged", slowdown, 1, "%")
    return section


def _loop_name(state: str) -> str:
    return f"loop, server {state}"


async def _calls(server: Server, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, float] = await process(server, server.settings.url, "calls", str(count), f"{folder}/lines")
        return found


async def _slowdown(bench: Bench, state: str, what: str) -> dict[str, float]:
    """How much longer a step takes with logging, and how sure that is."""
    blocks = str(bench.choose(full=400, quick=100))
    async with _reached(bench.server, state) as url:
        found = await process(bench.server, url, what, blocks)
    compared = _compared(zip(found["plain"], found["logging"], strict=True))
    return {**compared, "log_us": 1_000_000 * median(found["log"])}


def _compared(blocks: Iterable[tuple[float, float]]) -> dict[str, float]:
    """The second of each pair beside the first, in percent: the median, and how far that may be from the true one."""
    percents = [100 * (logging / plain - 1) for plain, logging in blocks]
    low, _, high = quantiles(percents, n=4)
    deviation = (high - low) / 1.349  # of a normal distribution with these quartiles
    return {
        "slowdown_percent": median(percents),
        "noise_percent": 1.96 * 1.2533 * deviation / math.sqrt(len(percents)),
    }


async def _unplugged(bench: Bench) -> dict[str, float]:
    """The slowdown while there is no server, and how long it takes afterwards until all is stored."""
    third_s = bench.choose(full=25, quick=5)
    pairs = round(3 * third_s / (2 * sdk_process.BLOCK_STEPS * sdk_process.STEP_S))
    plug = _Plug(bench.server)
    await plug.put_in()
    training = asyncio.create_task(process(bench.server, plug.url, "unplugged", str(pairs)))
    try:
        await asyncio.sleep(third_s)
        out = time.time()
        await plug.pull_out()
        await asyncio.sleep(third_s)
        back = time.time()
        await plug.put_in()
        found = await training
    finally:
        training.cancel()
        await plug.pull_out()
    blocks = zip(found["began"], found["plain"], found["logging"], strict=True)
    return {
        **_compared((plain, logging) for began, plain, logging in blocks if out <= began < back),
        "drained_s": found["drained_s"],
    }


class _Plug:
    """An address behind which the server is, unless it is pulled out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._port = free_port("127.0.0.1")
        self._listening: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def put_in(self) -> None:
        """From now on the server is there."""
        self._listening = await asyncio.start_server(self._connect, "127.0.0.1", self._port)

    async def pull_out(self) -> None:
        """Every connection breaks, and there are no new ones."""
        if self._listening is not None:
            self._listening.close()
        for end in self._ends:
            end.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            await _relay(self._server, 0.0, reader, writer)
        finally:
            self._ends.discard(writer)


@asynccontextmanager
async def _reached(server: Server, state: str) -> AsyncIterator[str]:
    """An address of the server, behind which it is up, slow or away."""
    if state == "up":
        yield server.settings.url
    elif state == "away":
        yield f"http://127.0.0.1:{free_port('127.0.0.1')}"
    else:
        relay = await asyncio.start_server(lambda *ends: _relay(server, LATE_S, *ends), "127.0.0.1")
        async with relay:
            yield f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}"


async def _relay(server: Server, late_s: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass everything on, what comes back so much later."""
    there, back = await asyncio.open_connection("127.0.0.1", server.settings.port)
    with contextlib.suppress(ConnectionError):
        await asyncio.gather(_pass_on(reader, back, 0.0), _pass_on(there, writer, late_s))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: float) -> None:
    while data := await reader.read(65_536):
        await asyncio.sleep(late_s)
        writer.write(data)
        await writer.drain()
    writer.close()


async def process(server: Server, url: str, what: str, *given: str) -> Any:
    """What a training process measures. Raises `Refused`."""
    token = await asyncio.to_thread(server.settings.token_path.read_text)
    with tempfile.TemporaryDirectory(prefix="runstone-spool-") as spool:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "benchmarks.sdk_process", what, *given,
            env={
                **os.environ,
                "RUNSTONE_URL": url,
                "RUNSTONE_TOKEN": token.strip(),
                "RUNSTONE_SPOOL_DIR": spool,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(PROCESS_S):
            output, errors = await running.communicate()
        if running.returncode:
            raise Refused(f"the training ended with {running.returncode}: {errors.decode()[-500:]}")
        return json.loads(output)
