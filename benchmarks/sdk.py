"""What logging costs a training: the call itself, and a whole loop with the server up, slow and away."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
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
STATES: Final = ("up", "slow", "away")


async def measure(bench: Bench) -> Section:
    """Microseconds of a call; the slowdown of a loop."""
    section = Section(
        "What logging costs a training",
        f"{sdk_process.CALLS:,} calls one after the other, all of them stored afterwards, beside write(2) of the "
        f"same as a line of JSON; both survive kill -9 of the process. The loop has steps of about "
        f"{sdk_process.STEP_S * 1000:.0f} ms of hashing and logs {sdk_process.KEYS} scalars in each, in turns with "
        f"{sdk_process.BLOCK_STEPS} steps that log nothing; slow: every answer comes {LATE_S:.0f} s late.",
    )
    for name, count in ((ONE, 1), (TEN, 10)):
        found = [await _calls(bench.server, count) for _ in range(bench.choose(full=5, quick=1))]
        for contender, row in (("log", name), ("write", f"write(2) of JSON, {count}")):
            figures = {f"{part}_us": [each[f"{contender}_{part}"] for each in found] for part in ("p50", "p99")}
            section.add(row, **figures)
    for state in STATES:
        section.add(_loop_name(state), slowdown_percent=await _slowdown(bench, state))
    section.at_most("1 scalar at most 3 us", section.median(COLUMN, ONE), 3, "us")
    section.at_most("10 scalars at most 5 us", section.median(COLUMN, TEN), 5, "us")
    section.at_most("99 of 100 calls at most 50 us", section.median("p99 us", TEN), 50, "us")
    for state in STATES:
        slowdown = section.median("slowdown percent", _loop_name(state))
        section.at_most(f"a loop of 10 ms steps, server {state}: slower by at most 0.5 %", slowdown, 0.5, "%")
    return section


def _loop_name(state: str) -> str:
    return f"loop, server {state}"


async def _calls(server: Server, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, float] = await process(server, server.settings.url, "calls", str(count), f"{folder}/lines")
        return found


async def _slowdown(bench: Bench, state: str) -> float:
    """How much longer a step takes with logging, in percent: of neighbouring blocks, the median."""
    blocks = str(bench.choose(full=400, quick=100))
    async with _reached(bench.server, state) as url:
        found = await process(bench.server, url, "loop", blocks)
    ratios: list[float] = [logging / plain for plain, logging in zip(found["plain"], found["logging"], strict=True)]
    return 100 * (median(ratios) - 1)


@asynccontextmanager
async def _reached(server: Server, state: str) -> AsyncIterator[str]:
    """An address of the server, behind which it is up, slow or away."""
    if state == "up":
        yield server.settings.url
    elif state == "away":
        yield f"http://127.0.0.1:{free_port('127.0.0.1')}"
    else:
        relay = await asyncio.start_server(lambda *ends: _relay(server, *ends), "127.0.0.1")
        async with relay:
            yield f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}"


async def _relay(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass everything on, what comes back a second late."""
    there, back = await asyncio.open_connection("127.0.0.1", server.settings.port)
    with contextlib.suppress(ConnectionError):
        await asyncio.gather(_pass_on(reader, back, 0.0), _pass_on(there, writer, LATE_S))


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
