"""GraphQL over HTTP: POST of a JSON body, answered with 200 when the operation ran and 4xx or 503 when it could not."""

import functools
import json
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from graphql import GraphQLSchema, OperationType, get_operation_ast
from graphql.execution import ExecutionResult
from graphql.execution import execute as execute_document
from starlette.types import Receive, Scope, Send

from api import bodies, errors, known
from api.auth import Scopes
from api.bodies import Asked, BadRequest, Disconnected, PayloadTooLarge, TooSlow, UnsupportedMediaType
from api.context import Context, Deps
from api.documents import Document, Documents, Refused
from api.known import ListExecutor, Unusual
from db.errors import Code, RunstoneError, Unauthenticated, Unavailable
from db.errors import known as known_failure

log = logging.getLogger(__name__)

REQUESTS_MAX: Final = 1_000  # answered at the same time by one process;
REQUEST_BYTES_MAX: Final = 128 * 1024 * 1024  # what their bodies hold together
RETRY_AFTER_S: Final = 1

STATUS: Final = {
    Code.BAD_REQUEST: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.TIMEOUT: 408,
    Code.UNAVAILABLE: 503,
}

Headers = list[tuple[bytes, bytes]]


class Load:
    """What a process works on. More is refused at once, so that what was taken is answered in time."""

    def __init__(self, requests_max: int = REQUESTS_MAX, bytes_max: int = REQUEST_BYTES_MAX) -> None:
        self.requests_left = requests_max
        self.bytes_left = bytes_max


class Taken:
    """One request of the load, and the bytes of its body, until it is given back."""

    __slots__ = ("_load", "_size_bytes")

    def __init__(self, load: Load) -> None:
        """Raises `Unavailable`."""
        if load.requests_left <= 0:
            raise _overloaded()
        load.requests_left -= 1
        self._load = load
        self._size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count more bytes. Raises `Unavailable`."""
        if size_bytes > self._load.bytes_left:
            raise _overloaded()
        self._load.bytes_left -= size_bytes
        self._size_bytes += size_bytes

    def give_back(self) -> None:
        """The request is answered."""
        self._load.requests_left += 1
        self._load.bytes_left += self._size_bytes


def _overloaded() -> Unavailable:
    return Unavailable("the server has too much to do now; nothing was stored", hint="send the same request again")


class GraphQLEndpoint:
    """The ASGI application behind /graphql."""

    def __init__(self, deps: Deps, schema: GraphQLSchema, documents: Documents) -> None:
        self._deps = deps
        self._schema = schema
        self._documents = documents
        self._scopes = Scopes(deps.pool)
        self._load = Load()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as JSON; a failure of any kind is an entry of `errors` with a code."""
        request_id = os.urandom(8).hex()
        try:
            taken = Taken(self._load)
            try:
                answer = await self._answer(dict(scope["headers"]), receive, taken.take, request_id)
            finally:
                taken.give_back()
            await _respond(send, 200, answer, request_id)
        except Disconnected:
            return
        except Exception as error:
            failure = known_failure(error)
            if failure is None:
                log.exception("request %s failed", request_id)
                await _respond(send, 500, {"errors": [errors.internal(request_id)]}, request_id)
            else:
                await _refuse(send, failure, request_id)

    async def _answer(
        self, headers: dict[bytes, bytes], receive: Receive, take: Callable[[int], None], request_id: str
    ) -> dict[str, Any]:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        recent = self._scopes.recent(authorization)
        viewer = recent or await self._scopes.current(authorization)
        asked = bodies.asked(
            await bodies.read(headers, receive, self._deps.settings.request_body_bytes_max, take),
        )
        context = Context(self._deps, viewer, request_id)
        try:
            document = self._documents.find(asked.query)
        except Refused as refused:
            return {"errors": errors.shown(refused.errors, request_id)}
        refresh = functools.partial(self._refresh, authorization, recent is not None)
        if document.known is not None and asked.operation_name in (None, document.known.name):
            try:
                bound = document.known.bound(asked.variables)
            except Unusual:
                pass  # the ordinary way says what is wrong
            else:
                data, found = await known.run(bound, context, refresh)
                return _answer(data, found, request_id)
        await refresh(context)
        context.lists = document.lists
        return await self._executed(context, document, asked)

    async def _refresh(self, authorization: str, is_recent: bool, context: Context) -> bool:
        """Whether the viewer may do other things now than the context knew. Raises `Unauthenticated`."""
        if not is_recent:
            return False
        current = await self._scopes.current(authorization)
        if current == context.scope:
            return False
        context.become(current)
        return True

    async def _executed(self, context: Context, document: Document, asked: Asked) -> dict[str, Any]:
        operation = get_operation_ast(document.node, asked.operation_name)
        if operation is None:
            raise BadRequest(
                "there is no single operation to run", path="operationName", hint="name one of the document"
            )
        if operation.operation is OperationType.SUBSCRIPTION:
            raise BadRequest("a subscription cannot be answered over HTTP", path="query")
        running = execute_document(
            self._schema,
            document.node,
            context_value=context,
            variable_values=asked.variables,
            operation_name=asked.operation_name,
            max_coercion_errors=errors.MESSAGES_MAX,
            hide_suggestions=not self._deps.settings.introspection,
            executor_class=ListExecutor,
        )
        result = await running if isinstance(running, Awaitable) else running
        assert isinstance(result, ExecutionResult)
        return _answer(result.data, result.errors or [], context.request_id)


def _answer(data: dict[str, Any] | None, found: list[Any], request_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"data": data}
    if found:
        answer["errors"] = errors.shown(found, request_id)
    return answer


async def _refuse(send: Send, failure: RunstoneError, request_id: str) -> None:
    status = 415 if isinstance(failure, UnsupportedMediaType) else STATUS.get(failure.code, 400)
    headers: Headers = []
    if isinstance(failure, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if failure.retryable:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    if isinstance(failure, PayloadTooLarge | TooSlow):
        headers.append((b"connection", b"close"))
    await _respond(send, status, {"errors": [errors.to_answer(failure, request_id)]}, request_id, headers)


async def _respond(
    send: Send, status: int, answer: dict[str, Any], request_id: str, headers: Headers | None = None
) -> None:
    try:
        body = orjson.dumps(answer)
    except TypeError:  # a message that quotes half of a surrogate pair, which only escaped JSON can hold
        body = json.dumps(answer).encode()
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
        *(headers or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
