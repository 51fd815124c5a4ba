"""`python -m api`: serve until SIGTERM."""

import asyncio
import gc
import logging
import sys
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.app import make_app
from api.guard import SAFE
from api.live_transport import SocketProtocol, WithoutSockets
from settings import Settings, SettingsError

REQUEST_HEAD_TIMEOUT_S: Final = 10.0
LAST_CALL_S: Final = 1.0
GARBAGE_AFTER: Final = 20_000  # new objects: a request makes hundreds, and nearly all go without a collector
CONNECTIONS_MAX: Final = 10_000  # each training that logs keeps one open


class WholeAnswer:
    """A transport that keeps the head of an answer until its body comes: one packet, one call of the system."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send it, or keep it when it is the head."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Close the connection when all is sent."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers do not arrive in time; takes only targets that are paths."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio says BaseTransport
        super().connection_made(transport)
        self._expect_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        if not self.url and not url.startswith(b"/"):
            raise ValueError("the target is not a path")  # the parser answers 400
        super().on_url(url)

    def on_headers_complete(self) -> None:
        self._forget_head()
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = cast(asyncio.Transport, WholeAnswer(self.transport))

    def on_response_complete(self) -> None:
        if self.cycle is not None and isinstance(self.cycle.transport, WholeAnswer):
            self.cycle.transport.flush()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(REQUEST_HEAD_TIMEOUT_S, self._call_last)

    def _call_last(self) -> None:
        """Between this timer and the next the loop reads what has arrived, however late it is with that itself."""
        self._head_timer = self.loop.call_later(LAST_CALL_S, self.transport.close)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def main(settings: Settings) -> None:
    """Serve on the settings' host and port."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold presigned addresses
    logging.getLogger("uvicorn.error").addFilter(WithoutSockets())
    serve(make_app(settings), settings)


def serve(app: ASGIApp, settings: Settings) -> None:
    """Serve any application the way ours is served; the benchmarks compare with an echo."""
    gc.set_threshold(GARBAGE_AFTER)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=Protocol,
        loop="uvloop",
        ws=SocketProtocol,
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,  # costs more than making the message
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=7,
        access_log=False,
        proxy_headers=False,  # nothing asks for the client's address
        server_header=False,
        headers=SAFE,
        log_config=None,
    )


if __name__ == "__main__":
    try:
        main(Settings.from_env())
    except SettingsError as error:
        sys.exit(f"runstone server: {error}")
