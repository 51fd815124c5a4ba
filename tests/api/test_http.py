"""Odd requests: each gets a clear refusal, never a 500."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api.app import ShortCut, make_router
from api.guard import Guard
from api.protocol import UNREAD_BYTES_MAX
from settings import Settings
from tests.conftest import Client, Server
from tests.lines import line

VIEWER = {"query": "{ viewer { name } }"}
BODY = json.dumps(VIEWER).encode()


async def post(server: Server, content: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30, verify=False) as http:
        given = {
            "authorization": f"Bearer {server.token}",
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await http.post(f"{server.url}/graphql", content=content, headers=given)


def code(response: httpx.Response) -> str:
    error = response.json()["errors"][0]
    assert error["extensions"]["requestId"] == response.headers["x-request-id"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"null", "JSON object"),
        (b"5", "JSON object"),
        (b'"x"', "JSON object"),
        (b"[]", "list"),
        (json.dumps([VIEWER, VIEWER]).encode(), "list"),
        (b"", "not JSON"),
        (b'{"query": "{ viewer', "not JSON"),
        (b"\xff\xfe{}", "UTF-8"),
        (BODY.decode().encode("utf-16"), "UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"query": "{a}", "variables": {"a": ' + b"9" * 5_000 + b"}}", "digits"),
        (b'{"query": "{a}", "variables": {"a": NaN}}', "NaN"),
        (b'{"query": "{a}", "variables": {"a": -Infinity}}', "-Infinity"),
        (b'{"query": "{a}", "query": "{b}"}', "twice"),
        (b'{"query": "{a}", "variables": {"a": {"b": 1, "b": 2}}}', "twice"),
        (b'{"query": 5}', "query"),
        (b'{"variables": {}}', "query"),
        (b'{"query": "{ viewer { name } }", "variables": []}', "variables"),
        (b'{"query": "{ viewer { name } }", "operationName": 5}', "operationName"),
        (b'{"query": "{ viewer { name } }", "operationName": "Missing"}', "operation"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else "",
)
async def test_body_that_is_no_request_is_refused(server: Server, body: bytes, says: str) -> None:
    response = await post(server, body)
    assert response.status_code == 400
    assert code(response) == "BAD_REQUEST"
    assert says in response.text


@pytest.mark.parametrize(
    "media_type",
    ["text/plain;application/json", "text/plain", "multipart/form-data", "", "application/json; charset=utf-80"],
)
async def test_other_media_types_are_refused(server: Server, media_type: str) -> None:
    response = await post(server, BODY, content_type=media_type)
    assert response.status_code == 415
    assert code(response) == "BAD_REQUEST"


async def test_json_may_say_that_it_is_utf_8(server: Server) -> None:
    for media_type in ("application/json; charset=UTF-8", 'application/json;charset="utf-8"', "Application/JSON"):
        assert (await post(server, BODY, content_type=media_type)).status_code == 200


@pytest.mark.parametrize("twice", ["Authorization: Bearer x", "Content-Type: text/plain", "Content-Encoding: gzip"])
async def test_headers_that_contradict_each_other_are_refused(server: Server, twice: str) -> None:
    lines = [f"Content-Length: {len(BODY)}", "Content-Encoding: identity"]
    assert (await raw(server, head(server, *lines) + BODY)).startswith(b"HTTP/1.1 200 ")
    assert (await raw(server, head(server, *lines, twice) + BODY)).startswith(b"HTTP/1.1 400 ")


async def test_body_above_the_limit_is_refused(server: Server) -> None:
    limit = server.settings.request_body_bytes_max
    declared = await post(server, b" " * (limit + 1))
    assert (declared.status_code, code(declared)) == (413, "PAYLOAD_TOO_LARGE")
    assert str(limit) in declared.text

    async def chunks() -> Any:
        for _ in range(limit // 65_536 + 2):
            yield b" " * 65_536

    async with httpx.AsyncClient(timeout=30, verify=False) as http:
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        chunked = await http.post(f"{server.url}/graphql", content=chunks(), headers=headers)
    assert (chunked.status_code, code(chunked)) == (413, "PAYLOAD_TOO_LARGE")


async def test_gzip_is_taken_and_bounded(server: Server) -> None:
    fine = await post(server, gzip.compress(BODY), content_encoding="gzip")
    assert fine.json()["data"]["viewer"]["name"] == "admin"
    bomb = gzip.compress(b" " * (1000 * 1024 * 1024 // 16))
    assert (await post(server, bomb, content_encoding="gzip")).status_code == 413
    assert code(await post(server, b"not gzip", content_encoding="gzip")) == "BAD_REQUEST"
    packed = gzip.compress(BODY)
    for odd in (packed[:-9], packed + b"more", packed + packed, packed + gzip.compress(b"")):
        assert code(await post(server, odd, content_encoding="gzip")) == "BAD_REQUEST"
    unknown = await post(server, BODY, content_encoding="br")
    assert (unknown.status_code, code(unknown)) == (415, "BAD_REQUEST")


async def test_a_whole_schema_is_packed_for_who_takes_that(server: Server) -> None:
    asked = json.dumps({"query": "{ __schema { types { name description fields { name description } } } }"}).encode()
    packed = await post(server, asked, accept_encoding="deflate, gzip;q=0.5")
    plain = [await post(server, asked, accept_encoding=accepted) for accepted in ("identity", "br, gzip; q=0")]

    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    for answer in plain:
        assert "content-encoding" not in answer.headers
        assert answer.json()["data"] == packed.json()["data"]
        assert int(packed.headers["content-length"]) < int(answer.headers["content-length"]) / 4


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
async def test_other_methods_are_refused(server: Server, method: str) -> None:
    async with httpx.AsyncClient(timeout=10, verify=False) as http:
        response = await http.request(method, f"{server.url}/graphql?query={{viewer{{name}}}}")
    assert response.status_code in {400, 405}


async def raw(server: Server, request: bytes, *, wait_s: float = 15) -> bytes:
    """What the server sends before it closes, or within the time."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    received = b""
    try:
        async with asyncio.timeout(wait_s):
            while chunk := await reader.read(65_536):
                received += chunk
    except TimeoutError:
        pass
    finally:
        writer.close()
    return received


