"""The whole story: writers, faults, checks, and what came of it."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from db.pool import Pool, open_pool
from tests.torture import schedule
from tests.torture.checker import Violation, check_all, check_run
from tests.torture.journal import History, Journal
from tests.torture.nemesis import Nemesis, Outcome
from tests.torture.place import Place, open_place
from tests.torture.wire import FINISH, Server

ROOT = Path(__file__).parents[2]
SETTLE_S = 120.0  # uploads end and the compaction is done so long after the last fault
WRITER_START_S = 60.0
WRITER_STOP_S = 30.0
RATE = 60.0  # batches a second of each process

log = logging.getLogger("torture")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do; whichever of `cycles` and `minutes` is over first ends it."""

    home: Path
    seed: int
    cycles: int
    minutes: float
    deck: Sequence[schedule.Fault] = schedule.ALL
    writers: int = 2
    trainings: int = 2
    check_every: int = 50
    rate: float = RATE
    rows_of: int = 5  # runs that are compared through SQL


@dataclass(slots=True)
class Result:
    """What came of it."""

    plan: Plan
    outcomes: list[Outcome] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    history: History = field(default_factory=History)
    seconds: float = 0.0

    @property
    def struck(self) -> list[Outcome]:
        """The faults that happened: nobody may come to a failpoint in time."""
        return [outcome for outcome in self.outcomes if outcome.recovery_s is not None]

    def recoveries(self) -> dict[str, list[float]]:
        """Seconds until all was well, by fault."""
        found: dict[str, list[float]] = {}
        for outcome in self.struck:
            assert outcome.recovery_s is not None
            found.setdefault(str(outcome.cycle.fault), []).append(outcome.recovery_s)
        return dict(sorted(found.items()))


class Writers:
    """The processes that log. One that dies is started again, with numbers of its own."""

    def __init__(self, plan: Plan, place: Place) -> None:
        self._plan = plan
        self._place = place
        self._numbers = count(10)
        self._stopping = False
        self._processes: set[asyncio.subprocess.Process] = set()

    async def keep(self, module: str, *more: str) -> None:
        """Run the module again and again until `stop`."""
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}", "RUNSTONE_QUIET": "1"}
        while not self._stopping:
            number = next(self._numbers)
            journal = self._plan.home / "journals" / f"{number}.journal"
            with (self._plan.home / "writers.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", module,
                    self._place.url, str(journal), str(number), str(self._plan.seed), *more,
                    env={
                        **environment,
                        "RUNSTONE_TOKEN": self._place.token,
                        "RUNSTONE_SPOOL_DIR": str(self._plan.home / "spool"),
                    },
                    stdout=log, stderr=log,
                )  # fmt: skip
            self._processes.add(process)
            try:
                code = await process.wait()
            finally:
                self._processes.discard(process)
                if process.returncode is None:
                    process.kill()
            if code not in (0, -signal.SIGKILL):
                raise RuntimeError(f"{module} ended with {code}; see {self._plan.home / 'writers.log'}")

    async def stop(self) -> None:
        """Let everyone finish what is under way; who takes too long is killed."""
        self._stopping = True
        for process in tuple(self._processes):
            process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITER_STOP_S):
                while self._processes:
                    await asyncio.sleep(0.05)
        for process in tuple(self._processes):
            process.kill()


@asynccontextmanager
async def writing(plan: Plan, place: Place) -> AsyncIterator[None]:
    """Writers at work; they have stopped when the block ends."""
    writers = Writers(plan, place)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(plan.writers):
            tasks.create_task(writers.keep("tests.torture.writers", str(plan.rate)))
        for _ in range(plan.trainings):
            tasks.create_task(writers.keep("tests.torture.training", str(place.failpoints.folder)))
        try:
            yield
        finally:
            await writers.stop()


async def torture(plan: Plan) -> Result:
    """Start a Runstone, log to it, hurt it, and check what it holds."""
    result = Result(plan)
    journals = plan.home / "journals"
    journals.mkdir(parents=True)
    began_at = time.monotonic()
    async with (
        open_place(plan.home) as place,
        Server(place.url, place.token) as probe,
        Server(place.direct_url, place.token, answer_s=60) as server,
    ):
        nemesis = Nemesis(place, probe, Journal(journals / "probe.journal"))
        await nemesis.prepare()
        async with writing(plan, place):
            await _all_at_work(plan)
            log.info("everyone is at work after %.1f s", time.monotonic() - began_at)
            await _strike(plan, nemesis, server, result)
        async with open_pool(place.database_url, size_max=4, statement_timeout_s=300, name="torture") as pool:
            log.info("the last fault was over after %.1f s", time.monotonic() - began_at)
            result.history = History.of(journals)
            result.violations += await _settle(server, pool, result.history)
            log.info("all was settled after %.1f s", time.monotonic() - began_at)
            result.violations += await check_all(server, result.history, pool, rows_of=plan.rows_of)
    result.violations = list(dict.fromkeys(result.violations))
    result.seconds = time.monotonic() - began_at
    return result


async def _all_at_work(plan: Plan) -> None:
    """Until every process has had something acknowledged."""
    async with asyncio.timeout(WRITER_START_S):
        while True:
            journals = list((plan.home / "journals").glob("*.journal"))
            at_work = [path for path in journals if "\nacknowledged " in path.read_text()]
            if len(at_work) == plan.writers + plan.trainings + 1:
                return
            await asyncio.sleep(0.1)


async def _strike(plan: Plan, nemesis: Nemesis, server: Server, result: Result) -> None:
    """Fault after fault, until the plan is fulfilled or a promise is broken."""
    ends_at = time.monotonic() + plan.minutes * 60
    checked: set[str] = set()
    for cycle in islice(schedule.cycles(plan.seed, plan.deck), plan.cycles):
        outcome = await nemesis.strike(cycle)
        result.outcomes.append(outcome)
        log.info("%s", outcome)
        result.violations += nemesis.violations
        nemesis.violations = []
        if cycle.number % plan.check_every == plan.check_every - 1:
            result.violations += await _check_finished(server, plan.home / "journals", checked)
        if result.violations or time.monotonic() > ends_at:
            return


async def _check_finished(server: Server, journals: Path, checked: set[str]) -> list[Violation]:
    """What is wrong with the runs that have finished since the last time; nothing may change them any more."""
    history = History.of(journals)
    found = [Violation("answer", "-", odd) for odd in history.odd]
    for story in history.runs.values():
        if story.finished and story.run_id not in checked:
            checked.add(story.run_id)
            found += await check_run(server, story)
    return found


UNSETTLED = """
    select (select count(*) from artifact where state in ('PENDING', 'VALIDATING')) as uploads,
        (select count(*) from block) as blocks
"""


async def _settle(server: Server, pool: Pool, history: History) -> list[Violation]:
    """Finish every run, and wait until its uploads have ended and its points are compacted."""
    for story in history.runs.values():
        if not story.finished:
            await server.ask(FINISH, input={"runId": story.run_id})
    row: Iterable[int] = ()
    try:
        async with asyncio.timeout(SETTLE_S):
            while any(row := await pool.fetchrow(UNSETTLED) or ()):
                await asyncio.sleep(0.2)
    except TimeoutError:
        return [Violation("settle", "-", f"after {SETTLE_S:g} s uploads that wait and blocks not compacted: {[*row]}")]
    return []
