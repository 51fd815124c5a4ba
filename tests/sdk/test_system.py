"""What the machine does is logged when that is wanted, and by nothing of ours when it is not."""

import gc
import sys
import threading
import weakref
from typing import Any

import pytest

import runstone
from runstone import system
from tests.sdk.standin import StandIn


class Collected:
    """A run that keeps what a monitor logs."""

    id = "0190b5a4-0000-7000-8000-000000000000"

    def __init__(self, enough: int) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []
        self._enough = enough
        self.done = threading.Event()

    def log_aside(self, metrics: Any, step: int) -> None:
        self.logged.append((dict(metrics), step))
        if len(self.logged) == self._enough:
            self.done.set()


def monitors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("runstone-system-")]


def test_the_machine_is_measured_and_the_steps_of_the_run_stay_its_own(standin: StandIn) -> None:
    with runstone.start_run(system_metrics=0.1) as run:
        run.log({"loss": 1})
        standin.wait_for("Flush")
        while not any("system/cpu_percent" in block["keys"] for block in blocks(standin)):
            standin.wait_for("Flush", standin.requests.count("Flush") + 1)
        run.log({"loss": 2})

    assert standin.only_run.points("loss") == [(0, 1.0), (1, 2.0)]
    assert 0 < standin.only_run.points("system/memory_percent")[0][1] <= 100
    assert standin.only_run.points("system/process_memory_bytes")[0][1] > 1_000_000


def blocks(standin: StandIn) -> list[dict[str, Any]]:
    return [block for of_writer in standin.only_run.blocks.values() for block in of_writer]


def test_nothing_measures_unless_it_is_asked_for(standin: StandIn) -> None:
    with runstone.start_run() as run:
        run.log({"loss": 1})
        assert run.id[-8:] not in str(monitors())


@pytest.mark.parametrize(("wanted", "every_s"), [(False, None), (True, 10.0), (0.5, 0.5), (60, 60.0)])
def test_the_argument_says_how_often(wanted: float, every_s: float | None) -> None:
    assert system.interval_s(wanted) == every_s


@pytest.mark.parametrize("wanted", [0, -1, 0.01, float("nan")])
def test_too_often_is_refused_before_a_run_is_made(standin: StandIn, wanted: float) -> None:
    with pytest.raises(runstone.Invalid, match="system_metrics"):
        runstone.start_run(system_metrics=wanted)

    assert standin.runs == {}


def test_a_sensor_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> system.Readings:
        raise OSError("no sensor")

    monkeypatch.setattr(system, "_machine", lambda: [broken, lambda: iter([("fine", 1.0)])])
    monkeypatch.setattr(system, "_gpus", list)
    run = Collected(enough=2)
    monitor = system.Monitor(run, 0.1)

    assert run.done.wait(20)
    monitor.stop()
    assert run.logged[0] == ({"system/fine": 1.0}, 0)


def test_without_psutil_a_run_goes_on(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)

    with runstone.start_run(system_metrics=True) as run:
        run.log({"loss": 1})
        assert run._monitor is not None
        run._monitor._thread.join(20)

    assert "pip install 'runstone[system]'" in caplog.text
    assert standin.only_run.status == "FINISHED"


def test_a_run_that_nobody_holds_is_measured_no_more() -> None:
    run = Collected(enough=1)
    gone = weakref.ref(run)
    monitor = system.Monitor(run, 0.1)
    assert run.done.wait(20)

    del run
    gc.collect()
    monitor._thread.join(20)

    assert gone() is None
    assert not monitor._thread.is_alive()
