"""The express way: a small request whose head came before, byte for byte, goes straight to its compiled document.

A training that logs keeps a connection open and sends the same head with each step. The parser, the guard and the
layers behind them took that head for a plain request to /graphql once; they need not be asked again. Whatever is
unusual goes the ordinary way, which answers the same: a head that is new, a body that is large or packed, a document
that is not compiled, a token that was not asked for lately.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from api.auth import caller_key
from api.guard import Rules
from api.http import Answer
from db.memory import Memory

HEADS_KEPT: Final = 10_000
HEAD_BYTES_MAX: Final = 2_048
BODY_BYTES_MAX: Final = 64 * 1024  # a larger one costs more than its head
END: Final = b"\r\n\r\n"
AUTHORIZATION: Final = re.compile(rb"\r\nauthorization: *([^\r]*)\r\n", re.IGNORECASE)
ORDINARY: Final = {  # headers that change nothing about how a request is read, and the values they must have, if any
    b"host": None,
    b"authorization": None,
    b"content-length": None,
    b"user-agent": None,
    b"accept": None,
    b"accept-encoding": None,
    b"content-type": b"application/json",
    b"connection": b"keep-alive",
}

Headers = Sequence[tuple[bytes, bytes]]
# From the caller's key, the Authorization header and the body of a request to what answers it; None when it must go the
# ordinary way.
Plain = Callable[[bytes, str, bytes], Awaitable[Answer] | None]
STATUS: Final = {status.value: b"%d %b" % (status, status.phrase.encode()) for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a head: who asks, where its Authorization stands, where it ends, and where its body does."""

    caller: bytes
    authorization: slice
    end: int
    body_end: int


class Express:
    """The heads that are known, none of which is kept itself: they hold tokens."""

    def __init__(self, rules: Rules, plain: Plain) -> None:
        self._rules = rules
        self._plain = plain
        self._heads: Memory[bytes, Head] = Memory(HEADS_KEPT)
        self._default_headers: Headers | None = None
        self._lines = b""

    def head(self, data: bytes) -> Head | None:
        """The head that `data` begins with; None when it is not known."""
        return self._heads.get(_digest(data[: data.find(END, 0, HEAD_BYTES_MAX) + len(END)]))

    def answering(self, head: Head, data: bytes) -> Awaitable[Answer] | None:
        """What answers the request that `data` is, when nothing about it is unusual."""
        return self._plain(head.caller, data[head.authorization].decode("latin-1"), data[head.end :])

    def learn(self, data: bytes, method: bytes, target: bytes, headers: Headers) -> None:
        """Know the head that `data` begins with, and that the parser read as this, when it is a plain one."""
        end = data.find(END, 0, HEAD_BYTES_MAX) + len(END)
        found = dict(headers)
        length = found.get(b"content-length", b"")
        authorization = AUTHORIZATION.search(data, 0, end)
        if (
            (method, target) == (b"POST", b"/graphql")
            and len(found) == len(headers)
            and data.count(b"\n", 0, end) == data.count(b"\r\n", 0, end) == len(headers) + 2
            and all(name in ORDINARY and ORDINARY[name] in (None, value) for name, value in headers)
            and b"content-type" in found
            and length.isdigit()
            and int(length) <= BODY_BYTES_MAX
            and authorization is not None
            and authorization[1] == found[b"authorization"]
            and self._rules.refusal(headers) is None
        ):
            caller = caller_key(authorization[1].decode("latin-1"))
            known = Head(caller, slice(*authorization.span(1)), end, end + int(length))
            self._heads.put(_digest(data[:end]), known)

    def packet(self, answer: Answer, default_headers: Headers) -> bytes:
        """The answer as it is sent; `default_headers` is a new list whenever they change."""
        if default_headers is not self._default_headers:
            self._default_headers = default_headers
            self._lines = _lines(default_headers)
        return b"HTTP/1.1 %b\r\n%b%b\r\n%b" % (
            STATUS[answer.status], self._lines, answer.lines(), answer.body,
        )  # fmt: skip


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _digest(head: bytes) -> bytes:
    return sha256(head).digest()
