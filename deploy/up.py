"""`python -P -m deploy.up`: the whole of Runstone on this machine, until Ctrl-C or SIGTERM.

What `runstone up` and `make run` start. Postgres, Valkey and the S3 store first, where the settings name none of the
user's own, then migrations, then the API and the worker.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from deploy.local import environment
from deploy.local.errors import CannotStart
from deploy.local.home import comes_free, locked
from deploy.local.keep import Keeper, Program, answers, at_once, keeping, run
from deploy.local.stack import READY, Show, services, silent
from deploy.local.swift import LOOPBACK_OF, url_of
from settings import Settings, SettingsError

API_READY_S = 60.0
STOP_S = 8.0
MIGRATE_S = 600.0
PORT_WAIT_S = 1.0
WORKER_PROOF_S = 1.0  # a worker that lives so long has started
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run until a signal; the exit code."""
    try:
        settings = Settings.from_env()
        asyncio.run(until_signal(up(settings)))
    except (CannotStart, SettingsError) as error:
        refusal = str(error)
    except OSError as error:  # such as a disk that fills up
        refusal = f"Cannot go on: {error}"
    else:
        return 0
    print(f"runstone: {refusal}", file=sys.stderr)
    return 1


async def until_signal(work: Coroutine[None, None, None]) -> None:
    """Do the work, and end it in order at the first signal; later ones change nothing."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, _cancel_once, task)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _cancel_once(task: asyncio.Task[None]) -> None:
    if not task.cancelling():
        print("\nStopping ...", flush=True)
        task.cancel()


async def up(settings: Settings) -> None:
    """Start everything, say where it is, and keep it running until cancelled. Raises `CannotStart`."""
    console = Console()
    logging.basicConfig(format="%(message)s", handlers=[RichHandler(console=console, show_path=False)])
    with Board(console) as board:
        async with running(settings, progress=board.show) as complete:
            board.close()
            print(welcome(complete), flush=True)
            await asyncio.Event().wait()


@asynccontextmanager
async def running(settings: Settings, *, progress: Show = silent) -> AsyncIterator[Settings]:
    """The whole of Runstone, ready, with the settings that its processes have; stopped when the block ends.

    Raises `CannotStart`; also into the block when a part cannot be kept running.
    """
    with locked(settings.home):  # first, so that a second start on this folder is told so
        await _check_port(settings)
    async with services(settings, progress=progress) as complete, keeping() as keeper:
        await _migrate(complete, progress)
        async with asyncio.TaskGroup() as starting:
            starting.create_task(_start_api(keeper, complete, progress))
            starting.create_task(_start_worker(keeper, complete, progress))
        with environment.announced(complete):
            yield complete


async def _check_port(settings: Settings) -> None:
    if not await comes_free(settings.host, settings.port, PORT_WAIT_S):
        raise CannotStart(
            f"Port {settings.port} on {settings.host} is in use by another program. "
            f"Choose another with RUNSTONE_PORT, such as RUNSTONE_PORT={settings.port % 65535 + 1}."
        )


async def _migrate(settings: Settings, progress: Show) -> None:
    progress("Database", "migrating")
    await run(_program("The migration", "db", settings, start_s=MIGRATE_S))
    progress("Database", READY)


async def _start_api(keeper: Keeper, settings: Settings, progress: Show) -> None:
    progress("API", "starting")
    url = url_of(LOOPBACK_OF.get(settings.host, settings.host), settings.port)
    ready = partial(answers, f"{url}/readyz")
    await keeper.start(_program("The API", "api", settings, ready=ready, start_s=API_READY_S))
    progress("API", READY)


async def _start_worker(keeper: Keeper, settings: Settings, progress: Show) -> None:
    progress("Worker", "starting")
    await keeper.start(_program("The worker", "workers", settings, ready=_worker_lives))
    progress("Worker", READY)


async def _worker_lives() -> bool:
    await asyncio.sleep(WORKER_PROOF_S)
    return True


def _program(
    name: str,
    package: str,
    settings: Settings,
    *,
    ready: Callable[[], Awaitable[bool]] = at_once,
    start_s: float = 30.0,
) -> Program:
    """One of our own packages, run as a program with these settings."""
    return Program(
        name=name,
        argv=(sys.executable, "-P", "-m", package),
        env=environment.for_child(settings),
        log=settings.home / "logs" / f"{package}.log",
        ready=ready,
        start_s=start_s,
        stop_s=STOP_S,
        patient=True,
    )


def welcome(settings: Settings) -> str:
    """What people read when everything runs."""
    token = settings.token_path.read_text().strip() if settings.token_path.exists() else ""
    # After the #, so that browsers keep the token to themselves and no log shows it.
    link = f"{settings.url}/#token={token}" if token else settings.url
    return (
        f"Runstone is ready: {settings.url}\n\n"
        f"  Open      {link}\n"
        f"  From code RUNSTONE_URL={settings.url} (the token is in {settings.token_path})\n"
        f"  Data      {settings.home}\n"
        f"  Logs      {settings.home / 'logs'}\n"
        "  Stop      Ctrl-C\n"
    )


class Board:
    """Shows each part of Runstone while it starts."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<10}"),
            TextColumn("{task.fields[state]:<10}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._parts: dict[str, TaskID] = {}

    def __enter__(self) -> "Board":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the lines as they are."""
        self._progress.stop()

    def show(self, part: str, state: str) -> None:
        """Say what a part does now."""
        if part not in self._parts:
            self._parts[part] = self._progress.add_task(part, total=1, state=state)
        self._progress.update(self._parts[part], state=state, completed=int(state == READY))


if __name__ == "__main__":
    sys.exit(main())
