"""Does what the schedule says to a place, and waits until everything works again."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import ids
from tests.gate import Gate
from tests.torture.checker import Violation
from tests.torture.content import Block
from tests.torture.journal import Journal
from tests.torture.place import LOGS, Place
from tests.torture.proxy import Direction
from tests.torture.schedule import Cycle, Fault
from tests.torture.wire import CREATE, Server

RECOVERY_S_MAX = 60.0
STOP_S_MAX = 10.0
REACH_S = 8.0  # a failpoint that nobody comes to in this time is given up
POLL_S = 0.05

INGEST_BACKEND = """
    select pid from pg_stat_activity where application_name = 'runstone ingest' order by backend_start desc limit 1
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fault and how long it took until points were acknowledged again and every part worked; None: not struck."""

    cycle: Cycle
    recovery_s: float | None

    def __str__(self) -> str:
        how = "not reached" if self.recovery_s is None else f"well after {self.recovery_s:.2f} s"
        return f"{self.cycle.number:4d}  {self.cycle.fault}: {how}"


class Nemesis:
    """Strikes a place. Its probe is a writer like any other, with a journal."""

    def __init__(self, place: Place, probe: Server, journal: Journal) -> None:
        self._place = place
        self._probe = probe
        self._journal = journal
        self._run_id = str(ids.new())
        self._writer_id = str(uuid4())
        self._number = 1
        self._next_seq = 0
        self.violations: list[Violation] = []

    async def prepare(self) -> None:
        """Begin the run of the probe."""
        self._journal.note(f"run {self._run_id} http")
        await self._probe.ask(CREATE, input={"id": self._run_id, "experiment": "torture"})
        self._journal.note(f"created {self._run_id}")
        await self._store_point()

    async def strike(self, cycle: Cycle) -> Outcome:
        """Let the fault happen, and wait until all is well."""
        await asyncio.sleep(cycle.after_s)
        began_at = await self._inject(cycle)
        if began_at is None:
            return Outcome(cycle, None)
        try:
            async with asyncio.timeout(RECOVERY_S_MAX):
                await self._store_point()
                while not await self._place.is_well():
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            self._report("recovery", f"not well {RECOVERY_S_MAX:g} s after {cycle.fault}")
        return Outcome(cycle, time.monotonic() - began_at)

    def _report(self, kind: str, text: str) -> None:
        self.violations.append(Violation(kind, "-", text))

    async def _store_point(self) -> None:
        block = Block(self._number, self._next_seq, 1, 1, self._next_seq)
        self._journal.tried(self._run_id, self._writer_id, [block])
        while (answer := await self._probe.log(self._run_id, self._writer_id, [block])).outcome != "stored":
            if answer.outcome != "later":
                self._report("answer", answer.text)
            await asyncio.sleep(POLL_S)
        self._journal.note(f"acknowledged {self._number} {self._next_seq} 1")
        self._next_seq += 1

    async def _inject(self, cycle: Cycle) -> float | None:
        """When the fault was over and the recovery began; None when it did not come to it."""
        fault = cycle.fault
        match fault.kind:
            case "kill":
                return await self._kill(fault.target)
            case "failpoint":
                return await self._failpoint(fault)
            case "gate":
                return await self._gate(fault)
            case "freeze":
                return await self._freeze(fault.target, cycle.lasts_s)
            case "terminate":
                return await self._terminate(fault.target)
            case "flush":
                return await self._flush()
            case _:
                return await self._disturb(fault, cycle.lasts_s)

    async def _kill(self, target: str) -> float | None:
        if target == "backend":
            pid = await self._ingest_backend()
            return None if pid is None else _send(pid, signal.SIGKILL)
        parts = tuple(LOGS) if target == "everything" else (target,)
        began_at = None
        for process in filter(None, map(self._place.process, parts)):
            began_at = _send(process.pid, signal.SIGKILL) or began_at
        return began_at

    async def _ingest_backend(self) -> int | None:
        try:
            conn = await asyncpg.connect(self._place.database_url, timeout=5)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return None
        try:
            pid: int | None = await conn.fetchval(INGEST_BACKEND)
            return pid
        finally:
            conn.terminate()

    async def _failpoint(self, fault: Fault) -> float | None:
        points = self._place.failpoints
        points.arm(fault.target, fault.detail)
        with suppress(TimeoutError):
            await points.reached(fault.target, REACH_S)
        return None if points.disarm(fault.target) else time.monotonic()

    async def _gate(self, fault: Fault) -> float | None:
        async with _closed(Gate(self._place.database_url, fault.target)) as closed:
            try:
                pid = await closed.waiting()
            except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                return None
            if fault.detail == "backend":
                return _send(pid, signal.SIGKILL)
            return await self._kill("api")

    async def _freeze(self, part: str, lasts_s: float) -> float | None:
        if part == "backend":
            pid = await self._ingest_backend()
        else:
            process = self._place.process(part)
            pid = process.pid if process else None
        if pid is None or _send(pid, signal.SIGSTOP) is None:
            return None
        await asyncio.sleep(lasts_s)
        return _send(pid, signal.SIGCONT)

    async def _terminate(self, part: str) -> float | None:
        process = self._place.process(part)
        if process is None:
            return None
        began_at = _send(process.pid, signal.SIGTERM)
        while began_at is not None and _is_running(process):
            if time.monotonic() - began_at > STOP_S_MAX:
                self._report("stop", f"{part} still runs {STOP_S_MAX:g} s after SIGTERM")
                break
            await asyncio.sleep(POLL_S)
        return began_at

    async def _flush(self) -> float | None:
        with suppress(RedisError, OSError):
            async with Redis.from_url(self._place.redis_url, socket_timeout=2) as client:
                await client.flushall()
            return time.monotonic()
        return None

    async def _disturb(self, fault: Fault, lasts_s: float) -> float:
        network = self._place.stretch(fault.target)
        if fault.kind == "cut":
            network.cut()
            return time.monotonic()
        if fault.kind == "silence":
            directions: dict[str, Direction] = {"up": "up", "down": "down"}
            network.silence(*(directions[name] for name in fault.detail.split()))
        elif fault.kind == "slow":
            network.latency_s = 0.05
        else:
            network.refusing = True
        await asyncio.sleep(lasts_s)
        network.restore()
        return time.monotonic()


@asynccontextmanager
async def _closed(gate: Gate) -> AsyncIterator[Gate]:
    try:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            await gate.close()
        yield gate
    finally:
        await gate.open()


def _send(pid: int, number: signal.Signals) -> float | None:
    """When the signal was sent; None when the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return None
    return time.monotonic()


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
