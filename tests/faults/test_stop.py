"""SIGTERM while a step is being stored: it is answered before the server goes."""

import asyncio

import psutil
import pytest

from tests.conftest import Server
from tests.gate import gate
from tests.lines import STORED, Steps, line
from tests.parts import pid_of

STOP_S = 10.0


@pytest.mark.timeout(120)
async def test_sigterm_lets_a_step_be_stored(victim: Server, run_id: str) -> None:
    steps = Steps(victim, victim.token, run_id)
    api = psutil.Process(pid_of(victim, "api"))
    async with line(victim) as connection:
        await connection.send(steps.request())
        assert (await connection.answer())[2] == STORED
        assert victim.settings.database_url is not None
        async with gate(victim.settings.database_url, "block") as closed:
            await connection.send(steps.request())
            await closed.waiting()
            api.terminate()
            await asyncio.sleep(0.5)
            assert api.is_running()
        assert (await connection.answer())[2] == STORED
        assert await connection.is_closed()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [api], STOP_S)
    assert not alive
