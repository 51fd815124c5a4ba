"""Exactly-once under fire, in short (`make torture` is the long form); and proof that its checker can fail."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from db import ids
from db.pool import Pool
from tests.conftest import Server
from tests.torture import report, schedule, wire
from tests.torture.checker import check_all, check_run, check_uploads
from tests.torture.content import Block
from tests.torture.journal import File, History, Journal
from tests.torture.schedule import KILLS, Fault
from tests.torture.story import Plan, torture
from tests.torture.wire import CREATE, FINISH

SHORT = (
    *(fault for fault in KILLS if fault.target != "everything"),
    Fault("cut", "clients"),
    Fault("cut", "database"),
    Fault("silence", "clients", "down"),
    Fault("freeze", "backend"),
    Fault("failpoint", "sdk.after_send_before_ack", "kill"),
)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("unmeasured")
async def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    home = tmp_path / "torture"
    plan = Plan(home, seed=7, cycles=len(SHORT), minutes=2, deck=SHORT, writers=1, trainings=1, rate=40, check_every=6)
    result = await torture(plan)
    figures = report.summary(result)
    assert figures["violations"] == []
    assert {outcome.cycle.fault for outcome in result.struck} >= set(KILLS) & set(SHORT)
    assert 0 < figures["points_acknowledged"] <= figures["points_tried"]
    assert figures["runs_finished_under_fire"]
    assert "**0 violations.**" in report.markdown(figures)


def test_same_seed_gives_the_same_faults() -> None:
    first, again, other = (list(islice(schedule.cycles(seed), 200)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert {cycle.fault for cycle in first} == set(schedule.ALL)


class Told:
    """A run with some blocks that are really there, and a journal of it that a test can falsify."""

    def __init__(self, lines: list[str], run_id: str, writer_id: str, number: int) -> None:
        self.lines = lines
        self.run_id = run_id
        self.writer_id = writer_id
        self.number = number

    def history(self) -> History:
        history = History()
        history.read(self.lines)
        return history

    def line(self, seq: int) -> str:
        """The line that says that the block was tried."""
        return next(
            line for line in self.lines if line.startswith(f"tried {self.run_id}") and f" {self.number} {seq} " in line
        )


@pytest.fixture
async def asking(server: Server) -> Any:
    async with wire.Server(server.url, server.token) as opened:
        yield opened


@pytest.fixture
async def told(asking: wire.Server, tmp_path: Path) -> Told:
    """Ten blocks, all acknowledged, of a run that has finished."""
    run_id, writer_id, number = str(ids.new()), str(uuid4()), 5
    journal = Journal(tmp_path / "1.journal")
    journal.note(f"run {run_id} http")
    await asking.ask(CREATE, input={"id": run_id, "experiment": "torture"})
    journal.note(f"created {run_id}")
    for seq in range(10):
        block = Block(number, seq, keys=3, n=4, salt=977 * seq)
        journal.tried(run_id, writer_id, [block])
        assert (await asking.log(run_id, writer_id, [block])).outcome == "stored"
        journal.note(f"acknowledged {number} {seq} 1")
    await asking.ask(FINISH, input={"runId": run_id})
    journal.note(f"finished {run_id}")
    lines = (tmp_path / "1.journal").read_text().splitlines()
    return Told(lines, run_id, writer_id, number)


async def kinds(asking: wire.Server, told: Told, pool: Pool) -> set[str]:
    """What the checker finds wrong, by kind."""
    return {violation.kind for violation in await check_all(asking, told.history(), pool, rows_of=1)}


async def test_true_journal_is_believed(asking: wire.Server, told: Told, pool: Pool) -> None:
    assert await kinds(asking, told, pool) == set()


async def test_missing_point_is_found(asking: wire.Server, told: Told, pool: Pool) -> None:
    told.lines += [told.line(9).replace(" 5 9 ", " 5 10 "), "acknowledged 5 10 1"]
    assert await kinds(asking, told, pool) == {"missing"}


async def test_point_that_nobody_sent_is_found(asking: wire.Server, told: Told, pool: Pool) -> None:
    told.lines = [line for line in told.lines if line not in (told.line(9), "acknowledged 5 9 1")]
    assert await kinds(asking, told, pool) == {"unknown", "content", "view"}


async def test_altered_point_is_found(asking: wire.Server, told: Told, pool: Pool) -> None:
    place = told.lines.index(told.line(4))
    told.lines[place] = told.lines[place].replace(f" {977 * 4}", f" {977 * 4 + 1}")
    assert await kinds(asking, told, pool) == {"altered", "content", "view"}


async def test_torn_block_is_found(asking: wire.Server, told: Told, pool: Pool) -> None:
    place = told.lines.index(told.line(4))
    told.lines[place] = told.lines[place].replace(" 5 4 3 4 ", " 5 4 3 5 ")
    assert {"torn", "missing"} <= await kinds(asking, told, pool)


async def test_gap_is_found(asking: wire.Server, told: Told) -> None:
    told.lines = [line for line in told.lines if line not in (told.line(4), "acknowledged 5 4 1")]
    found = await check_run(asking, told.history().runs[told.run_id])
    assert {violation.kind for violation in found} == {"unknown", "gap"}


async def test_refused_block_that_is_there_is_found(asking: wire.Server, told: Told, pool: Pool) -> None:
    told.lines.append("refused 5 3 1")
    assert await kinds(asking, told, pool) == {"refused"}


async def test_block_sent_after_the_end_that_is_there_is_found(asking: wire.Server, told: Told, pool: Pool) -> None:
    end = f"finished {told.run_id}"
    told.lines.remove(end)
    told.lines.insert(told.lines.index(told.line(8)), end)
    assert await kinds(asking, told, pool) == {"late"}


async def test_odd_answer_is_found(asking: wire.Server, told: Told, pool: Pool) -> None:
    told.lines.append("odd an answer that no client understands")
    assert await kinds(asking, told, pool) == {"answer"}


async def test_doubled_point_is_found(asking: wire.Server, pool: Pool) -> None:
    run_id = str(ids.new())
    await asking.ask(CREATE, input={"id": run_id, "experiment": "torture"})
    block, writers = Block(6, 0, 1, 2, 4), [str(uuid4()), str(uuid4())]
    for writer_id in writers:
        assert (await asking.log(run_id, writer_id, [block])).outcome == "stored"
    lines = [f"run {run_id} http", f"tried {run_id} {writers[0]} 6 0 1 2 4", "acknowledged 6 0 1"]
    assert await kinds(asking, Told(lines, run_id, writers[0], 6), pool) == {"doubled"}


async def test_run_that_is_gone_is_found(asking: wire.Server) -> None:
    history = History()
    run_id = str(ids.new())
    history.read([f"run {run_id} http", f"created {run_id}"])
    assert [violation.kind for violation in await check_run(asking, history.runs[run_id])] == ["missing"]


async def test_upload_that_never_came_is_found(asking: wire.Server, told: Told) -> None:
    story = replace(told.history().runs[told.run_id], by_sdk=True, files=[File("model.bin", "00")])
    assert [violation.kind for violation in await check_uploads(asking, story)] == ["upload"]
