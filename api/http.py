"""GraphQL over HTTP: from a request body to an answer, whatever the body holds.

Follows the GraphQL over HTTP draft specification: POST of a JSON object with `query`, `variables` and
`operationName`; status 200 when the operation ran, 4xx when it could not.
"""

import asyncio
import json
import logging
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Any, Final

import orjson
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.execution import ExecutionResult
from graphql.execution import execute as execute_document
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api import errors
from api.auth import authenticated
from api.context import Context, Deps
from db.errors import Code, RunstoneError, Unauthenticated
from db.errors import known as known_failure

log = logging.getLogger(__name__)

QUERY_BYTES_MAX: Final = 256 * 1024
TOKENS_MAX: Final = 10_000
DOCUMENTS_KEPT: Final = 500
DISCARDED_TIMES: Final = 8  # a body so many times too large is cut off unread
BODY_GRACE_S: Final = 10.0  # a body may take this long,
BODY_BYTES_PER_S: Final = 2_048  # and a second more for each so many bytes: a slow line is fine, a stalled one is not

STATUS: Final = {
    Code.BAD_REQUEST: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.TIMEOUT: 408,
    Code.UNAVAILABLE: 503,
}


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


class GraphQLEndpoint:
    """Answers POST /graphql."""

    def __init__(self, deps: Deps, schema: GraphQLSchema) -> None:
        self._deps = deps
        self._schema = schema
        self._rules = specified_rules
        if not deps.settings.introspection:
            self._rules += (NoSchemaIntrospectionCustomRule,)
        self._documents: OrderedDict[str, DocumentNode] = OrderedDict()

    async def __call__(self, request: Request) -> Response:
        """The answer as JSON; a failure of any kind is an entry of `errors` with a code."""
        request_id = secrets.token_hex(8)
        try:
            scope = await authenticated(self._deps.pool, request.headers.get("authorization"))
            asked = _asked(await _body(request, self._deps.settings.request_body_bytes_max))
            context = Context(deps=self._deps, scope=scope, request_id=request_id)
            return _respond(200, await self._answer(context, asked), request_id)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            failure = known_failure(error)
            if failure is None:
                log.exception("request %s failed", request_id)
                return _respond(500, {"errors": [errors.internal(request_id)]}, request_id)
            return _refuse(failure, request_id)

    async def _answer(self, context: Context, asked: dict[str, Any]) -> dict[str, Any]:
        document, found = self._document(asked["query"])
        if document is None:
            return {"errors": errors.shown(found, context.request_id)}
        operation = get_operation_ast(document, asked["operationName"])
        if operation is None:
            raise BadRequest(
                "there is no single operation to run", path="operationName", hint="name one of the document"
            )
        if operation.operation is OperationType.SUBSCRIPTION:
            raise BadRequest("a subscription cannot be answered over HTTP", path="query")
        running = execute_document(
            self._schema,
            document,
            context_value=context,
            variable_values=asked["variables"],
            operation_name=asked["operationName"],
            max_coercion_errors=errors.MESSAGES_MAX,
            hide_suggestions=not self._deps.settings.introspection,
        )
        result = await running if isinstance(running, Awaitable) else running
        assert isinstance(result, ExecutionResult)
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = errors.shown(result.errors, context.request_id)
        return answer

    def _document(self, text: str) -> tuple[DocumentNode | None, list[GraphQLError]]:
        """The parsed and valid document, kept by its text; or what is wrong with it."""
        known = self._documents.get(text)
        if known is not None:
            self._documents.move_to_end(text)
            return known, []
        try:
            document = parse(text, max_lexical_tokens=TOKENS_MAX, allow_empty_selection_sets=False)
        except GraphQLSyntaxError as error:
            return None, [GraphQLError(error.message, error.nodes, error.source, error.positions, extensions=BAD)]
        except RecursionError:
            return None, [GraphQLError("the document is nested too deep", extensions={"code": Code.QUERY_TOO_COMPLEX})]
        found = validate(self._schema, document, self._rules, max_errors=errors.MESSAGES_MAX)
        if found:
            return None, found
        self._documents[text] = document
        if len(self._documents) > DOCUMENTS_KEPT:
            self._documents.popitem(last=False)
        return document, []


