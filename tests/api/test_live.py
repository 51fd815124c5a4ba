"""Subscriptions: no gap, nothing twice, resumable behind every message, and hard on sockets that misbehave."""

import asyncio
import json
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.live_sockets import SEND_S
from db import chunks, events
from db.access import Role
from db.points import POINTS_MAX
from db.pool import Pool
from tests.api import test_artifacts as artifacts
from tests.api.test_metrics import FINISH, LOG_METRICS, SERIES, START_MS, block
from tests.conftest import Client, People, Server, new_id
from tests.watching import EVENTS, POINTS, PROTOCOL, Sent, Watcher, points_in, socket_to, watching

REQUEST_STOP = "mutation ($id: ID!) { requestStop(input: { runId: $id }) { __typename } }"
LOG_PARAMS = """
    mutation ($id: ID!, $value: ParamValue!) {
      logParams(input: { runId: $id, params: [{ key: "a", value: $value }, { key: "b", value: 2 }] }) { __typename }
    }
"""
SET_TAGS = """
    mutation ($id: ID!, $tags: [TagInput!]!) { setTags(input: { runId: $id, tags: $tags }) { __typename } }
"""
RESUME = """
    mutation ($id: ID!, $attempt: ID!) { resumeRun(input: { runId: $id, attemptId: $attempt }) { __typename } }
"""


async def log(client: Client, run_id: str, writer_id: str, *blocks: dict[str, Any]) -> None:
    """Store blocks and have them acknowledged."""
    given = {"runId": run_id, "writerId": writer_id, "blocks": blocks}
    answer = (await client.ask(LOG_METRICS, input=given))["logMetrics"]
    assert answer["__typename"] == "LogMetricsPayload", answer


async def until(watcher: Watcher, count: int, id: str = "1") -> list[dict[str, Any]]:
    """The next messages, with at least `count` points."""
    messages: list[dict[str, Any]] = []
    while sum(len(points_in(message)) for message in messages) < count:
        messages.append(await watcher.next(id))
    return messages


def points_of(messages: Sequence[dict[str, Any]]) -> list[Sent]:
    """All points of the messages."""
    return [point for message in messages for point in points_in(message)]


def sent(run_id: str, *blocks: dict[str, Any], attempt: int = 1) -> list[Sent]:
    """The points of blocks of one key."""
    return [
        (run_id, given["keys"][0], step, time, value, attempt)
        for given in blocks
        for step, time, value in zip(given["steps"], given["times"], given["values"], strict=True)
    ]


async def compact(pool: Pool, run_id: str) -> None:
    """Make chunks of the run's blocks, as the worker does."""
    while await chunks.compact(pool, [UUID(run_id)]):
        pass


async def test_points_arrive_once_and_in_order(client: Client, server: Server) -> None:
    run_id, other, writer_id = await client.create_run(), await client.create_run(), str(uuid4())
    await log(client, run_id, writer_id, block(0))
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(POINTS, runIds=[run_id], keys=["loss"])
        beginning = await watcher.next()
        assert (beginning["runId"], beginning["series"]) == (None, [])
        await log(client, other, str(uuid4()), block(0))
        await log(client, run_id, writer_id, block(1), block(2, keys=["unasked"]), block(3, values=["NaN"]))
        await log(client, run_id, writer_id, block(3, values=["NaN"]))  # sent again
        await log(client, run_id, writer_id, block(4, keys=["other", "loss"], values=[7, 8]))
        found = points_of(await until(watcher, 3))
    expected = [(1, 0.5), (3, "NaN"), (4, 8)]
    assert found == [(run_id, "loss", step, START_MS + step, value, 1) for step, value in expected]


