"""The real libraries, and the server in the environment. What is heavy is tested where it is installed."""

import importlib.util
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import runstone

if TYPE_CHECKING:
    from tests.conftest import Server

collect_ignore = [] if importlib.util.find_spec("torch") else ["heavy"]  # see `make integrations`


@pytest.fixture
def experiment(server: "Server", monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that no other test uses, on the real server, which the environment names."""
    monkeypatch.setenv("RUNSTONE_URL", server.url)
    monkeypatch.setenv("RUNSTONE_TOKEN", server.token)
    return f"i-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def stopping(experiment: str) -> Iterator[runstone.Run]:
    """A run that was asked to stop, and whose program has heard of it."""
    with runstone.start_run(experiment=experiment) as run:
        runstone.request_stop(run.id)
        deadline = time.monotonic() + 30.0
        while not run.stop_requested:
            assert time.monotonic() < deadline
            run.log({"waiting": 1})
            time.sleep(0.01)
        yield run
