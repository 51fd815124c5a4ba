"""Children are started again, given up on, and stopped, whatever they do."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from deploy.local import keep
from deploy.local.errors import CannotStart
from deploy.local.keep import Program, keeping, open_log, run, tail
from tests.deploy.processes import until


def program(log: Path, code: str, **more: object) -> Program:
    """A Python one-liner as a child."""
    return Program(name="The child", argv=(sys.executable, "-c", code), log=log, **more)  # type: ignore[arg-type]


async def keep_for_ever(program: Program) -> None:
    """Keep the child until it cannot be kept."""
    async with keeping() as keeper, asyncio.timeout(20):
        await keeper.start(program)
        await asyncio.Event().wait()


def words(log: Path) -> list[str]:
    """All that the child wrote."""
    return log.read_text().split()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the child writes."""
    return tmp_path / "child.log"


async def test_a_child_that_ends_is_started_again(log: Path) -> None:
    async with keeping() as keeper:
        await keeper.start(program(log, "print('here')"))

        await until(lambda: words(log).count("here") >= 3)


async def test_a_child_that_is_never_ready_is_given_up_with_its_last_words(log: Path) -> None:
    async def never() -> bool:
        return False

    with pytest.raises(CannotStart, match=r"does not start(.|\n)*last words"):
        await keep_for_ever(program(log, "print('last words')", ready=never, attempts=2))

    assert words(log) == ["last", "words"] * 2


async def test_a_child_that_cannot_be_started_again_ends_the_block(log: Path) -> None:
    async def once() -> bool:
        return words(log) == ["ready"]

    with pytest.raises(CannotStart):
        await keep_for_ever(
            program(log, "import time; print('ready', flush=True); time.sleep(.3)", ready=once, attempts=2)
        )


async def test_a_child_that_does_not_listen_is_killed(log: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"

    async def ready() -> bool:
        return "deaf" in words(log)

    async with keeping() as keeper:
        child = await keeper.start(program(log, deaf, ready=ready, stop_s=0.2))
        began = time.monotonic()

    assert child.process is not None
    assert child.process.returncode == -9
    assert time.monotonic() - began < 5


async def test_a_program_that_fails_is_told_with_its_last_words(log: Path) -> None:
    with pytest.raises(CannotStart, match=r"failed(.|\n)*no such table"):
        await run(program(log, "raise SystemExit('no such table')"))


async def test_a_program_that_takes_too_long_is_ended(log: Path) -> None:
    with pytest.raises(CannotStart):
        await run(program(log, "import time; time.sleep(60)", start_s=0.3))


def test_a_large_log_moves_aside(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "LOG_BYTES_MAX", 10)
    log.write_text("more than ten bytes")

    os.close(open_log(log))

    assert log.read_text() == ""
    assert log.with_name("child.log.1").read_text() == "more than ten bytes"


def test_the_tail_of_a_log_is_its_last_lines(log: Path) -> None:
    log.write_text("\n".join(str(number) for number in range(100)))

    assert tail(log, lines=2) == "    98\n    99"
    assert "no log" in tail(log.with_name("missing"))