@pytest.mark.timeout(120)
async def test_a_subscription_resumes_behind_every_message(client: Client, server: Server, pool: Pool) -> None:
    """Under writers that log all the time, with compaction meanwhile."""
    run_ids = [await client.create_run() for _ in range(2)]
    writers = [(run_id, str(uuid4())) for run_id in run_ids for _ in range(3)]
    count = 16

    async def write(number: int, run_id: str, writer_id: str) -> list[Sent]:
        done: list[Sent] = []
        for seq in range(count):
            given = block(seq, values=[number * 1000 + seq])
            await log(client, run_id, writer_id, given)
            done += sent(run_id, given)
            if seq in (6, 12):
                await compact(pool, run_id)
        return done

    async with watching(server, client.token) as watcher:
        await watcher.subscribe(POINTS, runIds=run_ids, keys=["loss"])
        messages = [await watcher.next()]
        writing = asyncio.gather(*(write(number, *writer) for number, writer in enumerate(writers)))
        messages += await until(watcher, count * len(writers))
        acknowledged = [point for points in await writing for point in points]
    assert sorted(points_of(messages)) == sorted(acknowledged)
    for number in range(len(writers)):
        values = [point[4] for point in points_of(messages) if point[4] // 1000 == number]
        assert values == sorted(values), "the blocks of a writer come in their order"
    assert len(messages) > 5
    async with watching(server, client.token) as watcher:
        for place, message in enumerate(messages[:-1]):
            expected = points_of(messages[place + 1 :])
            await watcher.subscribe(POINTS, str(place), runIds=run_ids, keys=["loss"], after=[message["after"]])
            assert sorted(points_of(await until(watcher, len(expected), str(place)))) == sorted(expected)
            await watcher.send(type="complete", id=str(place))


async def test_points_from_the_start_span_attempts_and_chunks(client: Client, server: Server, pool: Pool) -> None:
    run_id, first, second = await client.create_run(), str(uuid4()), str(uuid4())
    blocks = [block(seq) for seq in range(30)]
    await log(client, run_id, first, *blocks)
    await client.ask(FINISH, id=run_id)
    await compact(pool, run_id)
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(POINTS, runIds=[run_id], keys=["loss"], fromStart=True)
        messages = [await watcher.next(), *(await until(watcher, 30))]
        await client.ask(RESUME, id=run_id, attempt=str(uuid4()))
        await log(client, run_id, second, block(0))
        messages += await until(watcher, 1)
        assert points_of(messages) == sent(run_id, *blocks) + sent(run_id, block(0), attempt=2)
        # What has ended takes no room in cursors: they stay as long with more attempts.
        await client.ask(FINISH, id=run_id)
        await client.ask(RESUME, id=run_id, attempt=str(uuid4()))
        await log(client, run_id, str(uuid4()), block(0))
        [last] = await until(watcher, 1)
        assert points_in(last)[0][5] == 3
        assert len(last["after"]) == len(messages[-1]["after"])


async def test_more_than_is_read_at_once_comes_without_anything_new(client: Client, server: Server) -> None:
    run_id, writer_id, n = await client.create_run(), str(uuid4()), POINTS_MAX // 2
    blocks = [
        block(seq, steps=list(range(seq * n, seq * n + n)), times=[START_MS] * n, values=[0.5] * n) for seq in range(12)
    ]
    for given in blocks:
        await log(client, run_id, writer_id, given)
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(POINTS, runIds=[run_id], keys=["loss"], fromStart=True)
        messages = [await watcher.next(), *(await until(watcher, 12 * n))]
    assert len(messages) >= 1 + 6, "each has 20,000 points at most"
    assert [point[2] for point in points_of(messages)] == list(range(12 * n))


async def test_series_and_points_have_no_gap_between_them(client: Client, server: Server) -> None:
    run_id, writer_id, empty = await client.create_run(), str(uuid4()), await client.create_run()
    document = SERIES.replace("runId key", "runId asOf key")
    total = 60

    async def write() -> None:
        for seq in range(total):
            await log(client, run_id, writer_id, block(seq, keys=["a", "b"], values=[seq, -seq]))

    await log(client, run_id, str(uuid4()), block(0, keys=["a", "b"], values=[-1, -1]))
    writing = asyncio.create_task(write())
    async with watching(server, client.token) as watcher:
        for id in map(str, range(5)):
            asked = {"select": {"runIds": [run_id, empty]}, "keys": ["a", "b"]}
            a, b = (await client.ask(document, **asked))["series"]
            assert a["asOf"] == b["asOf"]
            after = [a["asOf"], b["asOf"]]
            await watcher.subscribe(POINTS, id, runIds=[run_id, empty], keys=["a", "b"], after=after)
            rest = points_of(await until(watcher, 2 * (total + 1) - len(a["values"]) - len(b["values"]), id))
            for key, read in (("a", a), ("b", b)):
                values = read["values"] + [point[4] for point in rest if point[1] == key]
                expected = [seq if key == "a" else -seq for seq in range(total)]
                assert sorted(values) == sorted([-1, *expected])
            await watcher.send(type="complete", id=id)
        await log(client, empty, str(uuid4()), block(0, keys=["a"]))
        await watcher.subscribe(POINTS, "empty", runIds=[run_id, empty], keys=["a", "b"], after=after)
        rest = points_of(await until(watcher, 2 * (total + 1) - len(a["values"]) - len(b["values"]) + 1, "empty"))
        assert (empty, "a", 0, START_MS, 0, 1) in rest
    await writing


async def test_columns_can_be_base64(client: Client, server: Server) -> None:
    run_id = await client.create_run()
    document = POINTS.replace("fromStart: $fromStart", "fromStart: $fromStart, encoding: BASE64")
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(document, runIds=[run_id], keys=["loss"])
        await watcher.next()
        await log(client, run_id, str(uuid4()), block(0, values=[1.5]))
        [series] = (await watcher.next())["series"]
    assert series["values"] == "AAAAAAAA+D8="


async def test_many_who_ask_the_same_get_the_same(client: Client, people: People, server: Server) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    viewer = await people.member(client.project, Role.VIEWER)
    async with (
        watching(server, client.token) as one,
        watching(server, viewer.token) as two,
        watching(server, client.token) as late,
    ):
        for watcher in (one, two):
            await watcher.subscribe(POINTS, runIds=[run_id], keys=["loss"])
            await watcher.next()
        for seq in range(20):
            await log(client, run_id, writer_id, block(seq))
            if seq == 10:
                await late.subscribe(POINTS, runIds=[run_id], keys=["loss"], fromStart=True)
                await late.next()
        found = [points_of(await until(watcher, 20)) for watcher in (one, two, late)]
    assert found == [sent(run_id, *map(block, range(20)))] * 3


async def happened(watcher: Watcher, count: int, id: str = "1") -> list[dict[str, Any]]:
    """The next events."""
    return [await watcher.next(id) for _ in range(count)]


async def test_events_tell_what_happens_to_a_run(client: Client, server: Server) -> None:
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(EVENTS)
        beginning = await watcher.next()
        assert (beginning["kind"], beginning["runId"], beginning["run"]) == ("SUBSCRIBED", None, None)
        first = {"params": [{"key": "p", "value": 1}], "tags": [{"key": "t", "value": "1"}]}
        run_id = await client.create_run(name="observed", **first)
        seen = await happened(watcher, 1)
        await client.ask(LOG_PARAMS, id=run_id, value=1)
        await client.ask(LOG_PARAMS, id=run_id, value=1)  # again, which changes nothing
        seen += await happened(watcher, 1)
        await client.ask(SET_TAGS, id=run_id, tags=[{"key": "t", "value": "2"}])
        seen += await happened(watcher, 1)
        await log(client, run_id, str(uuid4()), block(0))  # points are no event
        [upload] = (await artifacts.create(client, run_id, artifacts.file()))["uploads"]
        await artifacts.send(upload, artifacts.BODY)
        await artifacts.complete(client, upload)
        seen += await happened(watcher, 1)
        for _ in range(2):
            await client.ask(REQUEST_STOP, id=run_id)
        seen += await happened(watcher, 1)
        for _ in range(2):
            await client.ask(FINISH, id=run_id)
        seen += await happened(watcher, 1)
        await client.ask(RESUME, id=run_id, attempt=str(uuid4()))
        seen += await happened(watcher, 1)
    assert [(event["kind"], event["attempt"], event["status"]) for event in seen] == [
        ("RUN_CREATED", 1, "RUNNING"),
        ("PARAMS_LOGGED", 1, None),
        ("TAGS_CHANGED", 1, None),
        ("ARTIFACT_READY", 1, None),
        ("STOP_REQUESTED", 1, None),
        ("STATUS_CHANGED", 1, "FINISHED"),
        ("ATTEMPT_STARTED", 2, "RUNNING"),
    ]
    assert [event["artifactId"] for event in seen if event["artifactId"]] == [upload["artifact"]["id"]]
    assert {event["runId"] for event in seen} == {run_id}
    assert all(event["experimentId"] and event["projectId"] and event["at"] for event in seen)
    assert seen[0]["run"] == {"id": run_id, "name": "observed", "status": "RUNNING"}
    assert seen[5]["run"]["status"] == "FINISHED", "the run is shown as it is now"


async def test_events_resume_behind_each_and_have_one_order(client: Client, server: Server) -> None:
    async with watching(server, client.token) as one, watching(server, client.token) as two:
        for watcher in (one, two):
            await watcher.subscribe(EVENTS)
        beginning = await one.next()
        await two.next()

        async def live(number: int) -> str:
            run_id = await client.create_run(name=str(number))
            await client.ask(FINISH, id=run_id)
            return run_id

        run_ids = await asyncio.gather(*map(live, range(20)))
        seen, also = await happened(one, 40), await happened(two, 40)
        order = [(event["runId"], event["kind"]) for event in seen]
        assert order == [(event["runId"], event["kind"]) for event in also]
        kinds = ("RUN_CREATED", "STATUS_CHANGED")
        assert sorted(order) == sorted((run_id, kind) for run_id in run_ids for kind in kinds)
        assert all(order.index((run_id, kinds[0])) < order.index((run_id, kinds[1])) for run_id in run_ids)
        for place, event in enumerate([beginning, *seen[:-1]]):
            await two.subscribe(EVENTS, f"from {place}", after=event["after"])
            again = await happened(two, 40 - place, f"from {place}")
            assert [(event["runId"], event["kind"]) for event in again] == order[place:]
            await two.send(type="complete", id=f"from {place}")


async def test_events_come_in_the_order_of_commits(client: Client, server: Server, pool: Pool) -> None:
    """Who notes an event first may commit it last; nobody who reads between the two misses it."""
    slow, quick = await client.create_run(), await client.create_run()
    note = (
        "insert into tag (run_id, project_id, key, value, changed_by) "
        "select id, project_id, 'k', 'v', created_by from run where id = $1"
    )
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(EVENTS)
        await watcher.next()
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute(note, UUID(slow))
            await pool.execute(note, UUID(quick))
            assert (await watcher.next())["runId"] == quick
        assert (await watcher.next())["runId"] == slow


async def test_events_are_selected(client: Client, server: Server) -> None:
    wanted, other = await client.create_run(), await client.create_run(experiment="other")
    async with watching(server, client.token) as watcher:
        for id, select in (("run", {"runIds": [wanted]}), ("all", None)):
            await watcher.subscribe(EVENTS, id, select=select)
            assert (await watcher.next(id))["kind"] == "SUBSCRIBED"
        await client.ask(FINISH, id=other)
        event = await watcher.next("all")
        assert event["runId"] == other
        await watcher.subscribe(EVENTS, "experiment", select={"experimentIds": [event["experimentId"]]})
        await watcher.next("experiment")
        await client.ask(FINISH, id=wanted)
        ids = {message["id"] for message in [await watcher.receive(), await watcher.receive()]}
        assert ids == {"run", "all"}
        error = await watcher.refusal(EVENTS, "status", select={"statuses": ["RUNNING"]})
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("VALIDATION", "select.statuses")


async def test_nobody_hears_of_what_is_not_theirs(client: Client, people: People, server: Server) -> None:
    logger, other = [await people.member(client.project, Role.LOGGER) for _ in range(2)]
    stranger = await people.member(await people.project(), Role.OWNER)
    async with (
        watching(server, logger.token) as own,
        watching(server, other.token) as others,
        watching(server, stranger.token) as strangers,
    ):
        for watcher in (own, others, strangers):
            await watcher.subscribe(EVENTS)
            await watcher.next()
        foreign = await client.create_run(name="secret")
        mine = await logger.create_run()
        assert (await own.next())["runId"] == mine
        at_last = [await other.create_run(), await stranger.create_run()]
        assert [(await watcher.next())["runId"] for watcher in (others, strangers)] == at_last
        for watcher in (own, strangers):
            told = await watcher.refusal(POINTS, "foreign", runIds=[foreign], keys=["loss"])
            nobodys = new_id()
            missing = await watcher.refusal(POINTS, "missing", runIds=[nobodys], keys=["loss"])
            told["extensions"].pop("requestId")
            missing["extensions"].pop("requestId")
            assert json.dumps(told).replace(foreign, nobodys) == json.dumps(missing)
            assert told["extensions"]["code"] == "NOT_FOUND"


async def test_a_cursor_that_is_too_old_says_so(client: Client, server: Server, pool: Pool) -> None:
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(EVENTS)
        beginning = await watcher.next()
        for _ in range(3):
            await client.create_run()
            await watcher.next()
        await events.sweep(pool, kept_days=0)
        error = await watcher.refusal(EVENTS, "old", after=beginning["after"])
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("VALIDATION", "after")
        assert "load" in error["extensions"]["hint"]


BAD_SUBSCRIPTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("subscription {", {}, "BAD_REQUEST"),
    ("subscription { unknown }", {}, "VALIDATION"),
    ("query { viewer { name } }", {}, "BAD_REQUEST"),
    ("mutation { logParams(input: { runId: 1, params: [] }) { __typename } }", {}, "BAD_REQUEST"),
    ("subscription A { runEvents { kind } } subscription B { runEvents { kind } }", {}, "BAD_REQUEST"),
    ("subscription { runEvents { kind } points(runIds: [], keys: []) { after } }", {}, "VALIDATION"),
    (POINTS, {"runIds": "x"}, "VALIDATION"),
    (POINTS, {"runIds": ["x"], "keys": ["loss"]}, "VALIDATION"),
    (POINTS, {"runIds": [], "keys": ["loss"]}, "VALIDATION"),
    (POINTS, {"runIds": [str(uuid4()) for _ in range(101)], "keys": ["loss"]}, "VALIDATION"),
    (POINTS, {"runIds": [str(uuid4())], "keys": []}, "VALIDATION"),
    (POINTS, {"runIds": [str(uuid4())], "keys": [str(number) for number in range(101)]}, "VALIDATION"),
    (EVENTS, {"after": "forged"}, "VALIDATION"),
    (EVENTS, {"after": "\N{SNOWMAN}"}, "VALIDATION"),
    (EVENTS, {"select": {"runIds": ["x"]}}, "VALIDATION"),
]


