"""A stand-in for the faults, and the environment that points the SDK at a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runstone import capture
from tests.sdk.standin import TOKEN, StandIn

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture(autouse=True)
def spool_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs of this test keep what is not sent yet."""
    folder = tmp_path_factory.mktemp("spool")
    monkeypatch.setenv("RUNSTONE_SPOOL_DIR", str(folder))
    return folder


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in server that the SDK finds by its environment; runs of this process have no repository."""
    monkeypatch.setattr(capture, "_git", capture._Git)
    monkeypatch.setattr(capture, "_untracked", bytes)
    with StandIn() as started:
        monkeypatch.setenv("RUNSTONE_URL", started.url)
        monkeypatch.setenv("RUNSTONE_TOKEN", TOKEN)
        yield started


@pytest.fixture
def real(server: "Server", monkeypatch: pytest.MonkeyPatch) -> "Server":
    """The real server, found by the environment."""
    monkeypatch.setenv("RUNSTONE_URL", server.url)
    monkeypatch.setenv("RUNSTONE_TOKEN", server.token)
    return server