BAD: Final = {"code": Code.BAD_REQUEST}


async def _body(request: Request, bytes_max: int) -> bytes:
    """The body, unpacked. Raises `UnsupportedMediaType`, `PayloadTooLarge`, `TooSlow`, `BadRequest`."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json" or "charset" in parameters.lower().replace("charset=utf-8", ""):
        raise UnsupportedMediaType("the body must be JSON", hint="send Content-Type: application/json in UTF-8")
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    if packing not in {"identity", "gzip"}:
        raise UnsupportedMediaType(f"the body has the encoding {packing!r}", hint="send it plain or as gzip")
    packed = await _received(request, bytes_max)
    return packed if packing == "identity" else _unpacked(packed, bytes_max)


async def _received(request: Request, bytes_max: int) -> bytes:
    """The body as sent. What is too large is read on for a while, so that the client gets to read the refusal."""
    body = bytearray()
    started, received_bytes = time.monotonic(), 0
    chunks = aiter(request.stream())
    while received_bytes <= bytes_max * DISCARDED_TIMES:
        left_s = started + BODY_GRACE_S + received_bytes / BODY_BYTES_PER_S - time.monotonic()
        try:
            chunk = await asyncio.wait_for(anext(chunks, None), max(left_s, 0))
        except TimeoutError as error:
            raise TooSlow("the body did not arrive in time", limit=f"{BODY_BYTES_PER_S} bytes per second") from error
        if chunk is None:
            break
        received_bytes += len(chunk)
        if received_bytes <= bytes_max:
            body += chunk
    if received_bytes > bytes_max:
        raise _too_large(bytes_max)
    return bytes(body)


def _unpacked(packed: bytes, bytes_max: int) -> bytes:
    unpack = zlib.decompressobj(wbits=31)
    try:
        body = unpack.decompress(packed, bytes_max + 1)
    except zlib.error as error:
        raise BadRequest("the body is not gzip", hint="send it plain, or whole") from error
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    if not unpack.eof:
        raise BadRequest("the gzip body ends too early")
    return body


def _too_large(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge("the body is too large", limit=f"{bytes_max} bytes", hint="send several smaller requests")


def _asked(body: bytes) -> dict[str, Any]:
    """`query`, `variables` and `operationName` of the body. Raises `BadRequest`."""
    asked = _parsed(body)
    if isinstance(asked, list):
        raise BadRequest("a list of operations is not taken", hint="send one operation per request")
    if not isinstance(asked, dict):
        raise BadRequest("the body must be a JSON object", hint='such as {"query": "{ viewer { name } }"}')
    query, variables, name = asked.get("query"), asked.get("variables"), asked.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("query must be the text of a document", path="query")
    if len(query) > QUERY_BYTES_MAX:
        raise PayloadTooLarge("the document is too long", path="query", limit=f"{QUERY_BYTES_MAX} characters")
    if not isinstance(variables, dict | None):
        raise BadRequest("variables must be an object", path="variables")
    if not isinstance(name, str | None):
        raise BadRequest("operationName must be text", path="operationName")
    return {"query": query, "variables": variables, "operationName": name}


def _parsed(body: bytes) -> Any:
    """The JSON value of the body, strictly: no NaN, no key twice. Raises `BadRequest`."""
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


def _refuse(failure: RunstoneError, request_id: str) -> Response:
    status = 415 if isinstance(failure, UnsupportedMediaType) else STATUS.get(failure.code, 400)
    response = _respond(status, {"errors": [errors.to_answer(failure, request_id)]}, request_id)
    if isinstance(failure, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    if failure.retryable:
        response.headers["Retry-After"] = "1"
    if isinstance(failure, PayloadTooLarge | TooSlow):
        response.headers["Connection"] = "close"
    return response


def _respond(status: int, answer: dict[str, Any], request_id: str) -> Response:
    try:
        body = orjson.dumps(answer)
    except TypeError:  # a message that quotes half of a surrogate pair, which only escaped JSON can hold
        body = json.dumps(answer).encode()
    headers = {"X-Request-Id": request_id, "Cache-Control": "no-store"}
    return Response(body, status, headers, "application/json")