async def test_bad_subscriptions_are_refused_and_the_socket_stays(client: Client, server: Server) -> None:
    run_id = await client.create_run()
    async with watching(server, client.token) as watcher:
        for number, (document, variables, code) in enumerate(BAD_SUBSCRIPTIONS):
            error = await watcher.refusal(document, str(number), **variables)
            assert error["extensions"]["code"] == code, (document, error)
            assert error["extensions"]["requestId"]
        await watcher.subscribe(EVENTS)
        of_events = (await watcher.next())["after"]
        await watcher.send(type="complete", id="1")
        for after in ([of_events], ["forged"]):
            error = await watcher.refusal(POINTS, "2", runIds=[run_id], keys=["loss"], after=after)
            assert (error["extensions"]["code"], error["extensions"]["path"]) == ("VALIDATION", "after[0]")
        error = await watcher.refusal(POINTS, "3", runIds=[run_id], keys=["loss"], after=[], fromStart=True)
        assert error["extensions"]["path"] == "fromStart"
        answer = (await client.post(EVENTS)).json()
        assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST", "a subscription needs a socket"


async def test_the_protocol_is_kept(client: Client, server: Server) -> None:
    async with socket_to(server) as watcher:
        await watcher.send(type="ping", payload={"any": 1})
        assert (await watcher.receive())["type"] == "pong"
        await watcher.greet(client.token)
        await watcher.send(type="pong")
        for _ in range(2):  # an id is free again when its subscription is over
            await watcher.subscribe(EVENTS, "same")
            assert (await watcher.next("same"))["kind"] == "SUBSCRIBED"
            await watcher.send(type="complete", id="same")
        await watcher.send(type="complete", id="unknown")
        await watcher.send(type="ping")
        assert (await watcher.receive())["type"] == "pong"
    headers = {"Authorization": f"Bearer {client.token}"}
    async with socket_to(server, additional_headers=headers) as watcher:
        await watcher.send(type="connection_init")
        assert (await watcher.receive())["type"] == "connection_ack"


