"""A training that dies by kill -9 has lost nothing that it logged (`make kills` is the long form)."""

from pathlib import Path

import pytest

from tests.conftest import Server
from tests.torture import kills


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("unmeasured")
async def test_what_was_logged_before_kill_9_is_there_once_after_a_sync(server: Server, tmp_path: Path) -> None:
    deaths, wrong = await kills.kill(server, tmp_path, kills=len(kills.MOMENTS), seed=3)

    assert wrong == []
    assert sorted(death.moment for death in deaths) == sorted(kills.MOMENTS)
    assert all(len(death.logged) >= kills.ROWS_BEFORE for death in deaths)
