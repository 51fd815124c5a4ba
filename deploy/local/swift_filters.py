"""What stands around Swift's WSGI applications in `deploy.local.swift_server`."""

import hmac
import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

TOKEN_HEADER = "X-Runstone-Token"
ENTRIES_MAX = 10_000
HEADER = "HTTP_"  # begins the name of a variable that holds one
# What HTTP itself needs of a request, besides what S3 knows: x-amz-...
OF_HTTP = frozenset({
    "accept", "accept-encoding", "access-control-request-headers", "access-control-request-method",
    "authorization", "connection", "content-length", "content-md5", "content-type", "date", "expect", "host",
    "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "range",
    "transfer-encoding", "user-agent",
})  # fmt: skip
EXPOSED = "ETag, Content-Length, Content-Range, x-amz-request-id, x-amz-meta-sha256"


def require_token(app: WsgiApp, token: str) -> WsgiApp:
    """Refuse requests that do not come from this process."""
    variable = "HTTP_" + TOKEN_HEADER.upper().replace("-", "_")

    def guarded(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not hmac.compare_digest(environ.get(variable, "").encode(), token.encode()):
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        return app(environ, start_response)

    return guarded


def allow_browsers(app: WsgiApp) -> WsgiApp:
    """Let pages of any origin read every answer, errors too; what they may do is in the signature of the link."""

    def opened(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_ORIGIN" not in environ:
            return app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            kept = [(name, value) for name, value in headers if name.lower() not in replaced]
            return start_response(status, [*kept, *added], *rest)

        added = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", EXPOSED)]
        replaced = {name.lower() for name, _ in added}
        return app(environ, start)

    return opened


def only_signed(app: WsgiApp) -> WsgiApp:
    """Take no other headers from a presigned request than the signed ones and those of HTTP and S3.

    Swift heeds its own as well: whoever may PUT could let the object expire, or have it served with a Content-Encoding.
    """

    def heeding(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        for signed in parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-SignedHeaders", ()):
            allowed = OF_HTTP.union(signed.split(";"))
            for variable in [name for name in environ if name.startswith(HEADER)]:
                name = variable.removeprefix(HEADER).replace("_", "-").lower()
                if name not in allowed and not name.startswith("x-amz-"):
                    del environ[variable]
        return app(environ, start_response)

    return heeding


def with_cache(app: WsgiApp, cache: "Cache") -> WsgiApp:
    """Give Swift the cache that it would look for in memcached."""

    def cached(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["swift.cache"] = cache
        return app(environ, start_response)

    return cached


class Cache:
    """The part of memcached that Swift uses, in this process: green threads do not interrupt one another here."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, Any]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        """The value, or None."""
        expires_at, value = self._entries.get(key, (0.0, None))
        return value if time.monotonic() < expires_at else None

    def set(self, key: str, value: Any, serialize: bool = True, time: float = 0, **_: Any) -> None:
        """Keep the value for so many seconds; 0 is for ever."""
        if len(self._entries) >= ENTRIES_MAX:
            self._entries.clear()
        self._entries[key] = (_expiry(time), value)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Add to a counter that never falls below 0."""
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Take from a counter."""
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        """Forget the value."""
        self._entries.pop(key, None)

    def set_multi(self, mapping: dict[str, Any], server_key: str, serialize: bool = True, time: float = 0) -> None:
        """Keep several values."""
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys: Iterable[str], server_key: str) -> list[Any]:
        """The values in the order asked."""
        return [self.get(key) for key in keys]


def _expiry(seconds: float) -> float:
    return time.monotonic() + seconds if seconds else float("inf")


def log_to_stderr(*hook: Any) -> None:
    """Called by Swift for each of its loggers, the last but one argument: replace the system log by our own file."""
    logger: logging.Logger = hook[-2]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logger.handlers = [handler]
