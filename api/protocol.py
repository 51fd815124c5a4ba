"""HTTP/1.1 as uvicorn speaks it, with ends to waiting, one packet an answer, and an express way for known requests."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.express import Express
from api.http import Answer

REQUEST_HEAD_TIMEOUT_S: Final = 10.0
LAST_CALL_S: Final = 1.0
REST_S: Final = 1.0  # that the body of an express request may take
UNREAD_BYTES_MAX: Final = 128 * 1024  # of a head that does not end, or of what is between the parts of a body
ENDLESS: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"the head of the request is larger than %d bytes" % UNREAD_BYTES_MAX
)
BODIES: Final = frozenset({b"content-length", b"transfer-encoding"})  # the headers that announce one


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
    """Closes a connection whose request line and headers do not arrive in time, or do not end; takes only targets that
    are paths, and upgrades only to WebSocket.

    What comes while no request is open, and is one that `Express` knows, goes the express way; nothing else is then
    read from the connection until it is answered.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _is_between = True  # requests: the next byte begins one
    _unread_bytes = 0  # that came since a head or a part of a body was whole
    _opening = b""  # what came first of the request that is being parsed
    _part = b""  # of an express request
    _rest_timer: asyncio.TimerHandle | None = None
    _running: asyncio.Task[None] | None = None  # answers an express request
    _later = b""  # what came while it runs
    _is_last = False  # close when it is answered
    _answered_s = 0.0  # when the last one was, by the loop's clock

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio says BaseTransport
        super().connection_made(transport)
        self._express: Express | None = self.app_state.get("express")
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._running is not None:
            self._later += data
            self.flow.pause_reading()
            return
        data = self._whole(data)
        if not self._is_express(data):
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Parse; what does not get whole is refused: the parser keeps it, in time that grows with its square."""
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes <= UNREAD_BYTES_MAX or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(ENDLESS)
        self.transport.close()

    def _is_express(self, data: bytes) -> bool:
        """Whether `data` is a request that goes the express way, or the beginning of one."""
        is_open = self.cycle is not None and not self.cycle.response_complete
        if self._express is None or is_open or not self._is_between:
            return False
        head = self._express.head(data)
        if head is not None and len(data) < head.body_end:
            self._expect_rest(data)
            return True
        if head is not None and len(data) == head.body_end:
            answering = self._express.answering(head, data)
            if answering is not None:
                self._take(answering)
                return True
        self._opening = data
        return False

    def _take(self, answering: Awaitable[Answer]) -> None:
        self._forget_head()
        self._running = self.loop.create_task(self._answer(answering))
        self.tasks.add(self._running)  # the server waits for them when it ends

    async def _answer(self, answering: Awaitable[Answer]) -> None:
        """Send the answer, and go on with what came in the meantime."""
        running = self._running
        assert running is not None
        assert self._express is not None
        try:
            answer = await answering
        finally:
            self.tasks.discard(running)
            self._running = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.transport.write(self._express.packet(answer, self.server_state.default_headers))
        if self._is_last:
            self.transport.close()
            return
        self._answered_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive(self.timeout_keep_alive)
        if self._later:
            data, self._later = self._later, b""
            self.flow.resume_reading()
            self.data_received(data)

    def _expect_rest(self, part: bytes) -> None:
        """Keep the part of a request until the rest comes, but not long."""
        self._part = part
        self._rest_timer = self.loop.call_later(REST_S, self._leave_way)

    def _whole(self, data: bytes) -> bytes:
        """The data behind what was kept."""
        if self._rest_timer is None:
            return data
        self._rest_timer.cancel()
        self._rest_timer = None
        data, self._part = self._part + data, b""
        return data

    def _leave_way(self) -> None:
        """The ordinary way has patience with slow lines, and an end to it."""
        self._opening = b""
        self._parse(self._whole(b""))

    def _keep_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """One timer goes on through many express requests; another for each would cost more than their heads."""
        rest_s = self._answered_s + self.timeout_keep_alive - self.loop.time()
        if self._running is not None or rest_s > 0:
            self._keep_alive(max(rest_s, LAST_CALL_S))
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        if self._running is not None:
            self._is_last = True
        else:
            super().shutdown()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_between = False
        if self._head_timer is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        if not self.url and not url.startswith(b"/"):
            raise ValueError("the target is not a path")  # the parser answers 400
        super().on_url(url)

    def _should_upgrade(self) -> bool:
        return self.parser.get_method() == b"GET" and super()._should_upgrade()

    def on_headers_complete(self) -> None:
        self._forget_head()
        self._unread_bytes = 0
        if self.parser.should_upgrade() and any(name in BODIES for name, _ in self.headers):
            raise ValueError("the parser takes the body of an upgrade for another request")  # and answers 400
        super().on_headers_complete()
        if self._opening:
            if self._express is not None and self.parser.get_http_version() == "1.1":
                self._express.learn(self._opening, self.parser.get_method(), self.url, self.headers)
            self._opening = b""
        if self.cycle is not None:
            self.cycle.transport = cast(asyncio.Transport, WholeAnswer(self.transport))
        if not self.parser.should_upgrade():
            self.headers = []  # those behind the body say nothing about the request, least of all who asks

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_between = True
        self._unread_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle is not None and isinstance(self.cycle.transport, WholeAnswer):
            self.cycle.transport.flush()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._whole(b"")
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
