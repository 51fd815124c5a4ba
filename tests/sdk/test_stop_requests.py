"""A run that somebody asks to stop: its program hears of it with the answers it gets anyway, and decides."""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

import runstone
from runstone import sender
from tests.sdk.standin import StandIn

if TYPE_CHECKING:
    from tests.conftest import Server

DEADLINE_S = 30.0
STOP_REQUEST = "query ($id: ID!) { run(id: $id) { stopRequest { reason requestedBy { name } } } }"


def train_until_told(run: runstone.Run) -> None:
    """Log step by step, as a training does."""
    deadline = time.monotonic() + DEADLINE_S
    while not run.stop_requested:
        assert time.monotonic() < deadline
        run.log({"loss": 0.5})
        time.sleep(0.01)


def has_flushed(standin: StandIn, before: int) -> bool:
    return standin.requests.count("Flush") > before


def wait_until_told(run: runstone.Run) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not run.stop_requested:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("real")
def test_a_training_hears_that_it_is_to_stop_and_ends_as_killed(caplog: pytest.LogCaptureFixture) -> None:
    with runstone.start_run() as run:
        assert not run.stop_requested
        assert runstone.request_stop(run.id, "it diverges") is True
        assert runstone.request_stop(run.id, "too dear") is False
        train_until_told(run)

    assert runstone.run(run.id).status == "KILLED"
    shown = runstone.execute(STOP_REQUEST, {"id": run.id})["run"]["stopRequest"]
    assert shown["reason"] == "it diverges"
    assert shown["requestedBy"]["name"]
    assert f"run {run.id} was asked to stop: it diverges" in caplog.text


@pytest.mark.usefixtures("real")
def test_a_resumed_run_is_not_asked_to_stop_again() -> None:
    with runstone.start_run() as run:
        runstone.request_stop(run.id)
        train_until_told(run)

    with runstone.start_run(run_id=run.id) as resumed:
        resumed.log({"loss": 0.5})
        resumed.set_tags({"flushed": "yes"})

    assert resumed.attempt == 2
    assert not resumed.stop_requested
    assert runstone.run(run.id).status == "FINISHED"


@pytest.mark.usefixtures("real")
def test_what_has_ended_or_is_nobodys_cannot_be_asked_to_stop() -> None:
    with runstone.start_run() as run:
        pass

    with pytest.raises(runstone.RunSealed) as sealed:
        runstone.request_stop(run.id)
    with pytest.raises(runstone.NotFound):
        runstone.request_stop("01a1fb9d-3997-7c3b-a61a-3098589f0ecb")
    with pytest.raises(runstone.Invalid):
        runstone.request_stop(run.id, "")

    assert sealed.value.status == "FINISHED"


async def test_an_event_loop_hears_of_it_too(real: "Server") -> None:
    async with runstone.Client() as client:
        async with client.start_run() as run:
            await client.request_stop(run.id)
            async with asyncio.timeout(DEADLINE_S):
                while not run.stop_requested:
                    run.log({"loss": 0.5})
                    await asyncio.sleep(0.01)

        assert (await client.run(run.id)).status == "KILLED"


def test_a_silent_training_hears_of_it_with_its_heartbeat(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "HEARTBEAT_S", 0.1)

    with runstone.start_run() as run:
        standin.only_run.stop_reason = "too dear"
        wait_until_told(run)

    assert "Flush" not in standin.requests
    assert standin.only_run.status == "KILLED"


def test_hearing_of_it_costs_one_request_that_asks_why(standin: StandIn) -> None:
    with runstone.start_run() as run:
        standin.only_run.stop_reason = "too dear"
        train_until_told(run)
        with pytest.raises(runstone.StopRequested):
            run.stop_if_requested()
        for flushes in range(standin.requests.count("Flush"), standin.requests.count("Flush") + 3):
            run.log({"loss": 0.5})
            with standin.arrived:
                assert standin.arrived.wait_for(partial(has_flushed, standin, flushes), DEADLINE_S)

    assert standin.requests.count("Heartbeat") == 1


def test_stop_if_requested_ends_the_block_as_killed(standin: StandIn) -> None:
    def train() -> None:
        with runstone.start_run() as run:
            run.stop_if_requested()
            standin.only_run.stop_reason = "too dear"
            deadline = time.monotonic() + DEADLINE_S
            while time.monotonic() < deadline:
                run.log({"loss": 0.5})
                time.sleep(0.01)
                run.stop_if_requested()

    with pytest.raises(runstone.StopRequested, match="was asked to stop"):
        train()

    assert standin.only_run.status == "KILLED"


def test_a_program_that_says_how_it_ended_is_believed(standin: StandIn) -> None:
    run = runstone.start_run()
    standin.only_run.stop_reason = "too dear"
    train_until_told(run)

    assert run.finish("FINISHED").status == "FINISHED"
    assert run.finish().status == "FINISHED"


def test_a_program_that_never_looks_finishes_as_it_would(standin: StandIn) -> None:
    with runstone.start_run() as run:
        standin.only_run.stop_reason = "too dear"
        run.log({"loss": 0.5})

    assert standin.only_run.status == "FINISHED"


def test_a_failure_after_a_stop_request_is_a_failure(standin: StandIn) -> None:
    def train() -> None:
        with runstone.start_run() as run:
            standin.only_run.stop_reason = "too dear"
            train_until_told(run)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()

    assert standin.only_run.status == "FAILED"
