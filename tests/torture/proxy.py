"""A stretch of network between two parts, that can be cut, silenced, slowed or shut."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["up", "down"]  # up: towards the server

PIECE_BYTES = 64 * 1024
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes on what clients of `port` and the server at `target_port` say to each other."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.latency_s = 0.0
        self.refusing = False
        self._target_port = target_port
        self._pass = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._open: set[asyncio.StreamWriter] = set()
        for passing in self._pass.values():
            passing.set()

    def cut(self) -> int:
        """Break all connections at once; how many."""
        count = len(self._open)
        for writer in tuple(self._open):
            writer.transport.abort()
        return count // 2

    def silence(self, *directions: Direction) -> None:
        """Let nothing more through in these directions, without a word to either side."""
        for direction in directions:
            self._pass[direction].clear()

    def restore(self) -> None:
        """An ordinary network again; connections on which something was held back break."""
        held = not all(passing.is_set() for passing in self._pass.values())
        self.latency_s, self.refusing = 0.0, False
        if held:
            self.cut()
        for passing in self._pass.values():
            passing.set()

    async def serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        """One connection, until either side closes it."""
        if self.refusing:
            client_writer.write(REFUSAL)
            client_writer.close()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            client_writer.transport.abort()
            return
        ends = {client_writer, server_writer}
        self._open |= ends
        try:
            for end in ends:
                end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on("up", client_reader, server_writer))
                tasks.create_task(self._pass_on("down", server_reader, client_writer))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pass_on(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE_BYTES):
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                await self._pass[direction].wait()
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            writer.transport.abort()  # a process that was killed while it was sent something resets its connection


@asynccontextmanager
async def open_proxy(target_port: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port of this machine."""
    proxy = Proxy(target_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for passing in proxy._pass.values():
            passing.set()
        proxy.cut()
        await server.wait_closed()
