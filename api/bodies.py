"""Bodies: from the bytes of a request to what it asks, whatever they hold.

Follows the GraphQL over HTTP draft specification: a JSON object with `query`, `variables` and `operationName`.
"""

import asyncio
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.types import Receive

from db.errors import Code, RunstoneError

DISCARDED_TIMES: Final = 8  # a body so many times too large is cut off unread
BODY_GRACE_S: Final = 10.0  # a body may take this long,
BODY_BYTES_PER_S: Final = 2_048  # and a second more for each so many bytes: a slow line is fine, a stalled one is not
UTF_8: Final = frozenset({"charset=utf-8", 'charset="utf-8"'})


class BadRequest(RunstoneError):
    """The body is not a GraphQL request."""

    code = Code.BAD_REQUEST


class UnsupportedMediaType(BadRequest):
    """The body is in another format than JSON."""


class PayloadTooLarge(RunstoneError):
    """The body is larger than the server takes."""

    code = Code.PAYLOAD_TOO_LARGE


class TooSlow(RunstoneError):
    """The body did not arrive in time."""

    code = Code.TIMEOUT
    retryable = True


class Disconnected(Exception):
    """The client went away before it had sent all."""


@dataclass(slots=True)  # not frozen, which would take three times as long: there is one for each step of a training
class Asked:
    """A GraphQL request."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None


async def read(headers: dict[bytes, bytes], receive: Receive, bytes_max: int, take: Callable[[int], None]) -> bytes:
    """The body, unpacked; `take` is told of each part's size before it is kept.

    Raises `UnsupportedMediaType`, `PayloadTooLarge`, `TooSlow`, `BadRequest`, `Disconnected`.
    """
    media_type = headers.get(b"content-type", b"")
    if media_type != b"application/json":
        _require_json(media_type.decode("latin-1"))
    packing = headers.get(b"content-encoding", b"identity").strip().lower()
    if packing not in {b"identity", b"gzip"}:
        raise UnsupportedMediaType(
            f"the body has the encoding {packing.decode('latin-1')!r}", hint="send it plain or as gzip"
        )
    packed = await _received(receive, bytes_max, take)
    if packing == b"identity":
        return packed
    body = _unpacked(packed, bytes_max)
    take(max(0, len(body) - len(packed)))
    return body


def _require_json(header: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in header.split(";"))
    charsets = [parameter for parameter in parameters if parameter.startswith("charset")]
    if media_type != "application/json" or not UTF_8.issuperset(charsets):
        raise UnsupportedMediaType("the body must be JSON", hint="send Content-Type: application/json in UTF-8")


async def _received(receive: Receive, bytes_max: int, take: Callable[[int], None]) -> bytes:
    """The body as sent. What is too large is read on for a while, so that the client gets to read the refusal."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    body, received_bytes, more = b"", 0, True
    try:
        async with asyncio.timeout(BODY_GRACE_S) as limit:
            while more and received_bytes <= bytes_max * DISCARDED_TIMES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                part, more = message.get("body", b""), message.get("more_body", False)
                received_bytes += len(part)
                if received_bytes <= bytes_max:
                    take(len(part))
                    body = body + part if body else part
                if more:
                    limit.reschedule(started + BODY_GRACE_S + received_bytes / BODY_BYTES_PER_S)
    except TimeoutError as error:
        raise TooSlow("the body did not arrive in time", limit=f"{BODY_BYTES_PER_S} bytes per second") from error
    if received_bytes > bytes_max:
        raise _too_large(bytes_max)
    return body


def _unpacked(packed: bytes, bytes_max: int) -> bytes:
    unpack = zlib.decompressobj(wbits=31)
    try:
        body = unpack.decompress(packed, bytes_max + 1)
    except zlib.error as error:
        raise BadRequest("the body is not gzip", hint="send it plain, or whole") from error
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    if not unpack.eof:
        raise BadRequest("the gzip body ends too early", hint="send it whole")
    if unpack.unused_data:
        raise BadRequest("the gzip body has more behind its end", hint="send it as one member, and nothing else")
    return body


def _too_large(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge("the body is too large", limit=f"{bytes_max} bytes", hint="send several smaller requests")


def asked(body: bytes) -> Asked:
    """What the body asks. Raises `BadRequest`."""
    value = _parsed(body)
    if isinstance(value, list):
        raise BadRequest("a list of operations is not taken", hint="send one operation per request")
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object", hint='such as {"query": "{ viewer { name } }"}')
    query, variables, name = value.get("query"), value.get("variables"), value.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("query must be the text of a document", path="query")
    if not isinstance(variables, dict | None):
        raise BadRequest("variables must be an object", path="variables")
    if not isinstance(name, str | None):
        raise BadRequest("operationName must be text", path="operationName")
    return Asked(query, variables, name)


def _parsed(body: bytes) -> Any:
    """The JSON value of the body, strictly: no NaN, no key twice, whole numbers whole. Raises `BadRequest`.

    A body that comes out as it went in has nothing that only the strict parser sees, and most do, but for spaces.
    """
    try:
        value = orjson.loads(body)
        again = orjson.dumps(value)
        if again == body or _without_spaces(again) == _without_spaces(body):
            return value
    except (orjson.JSONDecodeError, RecursionError, TypeError):
        pass  # the strict parser says why
    return _strictly_parsed(body)


def _without_spaces(body: bytes) -> bytes:
    """The body without the spaces that Python's own JSON has; what is taken from texts is taken on both sides."""
    return body.replace(b", ", b",").replace(b": ", b":")


def _strictly_parsed(body: bytes) -> Any:
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not UTF-8") from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deep") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:
        raise BadRequest("the body holds a number with too many digits") from error
    return value


def _refuse_constant(name: str) -> Any:
    raise BadRequest(f"{name} is not JSON", hint=f'send it as text: "{name}"')


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadRequest(f"the body has the key {twice[:100]!r} twice in one object", hint="send each key once")
    return found
