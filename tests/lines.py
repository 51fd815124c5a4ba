"""A line to the server: a connection that sends packets of bytes, and requests that log one step after the other."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import Server, new_id

LOG = "mutation Log($input: LogMetricsInput!) { logMetrics(input: $input) { __typename ... on UserError { code } } }"
STORED = b'{"data":{"logMetrics":{"__typename":"LogMetricsPayload"}}}'


class Line:
    """A connection that sends what it is told, when it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *packets: bytes, pause_s: float = 0.02) -> None:
        """Each as a packet of its own."""
        for packet in packets:
            self._writer.write(packet)
            await self._writer.drain()
            await asyncio.sleep(pause_s)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            return int(status.split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def rest(self) -> bytes:
        """What comes before the server closes, which it must do soon; nothing where it broke off."""
        async with asyncio.timeout(8):
            with suppress(ConnectionResetError):
                return await self._reader.read()
        return b""

    async def is_closed(self) -> bool:
        """Whether the server has closed, within the time."""
        async with asyncio.timeout(20):
            return await self._reader.read(1) == b""

    def close(self) -> None:
        """Go away at once."""
        self._writer.close()


@asynccontextmanager
async def line(server: Server) -> AsyncIterator[Line]:
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


class Steps:
    """Requests that log one step after the other, with heads that are equal byte for byte."""

    def __init__(self, server: Server, token: str, run_id: str) -> None:
        self.run_id = run_id
        self._server = server
        self._token = token
        self._writer_id = new_id()
        self._seq = 0

    def request(self, *lines: str, **changes: Any) -> bytes:
        """The next one."""
        block = {"seq": self._seq, "keys": ["loss"], "steps": [self._seq], "times": [0], "values": [0.5]} | changes
        self._seq += 1
        variables = {"input": {"runId": self.run_id, "writerId": self._writer_id, "blocks": [block]}}
        return self.with_body(json.dumps({"query": LOG, "variables": variables}).encode().ljust(500), *lines)

    def with_body(self, body: bytes, *lines: str) -> bytes:
        """A request with any body."""
        first = [
            "POST /graphql HTTP/1.1",
            f"Host: {urlsplit(self._server.url).netloc}",
            f"Authorization: Bearer {self._token}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*first, *lines, "", ""]).encode() + body
