"""Subscriptions while parts of Runstone are killed: what was acknowledged arrives, each point and event once."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias
from uuid import uuid4

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.conftest import Server
from tests.parts import pid_of
from tests.torture import wire
from tests.torture.wire import FINISH, LOG
from tests.watching import EVENTS, POINTS, points_in, watching

STEPS = 120
SOCKETS = 50
STOP_S = 10.0
SETTLED_S = 90.0

IsLast: TypeAlias = Callable[[list[dict[str, Any]]], bool]


async def log(stubborn: wire.Server, run_id: str, writer_id: str, step: int) -> None:
    """Log one point, and have it acknowledged."""
    block = {"seq": step, "keys": ["loss"], "steps": [step], "times": [step], "values": [step / 7]}
    data = await stubborn.ask(LOG, input={"runId": run_id, "writerId": writer_id, "blocks": [block]})
    assert data["logMetrics"]["__typename"] == "LogMetricsPayload", data


async def kill(server: Server, part: str, when: asyncio.Event) -> None:
    """Kill the part as soon as the event is set, and wait until another process serves it."""
    await when.wait()
    killed = pid_of(server, part)
    psutil.Process(killed).kill()
    async with asyncio.timeout(SETTLED_S):
        while True:
            await asyncio.sleep(0.2)
            with suppress(StopIteration, psutil.NoSuchProcess):
                if pid_of(server, part) != killed:
                    return


class Follower:
    """A subscription that begins again behind its last message whenever its socket is closed."""

    def __init__(self, server: Server, document: str, **variables: Any) -> None:
        self.messages: list[dict[str, Any]] = []
        self.codes: list[int] = []
        self._server = server
        self._document = document
        self._variables = variables
        self.began = asyncio.Event()

    async def follow(self, is_last: IsLast) -> None:
        """Until a message is the last."""
        async with asyncio.timeout(SETTLED_S):
            while not (self.messages and is_last(self.messages)):
                try:
                    await self._follow_once(is_last)
                except ConnectionClosed as closed:
                    self.codes.append(closed.rcvd.code if closed.rcvd else 1006)
                except (OSError, InvalidHandshake):
                    pass
                await asyncio.sleep(0.1)

    async def _follow_once(self, is_last: IsLast) -> None:
        after = {"after": self.messages[-1]["after"]} if self.messages else {}
        async with watching(self._server, self._server.token) as watcher:
            await watcher.subscribe(self._document, **self._variables, **after)
            while not (self.messages and is_last(self.messages)):
                self.messages.append(await watcher.next())
                self.began.set()


def has_all_points(messages: list[dict[str, Any]]) -> bool:
    return sum(len(points_in(message)) for message in messages) >= STEPS


def is_finished(messages: list[dict[str, Any]]) -> bool:
    return bool(messages[-1]["status"] == "FINISHED")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", ["api", "postgres", "redis"])
async def test_subscribers_get_everything_once_though_a_part_is_killed(
    victim: Server, stubborn: wire.Server, run_id: str, part: str
) -> None:
    points = Follower(victim, POINTS, runIds=[run_id], keys=["loss"])
    events = Follower(victim, EVENTS, select={"runIds": [run_id]})
    under_way = asyncio.Event()
    writer_id = str(uuid4())

    async def log_points() -> None:
        await asyncio.gather(points.began.wait(), events.began.wait())
        for step in range(STEPS):
            await log(stubborn, run_id, writer_id, step)
            if step == STEPS // 4:
                under_way.set()
        await stubborn.ask(FINISH, input={"runId": run_id})

    following = [points.follow(has_all_points), events.follow(is_finished)]
    await asyncio.gather(*following, log_points(), kill(victim, part, under_way))

    found = [point for message in points.messages for point in points_in(message)]
    assert [(point[2], point[4]) for point in found] == [(step, step / 7) for step in range(STEPS)]
    assert [event["kind"] for event in events.messages] == ["SUBSCRIBED", "STATUS_CHANGED"]
    if part != "api":
        assert points.codes == events.codes == [], "the sockets outlive the other parts"


@pytest.mark.timeout(120)
async def test_sigterm_sends_subscribers_away_and_they_come_back(
    victim: Server, stubborn: wire.Server, run_id: str
) -> None:
    followers = [Follower(victim, POINTS, runIds=[run_id], keys=["loss"]) for _ in range(SOCKETS)]
    writer_id = str(uuid4())
    async with asyncio.TaskGroup() as tasks:
        for follower in followers:
            tasks.create_task(follower.follow(has_all_points))
        for follower in followers:
            await follower.began.wait()
        for step in range(STEPS):
            if step == STEPS // 2:
                api = psutil.Process(pid_of(victim, "api"))
                api.send_signal(signal.SIGTERM)
                _, alive = await asyncio.to_thread(psutil.wait_procs, [api], STOP_S)
                assert not alive, "it stops within 10 s, also with open sockets"
            await log(stubborn, run_id, writer_id, step)
    for follower in followers:
        found = [point for message in follower.messages for point in points_in(message)]
        assert [point[2] for point in found] == list(range(STEPS))
        assert follower.codes == [1012]
