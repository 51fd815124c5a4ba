"""What every request passes before a route sees it: its host and its headers. And what every answer carries."""

import functools
import ipaddress
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from settings import LOOPBACK, Settings

HEADERS_MAX: Final = 100
HEADER_BYTES_MAX: Final = 32 * 1024
HOSTS_KEPT: Final = 100

SAFE: Final = [  # the server adds them to each answer
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
]


class Guard:
    """Refuses a foreign Host (DNS rebinding) and too many headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        public = urlsplit(settings.url).hostname
        self._names = {*LOOPBACK, *settings.allowed_hosts, *([public] if public else [])}
        self._any_address = not settings.is_loopback
        self._serves = functools.lru_cache(HOSTS_KEPT)(self._is_served)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 or 431."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        if len(headers) > HEADERS_MAX or sum(map(len, chain.from_iterable(headers))) > HEADER_BYTES_MAX:
            limit = f"at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes in all"
            await PlainTextResponse(limit, 431, {"Connection": "close"})(scope, receive, send)
            return
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._serves(hosts[0].decode("latin-1")):
            text = "this server does not answer to that Host; set RUNSTONE_PUBLIC_URL or RUNSTONE_ALLOWED_HOSTS"
            await PlainTextResponse(text, 400)(scope, receive, send)
            return
        await self._app(scope, receive, send)

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