def head(server: Server, *lines: str, host: str | None = None) -> bytes:
    parts = urlsplit(server.url)
    first = [
        "POST /graphql HTTP/1.1",
        f"Host: {parts.netloc if host is None else host}",
        f"Authorization: Bearer {server.token}",
        "Content-Type: application/json",
        "Connection: close",
    ]
    return "\r\n".join([*first, *lines, "", ""]).encode()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1/x?y", "127.0.0.1:x", "a@127.0.0.1", ""])
async def test_foreign_host_is_refused(server: Server, host: str) -> None:
    answer = await raw(server, head(server, f"Content-Length: {len(BODY)}", host=host) + BODY)
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_missing_host_is_refused(server: Server) -> None:
    answer = await raw(server, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("target", ["http://evil.example/graphql", "graphql", "*", "evil.example:80"])
async def test_target_that_is_no_path_is_refused(server: Server, target: str) -> None:
    request = head(server, f"Content-Length: {len(BODY)}").replace(b"/graphql", target.encode(), 1) + BODY
    assert (await raw(server, request)).startswith(b"HTTP/1.1 400 ")


async def test_two_framings_are_refused(server: Server) -> None:
    request = head(server, f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    answer = await raw(server, request)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


async def test_short_body_is_not_run(server: Server) -> None:
    answer = await raw(server, head(server, f"Content-Length: {len(BODY) + 10}") + BODY, wait_s=1)
    assert b'"data"' not in answer
    cut = await raw(server, head(server, f"Content-Length: {len(BODY) - 4}") + BODY)
    assert b" 400 " in cut
    assert b'"data"' not in cut


async def test_too_many_headers_are_refused(server: Server) -> None:
    many = [f"X-{number}: y" for number in range(200)]
    assert (await raw(server, head(server, *many))).startswith(b"HTTP/1.1 431 ")
    assert (await raw(server, head(server, "X-Large: " + "y" * 65_536))).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("piece", [b"x", b"a: b\r\n"], ids=["one header", "many headers"])
async def test_a_head_without_an_end_is_refused_while_it_comes(server: Server, piece: bytes) -> None:
    endless = b"POST /graphql HTTP/1.1\r\nX-Large: " + piece * UNREAD_BYTES_MAX
    async with line(server) as connection:
        await connection.send(endless[: UNREAD_BYTES_MAX + 1])
        assert (await connection.rest()).startswith(b"HTTP/1.1 431 ")


async def test_trailers_without_an_end_are_cut_off(server: Server) -> None:
    async with line(server) as connection:
        await connection.send(head(server, "Transfer-Encoding: chunked") + b"1\r\n{\r\n0\r\n")
        with pytest.raises(ConnectionError):
            await connection.send(*[b"a: b\r\n" * 10_000] * 100)


async def test_trailers_say_nothing_about_who_asks(server: Server) -> None:
    request = head(server, "Transfer-Encoding: chunked").replace(server.token.encode(), b"nobody")
    body = b"%x\r\n%s\r\n0\r\nAuthorization: Bearer %s\r\n\r\n" % (len(BODY), BODY, server.token.encode())
    assert (await raw(server, request + body)).startswith(b"HTTP/1.1 401 ")

    known = head(server, "Transfer-Encoding: chunked") + body.replace(server.token.encode(), b"nobody")
    assert b'"admin"' in await raw(server, known)


async def test_the_body_of_an_upgrade_is_not_another_request(server: Server) -> None:
    hidden = b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    for upgrade in ("h2c", "websocket"):
        request = head(server, f"Content-Length: {len(hidden)}", f"Upgrade: {upgrade}").replace(b"close", b"upgrade")
        async with line(server) as connection:
            await connection.send(request, hidden)
            received = await connection.rest()
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "lines",
    [["Content-Length: 2", "", "{}"], ["X-Large: " + "y" * 9_000], [f"X-{number}: y" for number in range(150)]],
    ids=["body", "long header", "many headers"],
)
async def test_a_handshake_that_is_none_is_closed(server: Server, lines: list[str]) -> None:
    given = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 24]
    host = urlsplit(server.url).netloc
    request = "\r\n".join(["GET /graphql HTTP/1.1", f"Host: {host}", *given, *lines, "", ""])
    async with line(server) as connection:
        await connection.send(request.encode())
        assert b" 101 " not in await connection.rest()


