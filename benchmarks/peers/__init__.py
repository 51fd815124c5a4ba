"""Other tracking servers, where a venv has them: each on a database of its own in the same Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import psutil

from benchmarks import limits
from benchmarks.peers import fasttrackml, mlflow
from benchmarks.peers.rest import Peer
from benchmarks.report import in_a_line
from benchmarks.server import Server
from deploy.local.errors import CannotStart
from deploy.local.keep import Keeper, keeping

Start: TypeAlias = Callable[[Keeper, Path, str, Path], Awaitable[Peer]]

KNOWN: Final[tuple[tuple[str, str, str, Start], ...]] = (
    (fasttrackml.NAME, fasttrackml.PROGRAM, fasttrackml.DATABASE, fasttrackml.start),
    (mlflow.NAME, mlflow.PROGRAM, mlflow.DATABASE, mlflow.start),
)


@asynccontextmanager
async def started(server: Server, venv: Path | None) -> AsyncIterator[tuple[list[Peer], list[tuple[str, str]]]]:
    """The peers that run, and of the others the name and why they do not."""
    running: list[Peer] = []
    absent: list[tuple[str, str]] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="runstone-peers-")))
        databases = [
            (name, start, await stack.enter_async_context(limits.database(server.pool, server.database_url, database)))
            for name, program, database, start in KNOWN
            if venv is not None and (venv / "bin" / program).exists()
        ]
        there = {name for name, *_ in databases}
        absent += [(name, "not measured: no --peers venv has it") for name, *_ in KNOWN if name not in there]
        stack.callback(end_all_in, folder)
        keeper = await stack.enter_async_context(keeping())
        for name, start, url in databases:
            try:
                running.append(await start(keeper, venv or Path(), url, folder))
            except CannotStart as error:
                absent.append((name, in_a_line(error)))
        yield running, absent


def end_all_in(folder: Path) -> None:
    """End what the peers have started and left behind: every process that stands in this folder of ours."""
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()
