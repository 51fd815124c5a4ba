"""What ran is recorded, and no secret with it."""

import hashlib
import subprocess
import sys
import textwrap
import traceback
from importlib.metadata import version
from pathlib import Path

import pytest

import runstone
from runstone import capture
from runstone.config import Config
from tests.sdk.standin import TOKEN, Fault, StandIn

SCRIPT = """
import runstone
with runstone.start_run() as run:
    pass
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a committed script."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "train.py").write_text(textwrap.dedent(SCRIPT))
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    git(folder, "remote", "add", "origin", "https://alice:hunter2@example.org/churn.git")
    return folder


def run_script(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "train.py", *arguments], cwd=folder, check=True, timeout=60)


def test_a_clean_repository_is_recorded_without_its_password(standin: StandIn, repository: Path) -> None:
    run_script(repository, "--epochs", "3")

    source = standin.only_run.request["source"]
    assert source["commit"] == git(repository, "rev-parse", "HEAD")
    assert source["branch"] == "main"
    assert source["remote"] == "https://example.org/churn.git"
    assert source["dirty"] is False
    assert source["entryPoint"] == "train.py"
    assert source["argv"] == ["train.py", "--epochs", "3"]
    assert source["patchDigest"] is None


def test_uncommitted_changes_are_kept_as_a_patch(standin: StandIn, repository: Path) -> None:
    with (repository / "train.py").open("a") as file:
        file.write("# changed\n")
    patch = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=repository, check=True, capture_output=True).stdout

    run_script(repository)

    digest = f"sha256:{hashlib.sha256(patch).hexdigest()}"
    assert standin.only_run.request["source"]["dirty"] is True
    assert standin.only_run.request["source"]["patchDigest"] == digest
    assert standin.only_run.artifacts["source/changes.patch"]["digest"] == digest
    assert standin.only_run.artifacts["source/changes.patch"]["state"] == "READY"


def test_changes_that_are_many_are_not_kept(standin: StandIn, repository: Path) -> None:
    (repository / "train.py").write_text(textwrap.dedent(SCRIPT) + "# padding\n" * 200_000)

    run_script(repository)

    assert standin.only_run.request["source"]["dirty"] is True
    assert standin.only_run.request["source"]["patchDigest"] is None
    assert standin.only_run.artifacts == {}


def test_untracked_files_are_listed_wherever_in_the_repository(standin: StandIn, repository: Path) -> None:
    (repository / "deep").mkdir()
    for name in ("notes.txt", "deep/é.txt", "ignored.log"):
        (repository / name).touch()
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "venv").mkdir()
    (repository / "venv" / ".gitignore").write_text("*\n")  # as venv, uv and test runners write it
    (repository / "deep" / "train.py").write_text(textwrap.dedent(SCRIPT))

    run_script(repository / "deep")

    artifact = standin.only_run.artifacts["source/untracked.txt"]
    content = standin.objects[f"/{artifact['digest'].removeprefix('sha256:')}"].decode()
    assert content.splitlines() == [".gitignore", "deep/", "notes.txt"]


def test_a_repository_cannot_make_us_run_its_programs(standin: StandIn, repository: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external"):
        git(repository, "config", key, str(program))
    (repository / "train.py").write_text(textwrap.dedent(SCRIPT) + "# changed\n")

    run_script(repository)

    assert standin.only_run.request["source"]["dirty"] is True
    assert not (tmp_path / "ran").exists()


def test_no_repository_and_no_git_are_fine(standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT))
    monkeypatch.setenv("PATH", str(tmp_path))

    run_script(tmp_path)

    assert standin.only_run.request["source"]["commit"] is None
    environment = standin.only_run.request["environment"]
    assert environment["python"] == sys.version.split()[0]
    assert environment["cpuCount"] > 0
    assert environment["memoryBytes"] > 0
    assert {"name": "httpx", "version": version("httpx")} in environment["packages"]


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["t.py", "--api-key=abc", "--lr=0.1"], ["t.py", "--api-key=***", "--lr=0.1"]),
        (["t.py", "--db-password", "hunter2", "x"], ["t.py", "--db-password", "***", "x"]),
        (["t.py", "--token", "--verbose"], ["t.py", "--token", "--verbose"]),
        (["t.py", "AWS_SECRET_ACCESS_KEY=abc"], ["t.py", "AWS_SECRET_ACCESS_KEY=***"]),
        (["t.py", "postgres://u:p@h/db"], ["t.py", "postgres://u:***@h/db"]),
        (["t.py", "--url=https://u:p@h/x"], ["t.py", "--url=https://u:***@h/x"]),
        (["t.py", "rs_01ab_S3cr-et_x"], ["t.py", "***"]),
        (["t.py", "a\0b\ud800"], ["t.py", "ab"]),
    ],
)
def test_secrets_on_the_command_line_are_masked(argv: list[str], shown: list[str]) -> None:
    assert capture.masked(argv) == shown


def test_a_command_line_without_end_is_cut() -> None:
    assert sum(map(len, capture.masked(["x" * 1000] * 1000))) <= capture.ARGV_BYTES_MAX


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://token@example.org/a.git", "https://example.org/a.git"),
        ("ssh://git:pw@example.org:22/a.git", "ssh://example.org:22/a.git"),
        ("git@example.org:a.git", "git@example.org:a.git"),
        ("../other", "../other"),
        ("https://[", "***"),
    ],
)
def test_a_remote_loses_its_password(remote: str, shown: str) -> None:
    assert capture.without_password(remote) == shown


def test_settings_that_nobody_picked_lose_their_secrets_at_any_depth() -> None:
    settings = {
        "api_key": "hunter2",
        "hub": {"HF_TOKEN": "hunter2", "url": "https://u:hunter2@h/x"},
        "tokenizer_name": "bert",
        "max_tokens": 512,
        "password": None,
    }

    assert capture.masked_params(settings) == {
        "api_key": "***",
        "hub": {"HF_TOKEN": "***", "url": "https://u:***@h/x"},
        "tokenizer_name": "bert",
        "max_tokens": 512,
        "password": None,
    }


def test_no_secret_is_shown_by_a_client_a_run_or_an_error(standin: StandIn) -> None:
    with runstone.start_run() as run:
        shown = f"{run!r} {Config.read()!r} {run._repr_html_()}"
    standin.faults["Runs"].append(Fault(status=500))
    with pytest.raises(runstone.RunstoneError) as caught:
        runstone.execute("query Runs { runs { nodes { id } } }", {})
    shown += "".join(traceback.format_exception(caught.value))

    assert TOKEN not in shown
