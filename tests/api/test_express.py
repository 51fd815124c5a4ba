"""The express way answers what the ordinary way answers, however the bytes arrive."""

import asyncio
import json
import re
from collections.abc import Callable

import pytest

from api.express import Express
from api.guard import Rules
from settings import Settings
from tests.conftest import Client, Server
from tests.lines import STORED, Steps, line


@pytest.fixture
async def steps(client: Client) -> Steps:
    return Steps(client.server, client.token, await client.create_run())


async def count(client: Client, steps: Steps) -> int:
    """How many points the run has."""
    document = 'query($id: ID!) { run(id: $id) { series(keys: ["loss"]) { steps } } }'
    [series] = (await client.ask(document, id=steps.run_id))["run"]["series"]
    assert series["steps"] == list(range(len(series["steps"])))
    return len(series["steps"])


async def test_both_ways_answer_alike(server: Server, client: Client, steps: Steps) -> None:
    async with line(server) as connection:
        await connection.send(steps.request())
        first = await connection.answer()
        await connection.send(steps.request())
        second = await connection.answer()
    for status, headers, body in (first, second):
        assert (status, body) == (200, STORED)
        assert re.fullmatch("[0-9a-f]{16}", headers.pop("x-request-id"))
        del headers["date"]
    assert list(first[1].items()) == list(second[1].items())
    assert await count(client, steps) == 2


@pytest.mark.parametrize(
    "cut",
    [
        lambda sent: [sent[: sent.index(b"{")], sent[sent.index(b"{") :]],
        lambda sent: [sent[:40], sent[40:]],
        lambda sent: [sent[:-1], sent[-1:]],
        lambda sent: [sent[place : place + 100] for place in range(0, len(sent), 100)],
    ],
    ids=["head and body", "in the head", "last byte", "pieces"],
)
async def test_a_request_may_come_in_parts(
    server: Server, client: Client, steps: Steps, cut: Callable[[bytes], list[bytes]]
) -> None:
    async with line(server) as connection:
        for _ in range(3):
            await connection.send(*cut(steps.request()))
            assert (await connection.answer())[2] == STORED
    assert await count(client, steps) == 3


async def test_a_slow_body_leaves_the_express_way(server: Server, client: Client, steps: Steps) -> None:
    async with line(server) as connection:
        await connection.send(steps.request())
        await connection.answer()
        slow = steps.request()
        await connection.send(slow[:-200], slow[-200:-100], slow[-100:], pause_s=1.2)
        assert (await connection.answer())[2] == STORED
        await connection.send(steps.request())
        assert (await connection.answer())[2] == STORED
    assert await count(client, steps) == 3


async def test_what_comes_before_the_answer_waits(server: Server, client: Client, steps: Steps) -> None:
    async with line(server) as connection:
        await connection.send(steps.request())
        await connection.answer()
        await connection.send(*(steps.request() for _ in range(20)), pause_s=0)
        await connection.send(b"".join(steps.request() for _ in range(20)))
        for _ in range(40):
            assert (await connection.answer())[2] == STORED
    assert await count(client, steps) == 41


async def test_a_known_head_with_an_unusual_body_is_answered_in_words(server: Server, steps: Steps) -> None:
    async with line(server) as connection:
        await connection.send(steps.request())
        assert (await connection.answer())[2] == STORED
        await connection.send(steps.with_body(b"{".ljust(500)))
        status, headers, body = await connection.answer()
        assert (status, json.loads(body)["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST")
        await connection.send(steps.with_body(json.dumps({"query": "{ viewer { name } }"}).encode().ljust(500)))
        assert json.loads((await connection.answer())[2])["data"]["viewer"]["name"]
        await connection.send(steps.request(values=[0.5, 0.5]))
        assert (await connection.answer())[2] == STORED.replace(
            b'"LogMetricsPayload"', b'"Invalid","code":"VALIDATION"'
        )
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_client_that_leaves_has_logged(server: Server, client: Client, steps: Steps) -> None:
    async with line(server) as connection:
        await connection.send(steps.request())
        await connection.answer()
        await connection.send(steps.request(), pause_s=0)
        connection.close()
    async with asyncio.timeout(20):
        while await count(client, steps) < 2:
            await asyncio.sleep(0.02)


async def test_close_is_heard(server: Server, steps: Steps) -> None:
    for _ in range(2):
        async with line(server) as connection:
            await connection.send(steps.request("Connection: close"))
            assert (await connection.answer())[2] == STORED
            assert await connection.is_closed()


AUTHORIZED = [(b"host", b"localhost"), (b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
PLAIN = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n"


async def test_only_plain_heads_are_known(settings: Settings) -> None:
    express = Express(Rules(settings), lambda caller, authorization, body: None)

    def is_known(head: bytes, headers: list[tuple[bytes, bytes]], method: bytes = b"POST") -> bool:
        express.learn(head, method, head.split(b" ")[1], headers)
        return express.head(head) is not None

    sized = [*AUTHORIZED, (b"content-length", b"9")]
    assert is_known(PLAIN + b"Content-Length: 9\r\n\r\n", sized)
    odd = [
        (PLAIN.replace(b"/graphql", b"/graphiql") + b"Content-Length: 9\r\n\r\n", sized),
        (
            PLAIN.replace(b"localhost", b"evil.test") + b"Content-Length: 9\r\n\r\n",
            [(b"host", b"evil.test"), *sized[1:]],
        ),
        (PLAIN + b"Content-Length: 99999999\r\n\r\n", [*AUTHORIZED, (b"content-length", b"99999999")]),
        (PLAIN + b"Content-Length: +9\r\n\r\n", [*AUTHORIZED, (b"content-length", b"+9")]),
        (PLAIN + b"\r\n", AUTHORIZED),
        (PLAIN + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n", [*sized, (b"content-length", b"9")]),
        (PLAIN + b"Content-Length: 9\nContent-Length: 3\r\n\r\n", [*sized, (b"content-length", b"3")]),
        (PLAIN + b"Content-Length: 9\n\nx\r\n\r\n", sized),
        (PLAIN + b"Content-Length: 9\r\nAccept: a,\r\n b\r\n\r\n", [*sized, (b"accept", b"a, b")]),
    ]
    for name, value in [
        (b"transfer-encoding", b"chunked"),
        (b"content-encoding", b"gzip"),
        (b"expect", b"100-continue"),
        (b"connection", b"close"),
        (b"upgrade", b"websocket"),
        (b"x-forwarded-for", b"1.2.3.4"),
    ]:
        odd.append((PLAIN + b"Content-Length: 9\r\n%b: %b\r\n\r\n" % (name, value), [*sized, (name, value)]))
    for head, headers in odd:
        assert not is_known(head, headers), head
    assert not is_known(PLAIN.replace(b"POST", b"PUT") + b"Content-Length: 9\r\n\r\n", sized, method=b"PUT")


@pytest.fixture
def settings(server: Server) -> Settings:
    return server.settings
