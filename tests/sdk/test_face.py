"""The face for scripts and notebooks: how runs end, and that nothing gets in the way."""

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

import runstone
from runstone import background, config
from runstone.cli import main
from tests.sdk.standin import TOKEN, Fault, StandIn


def script(text: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_block_that_ends_well_finishes_the_run(standin: StandIn) -> None:
    with runstone.start_run(experiment="e", name="n", tags={"a": "b"}) as run:
        assert run.name == "n"
        assert run.url == f"{standin.url}/r/{run.id}"

    assert standin.only_run.status == "FINISHED"
    assert standin.only_run.tags == {"a": "b"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(1), "FAILED"),
        (SystemExit(0), "FINISHED"),
    ],
)
def test_a_block_that_raises_ends_the_run_accordingly(standin: StandIn, error: BaseException, status: str) -> None:
    def train() -> None:
        with runstone.start_run() as run:
            run.log({"loss": 1})
            raise error

    with pytest.raises(type(error)):
        train()

    assert standin.only_run.status == status
    assert standin.only_run.points("loss") == [(0, 1.0)]


def test_the_error_of_the_block_is_not_hidden_by_a_server_that_refuses(
    standin: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = {"errors": [{"message": "not any more", "extensions": {"code": "FORBIDDEN", "retryable": False}}]}

    def train() -> None:
        with runstone.start_run() as run:
            standin.faults["Flush"].extend([Fault(answer=refusal)] * 99)
            run.log({"loss": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()

    assert "1 points: not any more" in caplog.text


def test_a_run_is_resumed_by_its_id(standin: StandIn) -> None:
    with runstone.start_run(params={"C": 0.1}) as first:
        first.log({"loss": 1})

    with runstone.start_run(run_id=first.id, params={"more": 2}, tags={"resumed": "yes"}) as again:
        again.log({"loss": 2})

    assert again.id == first.id
    assert again.attempt == 2
    assert set(standin.only_run.params) == {"C", "more"}
    assert sorted(value for _, value in standin.only_run.points("loss")) == [1, 2]


def test_a_run_that_does_not_exist_cannot_be_resumed(standin: StandIn) -> None:
    with pytest.raises(runstone.NotFound):
        runstone.start_run(run_id="0190b5a4-0000-7000-8000-000000000000")


def test_a_run_has_a_parent_and_a_group(standin: StandIn) -> None:
    with runstone.start_run() as parent, runstone.start_run(parent=parent, group="folds") as child:
        pass

    assert standin.runs[child.id].request["parentId"] == parent.id
    assert standin.runs[child.id].request["group"] == "folds"


async def test_it_works_where_an_event_loop_runs_already(standin: StandIn) -> None:
    with runstone.start_run() as run:
        run.log({"loss": 1})
        await asyncio.sleep(0)

    assert standin.only_run.status == "FINISHED"


def test_no_server_is_said_in_one_line_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSTONE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("RUNSTONE_TOKEN", TOKEN)
    started = time.monotonic()

    with pytest.raises(runstone.Unavailable, match=r"no server answers at http://127\.0\.0\.1:9 .*runstone up"):
        runstone.runs()

    assert time.monotonic() - started < 10


def test_a_run_starts_without_its_server_and_says_so_once(standin: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    standin.stop()
    run = runstone.start_run(name="early")
    run.log({"loss": 1})
    assert (run.name, run.attempt, standin.runs) == ("early", None, {})

    standin.start()
    run.finish(patience_s=30)

    assert standin.only_run.points("loss") == [(0, 1.0)]
    assert (run.id, run.attempt) == (standin.only_run.id, 1)
    [warning] = [record.message for record in caplog.records if record.name == "runstone"]
    assert f"no server answers at {standin.url}; run {run.id} goes on without it" in warning


@pytest.mark.parametrize(("ending", "status"), [("pass", "FINISHED"), ("1 / 0", "FAILED")])
def test_a_script_that_does_not_finish_its_run_still_leaves_it_complete(
    standin: StandIn, ending: str, status: str, tmp_path: Path
) -> None:
    (tmp_path / "x.txt").write_text("hello")
    done = script(
        f"""
        import runstone
        run = runstone.start_run()
        run.log({{"loss": 1}})
        run.log_artifact({str(tmp_path / "x.txt")!r})
        {ending}
        """
    )

    assert standin.only_run.status == status, done.stderr
    assert standin.only_run.points("loss") == [(0, 1.0)]
    assert standin.only_run.artifacts["x.txt"]["state"] == "READY"


def test_a_prompt_that_is_left_keeps_its_run_open(standin: StandIn) -> None:
    done = script(
        """
        import sys
        sys.ps1 = ">>> "
        import runstone
        run = runstone.start_run()
        run.log({"loss": 1})
        """
    )

    assert standin.only_run.status == "RUNNING", done.stderr
    assert standin.only_run.points("loss") == [(0, 1.0)]


def test_a_script_that_ends_without_its_server_says_what_is_lost(standin: StandIn) -> None:
    refusal = {"errors": [{"message": "not any more", "extensions": {"code": "FORBIDDEN", "retryable": False}}]}
    standin.faults["Flush"].extend([Fault(answer=refusal)] * 99)

    done = script("import runstone; runstone.start_run().log({'loss': 1})")

    assert "1 points: not any more" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_shows_progress_and_quiet_does_not(standin: StandIn, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(3_000_000))
    program = f"""
import runstone
with runstone.start_run() as run:
    run.log_artifact({str(tmp_path / "x.bin")!r})
runstone.download(run.id, to={str(tmp_path / "down")!r})
"""
    shown = {}
    for quiet in ("", "1"):
        standin.faults["PUT"].append(Fault(delay_s=0.5))
        terminal, theirs = pty.openpty()
        environment = {**os.environ, "RUNSTONE_QUIET": quiet, "TERM": "xterm"}
        with subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env=environment) as process:
            os.close(theirs)
            shown[quiet] = read_all(terminal)
        assert process.returncode == 0

    assert "Uploading" in shown[""]
    assert "Downloading" in shown[""]
    assert shown["1"] == ""


def read_all(terminal: int) -> str:
    """What is written to the terminal until it is closed."""
    parts = []
    with contextlib.suppress(OSError):  # the way a terminal says that it is closed
        while part := os.read(terminal, 65536):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


def test_waiting_on_the_thread_that_does_the_work_is_refused(standin: StandIn) -> None:
    run = runstone.start_run()

    async def on_the_loop() -> None:
        runstone.run(run.id)

    with pytest.raises(RuntimeError, match=r"runstone\.Client"):
        background.wait_on(run._loop, on_the_loop())
    run.finish()


def test_ctrl_c_ends_the_run_as_killed(standin: StandIn) -> None:
    program = textwrap.dedent(
        """
        import time, runstone
        with runstone.start_run() as run:
            run.log({"loss": 1})
            time.sleep(60)
        """
    )
    # a process that was started in the background, as tests may be, has children that ignore the signal
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, preexec_fn=heard) as process:
        standin.wait_for("Flush", timeout_s=40)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)

    assert standin.only_run.status == "KILLED"


def test_a_finish_that_is_interrupted_says_where_the_rest_is(standin: StandIn) -> None:
    standin.faults["FinishRun"].extend([Fault(status=503)] * 1000)
    program = textwrap.dedent(
        """
        import runstone
        run = runstone.start_run()
        run.log({"loss": 1})
        run.finish()
        """
    )
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        standin.wait_for("FinishRun", timeout_s=40)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=40)

    assert "run `runstone sync`" in said
    standin.faults["FinishRun"].clear()
    assert main(["sync"]) == 0
    assert (standin.only_run.status, standin.only_run.points("loss")) == ("FINISHED", [(0, 1.0)])


