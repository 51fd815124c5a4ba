"""The pages are built where that is possible, and where it is not nothing else suffers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard import build

NO_REGISTRY = {"npm_config_registry": "http://127.0.0.1:9/", "npm_config_fetch_retries": "0"}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of `dashboard/` as a fresh clone has it."""
    copy = tmp_path / "dashboard"
    shutil.copytree(build.HERE, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "build", "gql.ts"))
    shutil.copy(build.SCHEMA, tmp_path)
    return copy


def run(sources: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "npm_config_cache": str(sources.parent / "cache"), **environment}
    command = [sys.executable, str(sources / "build.py"), *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", ["v20.19.0", "v20.20.2", "v22.12.0", "v24.0.0", "v25.1.0"])
def test_node_is_new_enough(version: str) -> None:
    assert build.is_usable(version)


@pytest.mark.parametrize("version", ["v18.20.0", "v20.18.3", "v21.7.0", "v22.11.0", "", "node"])
def test_node_is_too_old(version: str) -> None:
    assert not build.is_usable(version)


def test_without_a_registry_there_is_a_warning_and_no_page(sources: Path) -> None:
    if build.present_node() is None:
        pytest.skip("no Node 20.19 or later on this machine")

    built = run(sources, **NO_REGISTRY)

    assert built.returncode == 0
    [warning] = built.stderr.splitlines()
    assert warning.startswith("dashboard: not built: npm could not fetch its packages: ")
    assert warning.endswith("; the server runs without pages")
    assert not (sources / "dist").exists()


def test_a_release_fails_without_a_registry(sources: Path) -> None:
    if build.present_node() is None:
        pytest.skip("no Node 20.19 or later on this machine")

    assert run(sources, "--require", **NO_REGISTRY).returncode == 1


def test_a_failed_build_leaves_the_older_page(sources: Path) -> None:
    (sources / "dist").mkdir()
    (sources / "dist" / "graphiql.html").write_text("older")

    built = run(
        sources, PATH="", **NO_REGISTRY, PIP_INDEX_URL="http://127.0.0.1:9/", PIP_NO_INDEX="1", PIP_FIND_LINKS=""
    )

    assert built.returncode == 0
    assert "what is in dist stays" in built.stderr
    assert (sources / "dist" / "graphiql.html").read_text() == "older"
    assert not list((sources / "build").glob("new-*"))


def test_a_current_page_is_left_alone(sources: Path) -> None:
    (sources / "dist").mkdir()
    (sources / "dist" / ".stamp").write_text(build.wanted_stamp())

    assert run(sources, PATH="").stdout == ""


def test_lock_names_no_registry() -> None:
    assert '"resolved"' not in (build.HERE / "package-lock.json").read_text()
