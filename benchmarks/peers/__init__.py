"""Other tracking servers, where a venv has them: each on a database of its own in the same Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
async def started(server: Server, venvs: Sequence[Path]) -> AsyncIterator[tuple[list[Peer], list[tuple[str, str]]]]:
    """The peers that run, each from the first venv that has it; of the others the name and why they do not."""
    running: list[Peer] = []
    absent: list[tuple[str, str]] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="runstone-peers-")))
        stack.callback(end_all_in, folder)
        keeper = await stack.enter_async_context(keeping())
        for name, program, database, start in KNOWN:
            venv = next((venv for venv in venvs if (venv / "bin" / program).exists()), None)
            if venv is None:
                absent.append((name, "not measured: no --peers venv has it"))
                continue
            url = await stack.enter_async_context(limits.database(server.pool, server.database_url, database))
            try:
                running.append(await start(keeper, venv, url, folder))
            except CannotStart as error:
                absent.append((name, in_a_line(error)))
        yield running, absent


def end_all_in(folder: Path) -> None:
    """End what the peers have started and left behind: every process that stands in this folder of ours."""
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()
