"""`make install` takes the Python that suits Runstone best."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITH_PYTHON = Path(__file__).parents[2] / "deploy" / "with_python.sh"
SLOW = "-X tracemalloc"


def stand_in(folder: Path, name: str, options: str = "", **env: str) -> str:
    """A Python of this name in the folder, as it says in `STAND_IN` who it is."""
    python = folder / name
    settings = " ".join(f"{key}='{value}'" for key, value in {"STAND_IN": name, **env}.items())
    python.write_text(f'#!/bin/sh\n{settings} exec {sys.executable} {options} "$@"\n')
    python.chmod(0o755)
    return name


def chosen(folder: Path) -> subprocess.CompletedProcess[str]:
    """Prints the name of the Python that is chosen from this folder."""
    say = 'import os; print(os.environ["STAND_IN"], end="")'
    env = {**os.environ, "PATH": str(folder)}
    return subprocess.run(
        ["/bin/sh", str(WITH_PYTHON), "-c", say], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def no_ensurepip(tmp_path: Path) -> str:
    """A folder for PYTHONPATH; with it Python is as where `ensurepip` is a package of the system's own."""
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "ensurepip.py").write_text("raise ImportError")
    return str(folder)


def test_a_clearly_quicker_python_goes_before_a_newer_one(tmp_path: Path) -> None:
    stand_in(tmp_path, "python3.13", SLOW)
    quick = stand_in(tmp_path, "python3.11")
    assert chosen(tmp_path).stdout == quick


def test_the_newest_is_taken_when_the_others_are_not_quicker(tmp_path: Path) -> None:
    newest = stand_in(tmp_path, "python3.13")
    stand_in(tmp_path, "python3.11", SLOW)
    assert chosen(tmp_path).stdout == newest


def test_a_python_that_cannot_make_a_venv_is_passed_over(tmp_path: Path, no_ensurepip: str) -> None:
    stand_in(tmp_path, "python3.13", PYTHONPATH=no_ensurepip)
    whole = stand_in(tmp_path, "python3.11", SLOW)
    assert chosen(tmp_path).stdout == whole


def test_without_venv_it_says_which_package_is_missing(tmp_path: Path, no_ensurepip: str) -> None:
    stand_in(tmp_path, "python3", PYTHONPATH=no_ensurepip)
    refused = chosen(tmp_path)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith(f"apt install python{version}-venv\n")


def test_without_a_python_it_says_what_to_install(tmp_path: Path) -> None:
    refused = chosen(tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("apt install python3 python3-venv\n")