def test_a_forked_child_logs_and_leaves_the_end_to_its_parent(standin: StandIn) -> None:
    done = script(
        """
        import os, runstone
        with runstone.start_run() as run:
            run.log({"loss": 1})
            child = os.fork()
            if child == 0:
                run.log({"loss": 2})
                try:
                    run.finish()
                except runstone.RunstoneError as error:
                    print(error, flush=True)
                with runstone.start_run(experiment="of the child") as own:
                    own.log({"loss": 3})
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        """
    )

    assert "forked" in done.stdout, done.stderr
    runs = {run.experiment: run for run in standin.runs.values()}
    assert sorted(runs["default"].points("loss")) == [(0, 1.0), (1, 2.0)]
    assert runs["of the child"].points("loss") == [(0, 3.0)]
    assert {run.status for run in runs.values()} == {"FINISHED"}


def test_importing_costs_little_and_loads_nothing_heavy() -> None:
    done = script(
        """
        import sys, time
        before = time.perf_counter()
        import runstone
        took = time.perf_counter() - before
        heavy = {"numpy", "pandas", "sklearn", "torch", "strawberry", "httpx", "tqdm", "psutil", "asyncio"}
        heavy &= set(sys.modules)
        assert not heavy, heavy
        assert took < 0.15, took
        assert set(runstone.__all__) <= set(dir(runstone))
        for name in runstone.__all__:
            assert getattr(runstone, name) is not None
        assert not {"numpy", "sklearn", "strawberry", "torch", "api", "db"} & set(sys.modules)
        """
    )

    assert done.returncode == 0, done.stderr


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = runstone.nothing


def test_the_token_of_this_machine_is_found_and_kept_on_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("rs_local_secret\n")
    token.chmod(0o600)
    env = {"RUNSTONE_HOME": str(tmp_path)}

    local = config.Config.read(env=env)
    remote = config.Config.read(env={**env, "RUNSTONE_URL": "https://example.org/"})

    assert local.token is not None
    assert local.token.header() == "Bearer rs_local_secret"
    assert local.url == "http://127.0.0.1:4747"
    assert remote.token is None
    assert "secret" not in repr(local)


@pytest.mark.parametrize("name", ["RUNSTONE_HOME", "RUNSTONE_SPOOL_DIR"])
def test_a_folder_of_nobody_is_refused_by_name(name: str) -> None:
    with pytest.raises(runstone.Invalid, match=name):
        config.Spooling.read({name: "~nobody-of-this-name/x"})


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("rs_local_secret\n")
    (tmp_path / "token").chmod(0o644)

    with pytest.raises(runstone.Unauthenticated, match="chmod 600"):
        config.Config.read(env={"RUNSTONE_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x", "127.0.0.1:4747", "http://", "http://a:b@host", "http://host:99999", "http://host:4747\n",
        "http://a b", "http://host/?a=b", "http://host#a",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_a_server_is_refused(url: str) -> None:
    with pytest.raises(runstone.Invalid, match="server"):
        config.Config.read(url, env={})


@pytest.mark.parametrize("token", ["two words", "naïve", "a\nb", "\t"])
def test_a_token_that_is_not_one_plain_line_is_refused(token: str) -> None:
    with pytest.raises(runstone.Unauthenticated) as caught:
        config.Config.read(token=token, env={})

    assert token not in str(caught.value)