SUBSCRIBE = {"type": "subscribe", "id": "1", "payload": {"query": EVENTS}}


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        pytest.param([SUBSCRIBE, SUBSCRIBE], 4409, id="an id twice"),
        pytest.param([{**SUBSCRIBE, "id": str(number)} for number in range(11)], 4429, id="eleven subscriptions"),
        pytest.param([{"type": "connection_init"}], 4429, id="greeted twice"),
        pytest.param([{"type": "start"}], 4400, id="a message of the old protocol"),
        pytest.param([{"type": 1}], 4400, id="no type"),
        pytest.param([[]], 4400, id="no object"),
        pytest.param([{"type": "subscribe", "payload": {"query": EVENTS}}], 4400, id="no id"),
        pytest.param([{"type": "subscribe", "id": "x" * 129, "payload": {"query": EVENTS}}], 4400, id="a long id"),
        pytest.param([{"type": "subscribe", "id": "1"}], 4400, id="no payload"),
        pytest.param([{"type": "subscribe", "id": "1", "payload": {"query": 1}}], 4400, id="no query"),
        pytest.param(["{"], 4400, id="no JSON"),
        pytest.param([b"{}"], 4400, id="binary"),
        pytest.param(["x" * 65 * 1024], 1009, id="a frame of 65 KiB"),
    ],
)
async def test_misbehaviour_closes_the_socket(client: Client, server: Server, messages: list[Any], code: int) -> None:
    async with watching(server, client.token) as watcher:
        for message in messages:
            await watcher.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        assert await watcher.closed() == code


