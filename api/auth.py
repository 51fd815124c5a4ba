"""Who asks: from the Authorization header to a scope; and mutations, whose failures are part of their result."""

import functools
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, ParamSpec, TypeVar

import strawberry

from api.context import Context, Info
from api.errors import to_user_error
from db import access, errors
from db.access import Scope
from db.errors import Unauthenticated
from db.pool import Conn

P = ParamSpec("P")
R = TypeVar("R")

TOKEN = re.compile(r"rs_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
NOBODY = bytes(32)

RECENT_S: Final = 5.0  # so long may a revoked token or role go on logging
RECENT_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Behind:
    """What answers the mutation `field` and the one right behind it in a request, done in one step.

    It takes the arguments of both. It answers both, or only the first, or none when anything is unusual and nothing was
    done; what it does not answer is asked by itself.
    """

    field: str
    answer: Callable[[Context, dict[str, Any], dict[str, Any]], Awaitable[Sequence[Any]]]


class Scopes:
    """The scopes of the tokens that are sent. Those asked for lately are kept, for who logs asks all the time."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self._recent: dict[bytes, tuple[float, Scope]] = {}

    def recent(self, caller: bytes) -> Scope | None:
        """What the header of this `caller_key` stood for in the last seconds; None when it was not asked for."""
        until, scope = self._recent.get(caller, (0.0, None))
        return scope if time.monotonic() < until else None

    async def current(self, header: str | None) -> Scope:
        """What the header stands for now. Raises `Unauthenticated`."""
        key = caller_key(header)
        self._recent.pop(key, None)
        scope = await authenticated(self._conn, header)
        if len(self._recent) >= RECENT_MAX:
            self._recent.clear()
        self._recent[key] = (time.monotonic() + RECENT_S, scope)
        return scope


def caller_key(header: str | None) -> bytes:
    """What recognises an Authorization header; tokens themselves are not kept."""
    return sha256((header or "").encode("utf-8", "surrogateescape")).digest()


async def authenticated(conn: Conn, header: str | None) -> Scope:
    """The scope of the token in `Authorization: Bearer rs_...`. Raises `Unauthenticated`."""
    scheme, _, credentials = (header or "").partition(" ")
    token = TOKEN.fullmatch(credentials.strip())
    if scheme.lower() != "bearer" or token is None:
        raise Unauthenticated(
            "no token was sent" if not header else "the Authorization header holds no Runstone token",
            hint="send the header Authorization: Bearer rs_...",
        )
    found = await access.find_token(conn, token[1])
    expected = found.secret_sha256 if found else NOBODY
    if not hmac.compare_digest(sha256(token[2].encode()).digest(), expected) or found is None:
        raise Unauthenticated("the token is unknown, expired or revoked", hint="ask for a new one")
    if not found.is_noted:
        await access.note_use(conn, token[1])
    return found.scope


def token_id(header: str | None) -> str:
    """The public part of the token in the header; empty when there is none."""
    token = TOKEN.search(header or "")
    return token[1] if token else ""


def mutation(
    description: str, *, is_event: bool = True, behind: Behind | None = None
) -> Callable[[Callable[P, Awaitable[R]]], Any]:
    """A mutation field. A failure that its resolver lets rise becomes a member of its result union.

    Unless it `is_event` not, those who are subscribed to run events look when it has answered. `behind` another field
    it may be answered together with that one.
    """

    def decorate(resolver: Callable[P, Awaitable[R]]) -> Any:
        @functools.wraps(resolver)
        async def resolve(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return await resolver(*args, **kwargs)
            except Exception as error:
                failure = errors.known(error)
                if failure is None:
                    raise
                # Without where it was raised, which holds the request and refers to the failure.
                return to_user_error(failure.with_traceback(None), _context(kwargs).request_id)
            finally:
                if is_event:
                    _context(kwargs).deps.live.hub.changed()

        return strawberry.mutation(resolver=resolve, description=description, metadata={Behind: behind})

    return decorate


def _context(arguments: dict[str, Any]) -> Context:
    info = arguments["info"]
    assert isinstance(info, Info)
    return info.context