async def test_stalled_requests_are_closed(server: Server) -> None:
    stalled = [b"POST /gra", head(server, "Content-Length: 1000")]
    began = time.monotonic()
    await asyncio.gather(*(closed_after(server, begin) for begin in stalled))
    assert time.monotonic() - began < 15


async def closed_after(server: Server, begin: bytes) -> None:
    """Send the beginning, then a byte now and then, until the server closes."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(begin)
    closed = asyncio.create_task(reader.read())
    async with asyncio.timeout(20):
        while not (await asyncio.wait([closed], timeout=3))[0]:
            writer.write(b"x")
    writer.close()


@pytest.mark.parametrize("path", ["//graphql", "/graphql/", "/graphql/..;/", "/%67raphql/x", "/:id", "/GRAPHQL"])
async def test_only_the_canonical_path_answers(server: Server, path: str) -> None:
    async with httpx.AsyncClient(timeout=10, verify=False) as http:
        response = await http.post(server.url + path, json=VIEWER)
    assert response.status_code in {401, 404, 405}


async def test_errors_of_a_document_are_few_and_named(client: Client) -> None:
    fields = " ".join(f"missing{number}" for number in range(1_400))
    answer = (await client.post("{ " + fields + " }")).json()
    assert 1 <= len(answer["errors"]) <= 5
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"VALIDATION"}


async def test_deep_document_is_refused(client: Client) -> None:
    for depth in (140, 300, 10_000):
        answer = await client.post("{ a " * depth + "}" * depth)
        assert "recursion" not in answer.text
        assert answer.status_code == 200
        assert answer.json()["errors"]


async def test_schema_can_be_kept_to_oneself(server: Server) -> None:
    asked = "{ __schema { types { name } } }"
    shown = await post(server, json.dumps({"query": asked}).encode())
    assert len(shown.json()["data"]["__schema"]["types"]) > 50

    settings = replace(server.settings, introspection=False)
    async with client_of(settings) as http:
        headers = {"Authorization": f"Bearer {server.token}"}
        hidden = (await http.post("/graphql", json={"query": asked}, headers=headers)).json()
        answered = (await http.post("/graphql", json=VIEWER, headers=headers)).json()
    assert hidden["errors"][0]["extensions"]["code"] == "VALIDATION"
    assert answered["data"]["viewer"]["name"] == "admin"


async def test_pages_can_be_switched_off(server: Server) -> None:
    async with client_of(replace(server.settings, graphiql=False)) as http:
        assert (await http.get("/graphiql")).status_code == 404
        assert (await http.get("/healthz")).status_code == 200


@asynccontextmanager
async def client_of(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another API process with other settings, inside this one."""
    routed = make_router(settings)
    app = Guard(ShortCut(routed), settings)
    async with routed.router.lifespan_context(routed) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url=settings.url) as http:
            yield http
