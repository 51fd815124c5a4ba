"""HTTP/1.1 as bytes: the same few lines for every contender, so that none is measured with a slower client."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from httptools import HttpResponseParser

ANSWER_S: Final = 300.0


class Refused(Exception):
    """An answer that is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a contender answers, and what it wants to see at each request."""

    host: str
    port: int
    token: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def post(self, path: str, body: bytes) -> bytes:
        """A whole request with a JSON body."""
        return b"%b%d\r\n\r\n%b" % (self.head("POST", path), len(body), body)

    def head(self, method: str, path: str) -> bytes:
        """A request up to the number of bytes in its body."""
        token = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: */*\r\n{token}"
            f"Content-Type: application/json\r\nContent-Length: "
        ).encode()

    def get(self, path: str) -> bytes:
        """A whole request without a body."""
        return self.head("GET", path) + b"0\r\n\r\n"


class Line(asyncio.Protocol):
    """One kept connection. Each answer goes to `on_answer` as its status and body, the end to `on_end`."""

    def __init__(self, on_answer: Callable[[int, bytes], None], on_end: Callable[[], None]) -> None:
        self._on_answer = on_answer
        self._on_end = on_end
        self._parser: Any = HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def send(self, request: bytes) -> None:
        """Send a request; the one before must be answered."""
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end()

    def on_body(self, body: bytes) -> None:
        """Called by the parser, maybe several times an answer."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of an answer."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._on_answer(self._parser.get_status_code(), body)


class Client:
    """Asks one question after the other over one connection, a new one when the server has closed the last."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._line: Line | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer. Raises `Refused` when its status is not 200."""
        loop = asyncio.get_running_loop()
        if self._line is None:
            _, self._line = await loop.create_connection(
                lambda: Line(self._answered, self._ended), self._door.host, self._door.port
            )
        self._answer = loop.create_future()
        self._line.send(request)
        async with asyncio.timeout(ANSWER_S):
            status, body = await self._answer
        if status != 200:
            raise Refused(f"{status}: {body[:500].decode(errors='replace')}")
        return body

    async def ask_json(self, request: bytes) -> Any:
        """The answer, parsed."""
        return orjson.loads(await self.ask(request))

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()

    def _answered(self, status: int, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def _ended(self) -> None:
        self._line = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Refused("the connection was closed"))


@contextmanager
def connected(door: Door) -> Iterator[Client]:
    """A client, closed when the block ends."""
    client = Client(door)
    try:
        yield client
    finally:
        client.close()