async def test_only_who_says_who_asks_is_let_in(client: Client, server: Server) -> None:
    async with socket_to(server) as watcher:
        await watcher.subscribe(EVENTS)
        assert await watcher.closed() == 4401
    bad: list[Any] = [
        None,
        {},
        [],
        {"Authorization": "Bearer x"},
        {"Authorization": 1},
        {"authorization": f"Basic {client.token}"},
    ]
    for payload in bad:
        async with socket_to(server) as watcher:
            await watcher.send(type="connection_init", payload=payload)
            assert await watcher.closed() == 4403
    async with socket_to(server) as watcher:  # and says nothing
        assert await watcher.closed() == 4408


async def test_a_token_in_the_address_is_neither_taken_nor_logged(client: Client, server: Server) -> None:
    url = server.url.replace("http", "ws", 1) + f"/graphql?token={client.token}"
    async with connect(url, subprotocols=[PROTOCOL]) as opened:
        await opened.send(json.dumps({"type": "connection_init"}))
        assert await Watcher(opened).closed() == 4403
    assert client.token not in (server.settings.home / "logs" / "api.log").read_text()


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Host": "evil.example"}, 400)],
)
async def test_foreign_pages_open_no_socket(server: Server, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket_to(server, additional_headers=headers):
            pass
    assert refused.value.response.status_code == status


async def test_our_own_pages_open_sockets(client: Client, server: Server) -> None:
    async with watching(server, client.token, origin=server.url) as watcher:
        await watcher.subscribe(EVENTS)
        assert (await watcher.next())["kind"] == "SUBSCRIBED"


async def test_other_subprotocols_are_not_spoken(server: Server) -> None:
    for offered in (["graphql-ws"], None):
        async with socket_to(server, subprotocols=offered) as watcher:
            assert await watcher.closed() == 4406


async def test_a_token_has_a_hundred_sockets(people: People, client: Client, server: Server) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(watching(server, client.token))
        async with socket_to(server) as watcher:
            await watcher.send(type="connection_init", payload={"Authorization": f"Bearer {client.token}"})
            assert await watcher.closed() == 4429
        someone_else = await people.member(client.project, Role.VIEWER)
        await stack.enter_async_context(watching(server, someone_else.token))
    async with watching(server, client.token):
        pass  # there is room again


# What happens to a token, and the code with which its sockets are closed.
CHANGES = {
    "update token set revoked_at = now() where id = $1": 4403,
    "update token set expires_at = now() where id = $1": 4403,
    "update account set disabled_at = now() where id = (select account_id from token where id = $1)": 4403,
    "delete from membership where account_id = (select account_id from token where id = $1)": 1012,
}


async def test_a_change_of_access_ends_sockets(people: People, client: Client, server: Server, pool: Pool) -> None:
    async def code_after(statement: str) -> int:
        member = await people.member(client.project, Role.EDITOR)
        async with watching(server, member.token) as watcher:
            await watcher.subscribe(EVENTS)
            await watcher.next()
            await pool.execute(statement, member.token.split("_")[1])
            async with asyncio.timeout(10):
                return await watcher.closed()

    codes = await asyncio.gather(*map(code_after, CHANGES))

    assert codes == [*CHANGES.values()]


async def test_a_client_that_takes_nothing_is_told_and_cut(client: Client, server: Server) -> None:
    run_id, writer_id = await client.create_run(), str(uuid4())
    size, count = 10_000, 30
    for seq in range(count):
        steps = range(seq * size, (seq + 1) * size)
        given = block(seq, steps=list(steps), times=[START_MS] * size, values=[step + 0.123456789 for step in steps])
        await log(client, run_id, writer_id, given)
    opened = socket.create_connection((server.settings.host, server.settings.port))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    async with watching(server, client.token, sock=opened, max_queue=1) as watcher:
        await watcher.subscribe(POINTS, runIds=[run_id], keys=["loss"], fromStart=True)
        messages = [await watcher.next()]
        await asyncio.sleep(SEND_S + 3)
        while (message := await watcher.receive())["type"] == "next":
            messages.append(message["payload"]["data"]["points"])
        [error] = message["payload"]
        assert await watcher.closed() == 4408
    assert (error["extensions"]["code"], error["extensions"]["retryable"]) == ("SLOW_CONSUMER", True)
    assert len(points_of(messages)) < size * count
    async with watching(server, client.token) as watcher:
        await watcher.subscribe(POINTS, runIds=[run_id], keys=["loss"], after=[messages[-1]["after"]])
        messages += await until(watcher, size * count - len(points_of(messages)))
    assert [point[2] for point in points_of(messages)] == list(range(size * count))


async def test_a_client_that_breaks_off_leaves_nothing_behind(client: Client, server: Server) -> None:
    run_id = await client.create_run()
    for _ in range(20):
        async with watching(server, client.token) as watcher:
            await watcher.subscribe(POINTS, runIds=[run_id], keys=["loss"])
            await watcher.next()
            watcher.socket.transport.abort()
    async with AsyncExitStack() as stack:  # as many as there may be: those that broke off do not count
        for _ in range(100):
            await stack.enter_async_context(watching(server, client.token))
