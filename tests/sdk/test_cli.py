"""The command: what it shows, and that a mistake is one clear line."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runstone
from runstone import server as programs
from runstone.cli import main

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture
def two_runs(real: "Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of two runs that differ in C."""
    monkeypatch.setenv("COLUMNS", "160")
    experiment = f"cli-{uuid.uuid4().hex[:12]}"
    (tmp_path / "notes.txt").write_text("hello")
    ids = []
    for c in (0.1, 0.5):
        with runstone.start_run(experiment=experiment, params={"C": c, "solver": "[bold]x"}) as run:
            run.log({"accuracy": 1 / 3})
            run.log_artifact(tmp_path / "notes.txt")
        ids.append(run.id)
    return ids


def lines(text: str) -> list[str]:
    """The lines, with runs of blanks as one."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_runs_are_listed(two_runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    experiment = runstone.run(two_runs[0]).experiment

    assert main(["runs", "--experiment", experiment, "--status", "finished"]) == 0

    title, newest, oldest = lines(capsys.readouterr().out)
    assert title.startswith("RUN NAME EXPERIMENT STATUS BY STARTED TOOK")
    assert newest.startswith(two_runs[1])
    assert oldest.startswith(two_runs[0])
    assert "FINISHED" in oldest


def test_runs_are_found_in_order(two_runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    among = f"(id = '{two_runs[0]}' OR id = '{two_runs[1]}')"

    assert main(["runs", "--where", f"{among} AND params.C < 1", "--order-by", "params.C"]) == 0
    both = lines(capsys.readouterr().out)[1:]
    assert main(["runs", "--where", f"{among} AND params.C > 1"]) == 0
    none = capsys.readouterr().out

    assert [line.split()[0] for line in both] == two_runs
    assert none == "No such runs.\n"


def test_a_wrong_filter_is_one_line_that_says_where(real: "Server", capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--where", "creatdAt > '-7d'"]) == 1

    assert capsys.readouterr().err == (
        "error: select.where, character 1: there is no field creatdAt - did you mean createdAt?\n"
    )


def test_a_run_is_shown(two_runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", two_runs[0]]) == 0

    shown = lines(capsys.readouterr().out)
    assert "C 0.1" in shown
    assert "solver [bold]x" in shown
    assert "accuracy 0.3333333333333333" in shown
    assert any(line.startswith("notes.txt 5 bytes") for line in shown)


def test_runs_are_compared(two_runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *two_runs]) == 0
    everything = lines(capsys.readouterr().out)
    assert main(["compare", "--only-differences", "--baseline", two_runs[1], *two_runs]) == 0
    differences = lines(capsys.readouterr().out)

    assert "≠ C 0.1 0.5" in everything
    assert "= solver [bold]x [bold]x" in everything
    assert "= accuracy 0.3333333333333333 0.3333333333333333" in everything
    assert "≠ C 0.1 0.5" in differences
    assert not any(line.startswith("=") for line in differences)


def test_files_are_downloaded(two_runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", two_runs[0], "notes.txt", "--to", str(tmp_path / "down")]) == 0

    assert capsys.readouterr().out.strip() == str(tmp_path / "down" / "notes.txt")
    assert (tmp_path / "down" / "notes.txt").read_text() == "hello"


def test_a_failure_is_one_line_and_exit_code_1(real: "Server", capsys: pytest.CaptureFixture[str]) -> None:
    run_id = str(uuid.uuid4())

    assert main(["show", run_id]) == 1

    assert capsys.readouterr().err == f"error: there is no run {run_id}\n"


@pytest.mark.parametrize("command", [["compare"], ["runs", "--limit", "0"], ["runs", "--limit", "-1"]])
def test_a_mistake_in_the_command_is_one_line_and_exit_code_2(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command)

    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    shown = capsys.readouterr().out
    for command in (*programs.PROGRAMS, "runs", "show", "compare", "download", "sync", "invite", "RUNSTONE_URL"):
        assert f"  {command} " in shown


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0

    assert capsys.readouterr().out.startswith("runstone 0.")


@pytest.mark.usefixtures("real")
def test_a_run_is_asked_to_stop(capsys: pytest.CaptureFixture[str]) -> None:
    with runstone.start_run() as run:
        answers = [main(["stop", run.id, "--reason", "too dear"]), main(["stop", run.id])]
        said = capsys.readouterr().out

    ended = main(["stop", run.id])

    assert answers == [0, 0]
    assert said == f"run {run.id} is asked to stop\nrun {run.id} was already asked to stop\n"
    assert ended == 1
    assert f"error: run {run.id} has ended" in capsys.readouterr().err


def test_somebody_is_let_in(
    real: "Server", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"bob {uuid.uuid4().hex[:8]}"

    answers = [main(["invite", name, "--role", "logger"]), main(["invite", name])]

    said = capsys.readouterr()
    url, _, token = said.out.split()[-1].partition("/#token=")
    assert (answers, url, said.err) == ([0, 1], real.url, "error: another account has this name\n")
    monkeypatch.setenv("RUNSTONE_TOKEN", token)
    with runstone.start_run() as run:
        pass
    assert runstone.run(run.id).created_by == name
    assert main(["invite", "carol"]) == 1
    assert "error: only those who manage the instance may make accounts" in capsys.readouterr().err


def test_a_program_of_the_server_is_started_whatever_lies_around(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "__main__.py").write_text("print('not ours')")

    done = subprocess.run(
        [sys.executable, "-m", "runstone.cli", "migrate"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("RUNSTONE_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "RUNSTONE_DATABASE_URL" in done.stderr
    assert "not ours" not in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_who_reads_no_further_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "runstone.cli", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )

    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_server_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "NEEDS_SERVER", ("no_such_module",))

    assert main(["server"]) == 1

    assert capsys.readouterr().err == ("error: the server needs no_such_module - pip install 'runstone[server]'\n")
