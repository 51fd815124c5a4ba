"""Sockets of uvicorn that let the last words pass when a client reads nothing, and do not wait for ever for it."""

import logging
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LEAVE_S: Final = 12.0  # for what is written to a socket that was closed
SHUTDOWN_S: Final = 3.0  # the same when the server stops


class SocketProtocol(WebSocketsSansIOProtocol):
    """A socket whose end has an end."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:  # it was no handshake at all
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close" or message.get("is_last"):
            self.writable.set()
        await super().send(message)

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(LEAVE_S, self._abort)

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(SHUTDOWN_S, self._abort)

    def _abort(self) -> None:
        if not self.disconnected:
            self.transport.abort()


class WithoutSockets(logging.Filter):
    """Leaves out what uvicorn notes of each socket, such as the address as it was asked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = str(record.msg)
        return record.levelno > logging.INFO or not ('"WebSocket %s"' in message or message.startswith("connection "))
