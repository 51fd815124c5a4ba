"""What every request passes before a route sees it: its host and its headers. And what every answer carries."""

import functools
import ipaddress
from collections.abc import Sequence
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from settings import LOOPBACK, Settings

HEADERS_MAX: Final = 100
HEADER_BYTES_MAX: Final = 32 * 1024
HOSTS_KEPT: Final = 100
ONCE: Final = (
    b"authorization",
    b"content-type",
    b"content-encoding",
)  # two mean one thing to us and perhaps another to a proxy

SAFE: Final = [  # the server adds them to each answer
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
]


class Guard:
    """Refuses what breaks the rules, before a route sees it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._rules = Rules(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 or 431."""
        is_request = scope["type"] in {"http", "websocket"}
        refusal = self._rules.refusal(scope["headers"]) if is_request else None
        await (refusal or self._app)(scope, receive, send)


class Rules:
    """A Host that is ours, since others come from pages that rebound their name; headers not too many, nor twice."""

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.url).hostname
        self._names = {*LOOPBACK, *settings.allowed_hosts, *([public] if public else [])}
        self._any_address = not settings.is_loopback
        self._serves = functools.lru_cache(HOSTS_KEPT)(self._is_served)

    def refusal(self, headers: Sequence[tuple[bytes, bytes]]) -> Response | None:
        """What a request with these headers is answered; None when it may pass."""
        if len(headers) > HEADERS_MAX or sum(map(len, chain.from_iterable(headers))) > HEADER_BYTES_MAX:
            limit = f"at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes in all"
            return PlainTextResponse(limit, 431, {"Connection": "close"})
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._serves(hosts[0].decode("latin-1")):
            text = "this server does not answer to that Host; set RUNSTONE_PUBLIC_URL or RUNSTONE_ALLOWED_HOSTS"
            return PlainTextResponse(text, 400)
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in ONCE):
            return PlainTextResponse("Authorization, Content-Type and Content-Encoding may come once each", 400)
        return None

    def _is_served(self, host: str) -> bool:
        """Whether a Host header names this server: a known name, or an address when we listen on the network."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if not name or parts.path or parts.query or parts.fragment or parts.username is not None:
            return False
        return name in self._names or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
