"""Runs without a server, and processes that die: what was logged is in the spool, and arrives once."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import runstone
from runstone import delivery, spool, sync
from runstone.batches import Gathering, Record
from runstone.cli import main
from tests.sdk.standin import Fault, StandIn

RUN_STARTED = "import os, sys, time, runstone\nrun = runstone.start_run(params={'C': 0.1})\n"


def script(text: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, **env},
        cwd=os.environ["RUNSTONE_SPOOL_DIR"],  # where there is no repository
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def crashed(text: str, **env: str) -> str:
    """The id of a run whose process was killed in the middle; the text goes on from a run that has started."""
    done = script(RUN_STARTED + textwrap.dedent(text) + "\nprint(run.id, flush=True)\nos.kill(os.getpid(), 9)", **env)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()[-1]


@pytest.fixture(autouse=True)
def offers() -> Iterator[None]:
    """Each test hears anew of what is left."""
    sync._offered.clear()
    yield
    sync._offered.clear()


def test_a_training_without_a_server_is_stored_by_sync_as_if_there_had_been_one(
    standin: StandIn, tmp_path: Path, spool_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    standin.stop()
    started = time.monotonic()
    done = script(
        f"""
        import runstone
        with runstone.start_run(experiment="e", params={{"C": 0.1}}) as run:
            run.log_params({{"D": 2}})
            for step in range(100):
                run.log({{"loss": step / 2}})
            run.log_artifact({str(tmp_path / "weights.bin")!r})
        """
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 30
    assert done.stderr.count("\n") == 2  # no server at the start; what is left at the end
    assert "runstone sync" in done.stderr.splitlines()[1]
    (tmp_path / "weights.bin").unlink()

    standin.start()
    assert main(["sync"]) == 0

    run = standin.only_run
    assert capsys.readouterr().out == f"run {run.id}: sent 2 params, 100 points, 1 files\n"
    assert (run.experiment, run.status) == ("e", "FINISHED")
    assert {key: param["value"] for key, param in run.params.items()} == {"C": 0.1, "D": 2}
    assert run.points("loss") == [(step, step / 2) for step in range(100)]
    assert run.artifacts["weights.bin"]["state"] == "READY"
    assert list(spool_folder.iterdir()) == []
    assert main(["sync"]) == 0
    assert capsys.readouterr().out == "Nothing is left to send.\n"


def test_sync_without_a_server_says_so_and_keeps_everything(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = crashed("run.log({'loss': 1})", RUNSTONE_OFFLINE="1")
    standin.stop()
    monkeypatch.setattr(sync, "PATIENCE_S", 0.5)

    assert main(["sync"]) == 1
    told = capsys.readouterr().out
    standin.start()
    assert main(["sync", run_id]) == 0

    assert told.startswith(f"run {run_id}: sent nothing new; left 1 points: no server answers at {standin.url}")
    assert standin.only_run.points("loss") == [(0, 1.0)]


def test_sync_of_a_run_that_has_no_spool_is_refused(standin: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", "0190b5a4-0000-7000-8000-000000000000"]) == 1

    assert "there is no spool of run 0190b5a4-0000-7000-8000-000000000000" in capsys.readouterr().err
    for wrong in (["/"], [".."], ["--folder", "/nowhere"]):
        assert main(["sync", *wrong]) == 1
        assert "there is no" in capsys.readouterr().err


def test_a_sync_waits_for_what_is_being_read(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed("for step in range(10): run.log({'loss': step})", RUNSTONE_OFFLINE="1")
    records = Gathering.records

    def records_slowly(gathering: Gathering) -> list[Record]:
        time.sleep(1.5 * delivery.CHECK_S)
        return records(gathering)

    monkeypatch.setattr(Gathering, "records", records_slowly)

    assert main(["sync"]) == 0

    assert [step for step, _ in standin.only_run.points("loss")] == list(range(10))


def test_a_live_run_can_be_synced_again_and_again(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNSTONE_OFFLINE", "1")
    run = runstone.start_run()
    logged = 0
    for round_ in range(3):
        for _ in range(5000):
            run.log({"loss": logged, "twice": 2 * logged})
            logged += 1
        assert main(["sync"]) == 0
        assert [step for step, _ in standin.only_run.points("loss")] == list(range(logged)), round_
    assert "a process still writes it" in capsys.readouterr().out
    assert standin.requests.count("Heartbeat") == 3
    finished = run.finish()
    assert standin.only_run.status == "RUNNING"

    assert main(["sync"]) == 0

    assert finished.pending == ("the end of the run: not sent in time",)
    assert standin.only_run.status == "FINISHED"
    assert len(standin.only_run.points("twice")) == logged


def test_syncs_at_once_and_beside_the_run_itself_store_everything_once(standin: StandIn) -> None:
    run = runstone.start_run()
    command = [sys.executable, "-m", "runstone.cli", "sync", run.id, "--follow"]
    followers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for follower in followers:
            assert follower.stdout is not None
            assert follower.stdout.readline().startswith(b"run ")
        for step in range(200):
            run.log({"loss": step})
            time.sleep(0.01)
        run.finish()
    finally:
        for follower in followers:
            follower.kill()
            follower.communicate()

    assert [step for step, _ in standin.only_run.points("loss")] == list(range(200))
    assert standin.only_run.status == "FINISHED"


@pytest.mark.parametrize("cut", [Fault(cut_before=True), Fault(cut_after=True)])
def test_what_was_under_way_when_the_process_died_is_stored_once(standin: StandIn, cut: Fault) -> None:
    standin.faults["Flush"].extend([cut] * 1000)
    crashed(
        """
        for step in range(50):
            run.log({"loss": step})
        deadline = time.monotonic() + 20
        while run._delivery.trouble is None and time.monotonic() < deadline:
            time.sleep(0.01)
        for step in range(50, 80):
            run.log({"loss": step})
        """
    )
    standin.faults["Flush"].clear()

    assert main(["sync"]) == 0

    assert [step for step, _ in standin.only_run.points("loss")] == list(range(80))
    assert standin.only_run.status == "RUNNING"


def test_a_file_that_arrived_before_the_process_died_is_not_missed(
    standin: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    crashed(f"run.log_artifact({str(model)!r}).wait(20)")

    assert main(["sync"]) == 0

    assert "not stored" not in capsys.readouterr().out
    assert standin.only_run.artifacts["model.bin"]["state"] == "READY"


def test_a_crashed_run_is_offered_at_the_next_start_in_one_line(
    standin: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    crashed("run.log({'loss': 1})", RUNSTONE_OFFLINE="1")

    for _ in range(2):
        with runstone.start_run():
            pass

    [offer] = [record.message for record in caplog.records if "runstone sync" in record.message]
    assert offer == "1 run of an earlier process is not stored as a whole yet: run `runstone sync`"


def test_a_crashed_run_that_is_resumed_gets_what_was_left_before_the_new_attempt(
    standin: StandIn, spool_folder: Path
) -> None:
    run_id = crashed("for step in range(100): run.log({'loss': step})", RUNSTONE_OFFLINE="1")

    with runstone.start_run(run_id=run_id) as run:
        run.log({"loss": 100.0}, step=100)

    assert standin.requests.index("CreateRun") < standin.requests.index("ResumeRun")
    assert sorted(standin.only_run.points("loss")) == [(step, float(step)) for step in range(101)]
    assert list(spool_folder.iterdir()) == []


def test_a_damaged_record_is_reported_and_costs_only_itself(
    standin: StandIn, spool_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = crashed("for step in range(100): run.log({'loss': step})", RUNSTONE_OFFLINE="1")
    [segment] = spool_folder.glob("*/*/*.log")
    data = bytearray(segment.read_bytes())
    at = data.index(b"\x32\0\0\0\0\0\0\0", data.index(b"loss"))  # step 50
    data[at] ^= 128
    segment.write_bytes(data)

    assert main(["sync"]) == 1

    told = capsys.readouterr().out
    assert f"run {run_id}: sent" in told
    assert f"a record that was damaged on this disk: {segment} at offset " in told
    assert [step for step, _ in standin.only_run.points("loss")] == [step for step in range(100) if step != 50]
    assert standin.only_run.tags["runstone.damaged_records"] == "1"


def test_a_damaged_first_record_costs_nothing(standin: StandIn, spool_folder: Path) -> None:
    crashed("run.log({'loss': 1})", RUNSTONE_OFFLINE="1")
    [segment] = spool_folder.glob("*/*/*.log")
    data = bytearray(segment.read_bytes())
    data[spool.START.size + 40] ^= 1
    segment.write_bytes(data)

    main(["sync"])

    assert standin.only_run.params["C"]["value"] == 0.1
    assert standin.only_run.points("loss") == [(0, 1.0)]


def test_a_damaged_copy_of_the_state_costs_nothing_and_two_stop_the_sync(
    standin: StandIn, spool_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    standin.faults["Flush"].extend([Fault(cut_after=True)] * 1000)
    crashed(
        """
        run.log({"loss": 1})
        while run._delivery.trouble is None:
            time.sleep(0.01)
        """
    )
    standin.faults["Flush"].clear()
    [state] = spool_folder.glob("*/*/state")
    whole = state.read_bytes()
    first, both = bytearray(whole), bytearray(whole)
    first[20] ^= 1
    both[20] ^= 1
    both[-20] ^= 1

    state.write_bytes(both)
    assert main(["sync"]) == 1
    assert f"{state} is damaged" in caplog.text
    state.write_bytes(first)
    assert main(["sync"]) == 0

    assert standin.only_run.points("loss") == [(0, 1.0)]


def test_a_spool_whose_parent_is_no_name_is_synced_all_the_same(standin: StandIn, spool_folder: Path) -> None:
    crashed("run.log({'loss': 1})", RUNSTONE_OFFLINE="1")
    [writer] = spool_folder.glob("*/*/writer")
    writer.with_name("parent").write_bytes(b"\xff\xfe")

    assert main(["sync"]) == 0

    assert standin.only_run.points("loss") == [(0, 1.0)]


@pytest.mark.parametrize("place", ["file", "x" * 300])
def test_without_a_spool_on_the_disk_a_run_is_as_ever(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    monkeypatch.setenv("RUNSTONE_SPOOL_DIR", str(tmp_path / place))

    with runstone.start_run(params={"C": 0.1}) as run:
        run.log({"loss": 1})
        run.log_artifact(tmp_path / "file")

    assert standin.only_run.points("loss") == [(0, 1.0)]
    assert standin.only_run.artifacts["file"]["state"] == "READY"
    assert standin.only_run.status == "FINISHED"
    [warning] = [record.message for record in caplog.records if record.name == "runstone"]
    assert "kept in memory" in warning


def test_a_disk_that_is_full_while_a_run_sends_stops_nothing(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runstone.start_run()
    rename = Path.rename

    def full(path: Path, target: Path) -> Path:
        if path.name == "state.new":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    for step in range(100):
        run.log({"loss": step})
    standin.wait_for("Flush")
    monkeypatch.undo()
    finished = run.finish()

    assert finished.points == 100
    assert [step for step, _ in standin.only_run.points("loss")] == list(range(100))


def test_a_child_that_outlives_a_detached_run_keeps_its_spool(standin: StandIn) -> None:
    done = script(
        """
        import os, runstone
        run = runstone.start_run(params={"C": 0.1})
        ours, theirs = os.pipe()
        back, there = os.pipe()
        child = os.fork()
        if child == 0:
            run.log({"child": 1}, step=1)
            os.write(there, b"1")
            os.read(ours, 1)
            run.log({"child": 2}, step=2)
            os._exit(0)
        os.read(back, 1)
        run.detach()
        os.write(theirs, b"1")
        os.waitpid(child, 0)
        """
    )
    assert done.returncode == 0, done.stderr

    assert main(["sync"]) == 0

    assert standin.only_run.points("child") == [(1, 1.0), (2, 2.0)]


def test_a_forked_child_logs_into_the_run_of_its_parent(standin: StandIn, spool_folder: Path) -> None:
    done = script(
        """
        import multiprocessing, runstone

        def work(rank):
            for step in range(200):
                run.log({f"worker{rank}": step}, step=step)
            run.set_tags({f"worker{rank}": "done"})
            run.log_params({f"worker{rank}": rank})

        with runstone.start_run() as run:
            workers = [multiprocessing.get_context("fork").Process(target=work, args=(rank,)) for rank in range(3)]
            for worker in workers:
                worker.start()
            for step in range(200):
                run.log({"parent": step})
            for worker in workers:
                worker.join()
        """
    )

    assert done.returncode == 0, done.stderr
    for key in ("parent", "worker0", "worker1", "worker2"):
        assert [step for step, _ in standin.only_run.points(key)] == list(range(200))
    assert standin.only_run.tags == {f"worker{rank}": "done" for rank in range(3)}
    assert {key: param["value"] for key, param in standin.only_run.params.items()} == {
        f"worker{rank}": rank for rank in range(3)
    }
    assert len(standin.only_run.blocks) == 4
    assert list(spool_folder.iterdir()) == []


def test_what_a_forked_child_logged_is_synced_when_its_parent_died(standin: StandIn) -> None:
    crashed(
        """
        run.log({"parent": 1})
        child = os.fork()
        if child == 0:
            run.log({"child": 2})
            os._exit(0)
        os.waitpid(child, 0)
        """,
        RUNSTONE_OFFLINE="1",
    )

    assert main(["sync"]) == 0

    assert standin.only_run.points("parent") == [(0, 1.0)]
    assert standin.only_run.points("child") == [(1, 2.0)]


def test_a_lock_of_the_parent_is_not_kept_by_its_child(standin: StandIn) -> None:
    done = script(
        """
        import os, runstone
        from runstone import spool
        run = runstone.start_run()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        run.detach()
        assert not spool.is_alive(run._spool.folder)
        os.close(write)
        """
    )

    assert done.returncode == 0, done.stderr


def test_two_ranks_write_one_run(standin: StandIn) -> None:
    rank = """
        import sys, runstone
        run = runstone.start_run(run_id=sys.argv[1])
        for step in range(300):
            run.log({"rank1": step}, step=step)
        run.detach()
    """
    with runstone.start_run() as run:
        command = [sys.executable, "-c", textwrap.dedent(rank), run.id]
        with subprocess.Popen(command) as other:
            for step in range(300):
                run.log({"rank0": step}, step=step)
            assert other.wait() == 0
        assert standin.only_run.status == "RUNNING"

    for key in ("rank0", "rank1"):
        assert [step for step, _ in standin.only_run.points(key)] == list(range(300))
    assert (standin.only_run.status, standin.only_run.attempt) == ("FINISHED", 1)


def test_two_ranks_without_a_server_are_one_attempt_when_they_are_synced(standin: StandIn) -> None:
    first = "run.log({'rank0': 1})"
    run_id = crashed(first + "\nrun.finish()", RUNSTONE_OFFLINE="1")
    second = f"import runstone\nrun = runstone.start_run(run_id={run_id!r})\nrun.log({{'rank1': 1}})\nrun.detach()"
    script(second, RUNSTONE_OFFLINE="1")

    assert main(["sync"]) == 0

    # the second began after the first had ended, and so it is another attempt
    assert standin.only_run.attempt == 2
    assert standin.only_run.points("rank0") == standin.only_run.points("rank1") == [(0, 1.0)]


def test_sigterm_ends_the_run_as_killed_and_says_why(standin: StandIn) -> None:
    program = textwrap.dedent(
        """
        import signal, time, runstone
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which what measures coverage takes for itself
        run = runstone.start_run()
        run.log({"loss": 1})
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        standin.wait_for("Flush", timeout_s=40)
        process.terminate()
        process.communicate(timeout=40)

    assert process.returncode == 143
    assert standin.only_run.status == "KILLED"
    assert standin.only_run.tags["runstone.stopped_by"] == "SIGTERM"


def test_a_handler_of_sigterm_that_the_program_has_is_left_alone(standin: StandIn) -> None:
    done = script(
        """
        import signal, runstone
        heard = []
        signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
        with runstone.start_run() as run:
            signal.raise_signal(signal.SIGTERM)
        assert heard == [1]
        """
    )

    assert done.returncode == 0, done.stderr
    assert standin.only_run.status == "FINISHED"
