"""Child processes that are started, started again when they end, and stopped together.

Every child leads its own session, so that Ctrl-C in a terminal reaches only the keeper, and is leashed to the keeper,
so that it dies with it even under kill -9 (on Linux).
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.local.errors import CannotStart

CODE = Path(__file__).parents[2]  # the folder of our packages: the checkout, or runstone/_server
log = logging.getLogger(__name__)
LEASH = Path(__file__).with_name("leash.py")
LOG_BYTES_MAX = 10 * 1024 * 1024
POLL_S = 0.02
BACKOFF_S_MAX = 5.0
SETTLED_S = 10.0  # a child that has lived so long starts again at once when it crashes


async def at_once() -> bool:
    """Readiness of a program that has nothing to get ready."""
    return True


@dataclass(frozen=True, slots=True)
class Program:
    """How one child is started, known to be ready, and stopped."""

    name: str
    argv: tuple[str, ...]
    log: Path
    ready: Callable[[], Awaitable[bool]] = at_once
    env: Mapping[str, str] | None = None  # None: ours
    stdin: bytes = b""
    user: str | None = None  # None: stay who we are
    cwd: Path | None = None
    pass_fds: tuple[int, ...] = ()
    prepare: Callable[[], None] | None = None  # called before each start
    death_signal: signal.Signals = signal.SIGKILL  # sent by the kernel when the keeper dies
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)  # tried in turn, SIGKILL last
    stop_s: float = 2.0  # how long each of them may take
    start_s: float = 30.0
    attempts: int = 5  # failing starts in a row before we give up
    patient: bool = False  # once it has run, start it again for ever: a full disk may get space again


class Keeper:
    """Owns children; made by `keeping`."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._children: list[Child] = []

    async def start(self, program: Program) -> "Child":
        """Start the program, wait until it is ready, and keep it running. Raises `CannotStart`."""
        child = Child(program)
        self._children.append(child)
        await child.start()
        child.keeping = self._tasks.create_task(child.keep(), name=f"keep {program.name}")
        return child

    async def stop(self) -> None:
        """Stop all children at once; returns when the last is gone."""
        async with asyncio.TaskGroup() as stopping:
            for child in self._children:
                stopping.create_task(child.stop(), name=f"stop {child.program.name}")


@asynccontextmanager
async def keeping() -> AsyncIterator[Keeper]:
    """A keeper whose children are gone when the block ends; one that cannot be kept ends the block."""
    try:
        async with asyncio.TaskGroup() as tasks:
            keeper = Keeper(tasks)
            try:
                yield keeper
            finally:
                await keeper.stop()
    except BaseExceptionGroup as group:
        raise first(group) from None


def first(error: BaseException) -> BaseException:
    """The first exception that is not a group; the one to act on when several failed together."""
    return first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class Child:
    """One program, whichever process runs it at the moment."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.keeping: asyncio.Task[None] | None = None
        self.process: Process | None = None
        self.starts = 0

    async def start(self) -> None:
        """Start until the program is ready. Raises `CannotStart` with the end of its log."""
        for attempt in range(self.program.attempts):
            if attempt:
                await asyncio.sleep(backoff_s(attempt))
            if await self._start_once():
                return
        raise CannotStart(
            f"{self.program.name} does not start. The end of {self.program.log}:\n{tail(self.program.log)}"
        )

    async def keep(self) -> None:
        """Start the program again whenever it ends."""
        crashes = 0
        while True:
            assert self.process is not None
            since = time.monotonic()
            code = await self.process.wait()
            log.warning("%s ended (%s) and is started again; see %s", self.program.name, code, self.program.log)
            crashes = 1 if time.monotonic() - since > SETTLED_S else crashes + 1
            if crashes > 1:
                await asyncio.sleep(backoff_s(crashes - 1))
            await self._start_again()

    async def stop(self) -> None:
        """Ask the process to end, then insist."""
        if self.keeping is not None:
            self.keeping.cancel()
            await asyncio.wait([self.keeping])
        await self._end()

    async def _start_again(self) -> None:
        while True:
            try:
                return await self.start()
            except CannotStart as error:
                if not self.program.patient:
                    raise
                log.warning("%s", error)
                await asyncio.sleep(BACKOFF_S_MAX)

    async def _start_once(self) -> bool:
        program = self.program
        try:
            if program.prepare is not None:
                await asyncio.to_thread(program.prepare)
            self.process = process = await spawn(program)
        except OSError as error:  # no memory, no descriptors, no space: it may pass
            log.warning("%s cannot be started: %s", program.name, error)
            return False
        self.starts += 1
        try:
            async with asyncio.timeout(program.start_s):
                while process.returncode is None:
                    if await program.ready():
                        return process.returncode is None
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            await self._end()
        except CannotStart:
            await self._end()
            raise
        return False

    async def _end(self) -> None:
        process = self.process
        if process is None:
            return
        for number in (*self.program.stop_signals, signal.SIGKILL):
            if process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.program.stop_s):
                    await process.wait()


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 0.2, 0.4, 0.8 ... at most five."""
    return min(0.1 * 2.0**failures, BACKOFF_S_MAX)


async def spawn(program: Program) -> Process:
    """One leashed process whose output goes to the program's log."""
    output = open_log(program.log)
    try:
        process = await asyncio.create_subprocess_exec(
            *leashed(program.argv, program.death_signal, program.user),
            stdin=PIPE if program.stdin else DEVNULL,
            stdout=output,
            stderr=STDOUT,
            env=program.env,
            cwd=program.cwd,
            pass_fds=program.pass_fds,
            start_new_session=True,
        )
    finally:
        os.close(output)
    if process.stdin is not None:
        process.stdin.write(program.stdin)  # less than a pipe holds, so there is nothing to wait for
        process.stdin.close()
    return process


async def run(program: Program) -> None:
    """Run a program that ends by itself. Raises `CannotStart` with the end of its log when it fails."""
    process = await spawn(program)
    try:
        async with asyncio.timeout(program.start_s):
            if await process.wait() == 0:
                return
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
    raise CannotStart(f"{program.name} failed. The end of {program.log}:\n{tail(program.log)}")


async def answers(url: str) -> bool:
    """Whether a GET of the URL is answered with 200."""
    try:
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=2.0) as client:  # noqa: S501 - plain HTTP
            return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def leashed(argv: tuple[str, ...], death_signal: signal.Signals, user: str | None) -> tuple[str, ...]:
    """The command that becomes `argv` and dies with this process."""
    return (
        sys.executable, "-I", "-S", str(LEASH), str(int(death_signal)), str(os.getpid()), user or "-", *argv,
    )  # fmt: skip


def open_log(path: Path) -> int:
    """A descriptor to append to; a large log moves to PATH.1 first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, indented."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
