"""The real libraries, and the server in the environment. What is heavy is tested where it is installed."""

import importlib.util
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Server

collect_ignore = [] if importlib.util.find_spec("torch") else ["heavy"]  # see `make integrations`


@pytest.fixture
def experiment(server: "Server", monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that no other test uses, on the real server, which the environment names."""
    monkeypatch.setenv("RUNSTONE_URL", server.url)
    monkeypatch.setenv("RUNSTONE_TOKEN", server.token)
    return f"i-{uuid.uuid4().hex[:12]}"
