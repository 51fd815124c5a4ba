"""GraphQL over HTTP: POST of a JSON body, answered with 200 when the operation ran and 4xx or 503 when it could not."""

import asyncio
import functools
import gzip
import itertools
import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson
from graphql import GraphQLSchema, OperationType, get_operation_ast
from graphql.execution import ExecutionResult
from graphql.execution import execute as execute_document
from starlette.types import Receive, Scope, Send

from api import bodies, errors, known
from api.auth import Scopes, caller_key, token_id
from api.bodies import Asked, BadRequest, Disconnected, PayloadTooLarge, TooSlow, UnsupportedMediaType
from api.budgets import Bill, CostlyLane, RateLimited
from api.context import Context, Deps
from api.documents import Document, Documents, Refused
from api.known import Bound, ListExecutor
from api.limits import TooComplex
from db.access import Scope as AccessScope
from db.errors import Code, RunstoneError, TimedOut, Unauthenticated, Unavailable
from db.errors import known as known_failure

log = logging.getLogger(__name__)

REQUESTS_MAX: Final = 1_000  # answered at the same time by one process;
REQUEST_BYTES_MAX: Final = 128 * 1024 * 1024  # what their bodies hold together
LIMITED_S: Final = 0.5  # until a spent token is told: it would ask again at once, and even reading that it does costs

STATUS: Final = {
    Code.BAD_REQUEST: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.TIMEOUT: 408,
    Code.RATE_LIMITED: 429,
}

ANSWERED: Final = (
    b"content-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\nx-request-id: %b\r\n%b"
)
PACKED: Final = b"content-encoding: gzip\r\nvary: accept-encoding\r\n"
GZIP_LEVEL: Final = 6
Headers: TypeAlias = list[tuple[bytes, bytes]]
NUMBERS: Final = itertools.count(int.from_bytes(os.urandom(8)))


@dataclass(slots=True)
class Answer:
    """The answer of a request, before it is sent."""

    status: int
    request_id: str
    body: bytes
    more: bytes = b""

    def lines(self) -> bytes:
        """Its headers, besides those that the server adds to each answer."""
        return ANSWERED % (len(self.body), self.request_id.encode(), self.more)

    def headers(self) -> Headers:
        """The same one by one."""
        return [(name, value) for name, _, value in (line.partition(b": ") for line in self.lines().splitlines())]


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
        self._costly = CostlyLane()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as JSON; a failure of any kind is an entry of `errors` with a code."""
        request_id = _new_request_id()
        try:
            taken = Taken(self._load)
            try:
                answer = await self._answer(dict(scope["headers"]), receive, taken.take, request_id)
            except Refused as refused:
                answer = {"errors": errors.shown(refused.errors, request_id)}
            except (TooComplex, TimedOut) as failure:
                answer = {"errors": [errors.to_answer(failure, request_id)]}
            finally:
                taken.give_back()
            answered = Answer(200, request_id, _dumped(answer))
            if "__schema" in (answer.get("data") or ()) and _takes_gzip(scope):
                answered = await _packed(answered)
        except Disconnected:
            return
        except RateLimited as limited:
            await asyncio.sleep(LIMITED_S)
            answered = _failed(limited, request_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            answered = _failed(error, request_id)
        await send({"type": "http.response.start", "status": answered.status, "headers": answered.headers()})
        await send({"type": "http.response.body", "body": answered.body})

    def plain(self, caller: bytes, authorization: str, body: bytes) -> Awaitable[Answer] | None:
        """What answers a compiled document of a token that was asked for lately.

        None when anything is unusual: nothing was done, and the ordinary way finds out what it is.
        """
        scope = self._scopes.recent(caller)
        if scope is None:
            return None
        try:
            asked = bodies.asked(body)
            document = self._documents.kept(asked.query)
            bound = document.bound(asked.operation_name, asked.variables) if document else None
            if bound is None:
                return None
            taken = Taken(self._load)
            taken.take(len(body))
        except (RunstoneError, Refused):
            return None
        return self._plainly(authorization, scope, bound, taken)

    async def _plainly(self, authorization: str, viewer: AccessScope, bound: Bound, taken: Taken) -> Answer:
        request_id = _new_request_id()
        context = Context(self._deps, viewer, request_id)
        try:
            data, found = await known.run(bound, context, lambda: self._refresh(authorization, context))
            return Answer(200, request_id, _dumped(_answer(data, found, request_id)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            return _failed(error, request_id)
        finally:
            taken.give_back()

    async def _answer(
        self, headers: dict[bytes, bytes], receive: Receive, take: Callable[[int], None], request_id: str
    ) -> dict[str, Any]:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        recent = self._scopes.recent(caller_key(authorization))
        viewer = recent or await self._scopes.current(authorization)
        asked = bodies.asked(
            await bodies.read(headers, receive, self._deps.settings.request_body_bytes_max, take),
        )
        context = Context(self._deps, viewer, request_id)
        token = token_id(authorization)
        document = await self._documents.find(asked.query, functools.partial(self._deps.budgets.read, token))

        async def refresh() -> bool:
            return recent is not None and await self._refresh(authorization, context)

        bound = document.bound(asked.operation_name, asked.variables)
        if bound is not None:
            data, found = await known.run(bound, context, refresh)
            return _answer(data, found, request_id)
        await refresh()
        context.lists = document.lists
        return await self._executed(context, document, asked, token)

    async def _refresh(self, authorization: str, context: Context) -> bool:
        """Whether the viewer may do other things now than the context knew. Raises `Unauthenticated`."""
        current = await self._scopes.current(authorization)
        if current == context.scope:
            return False
        context.become(current)
        return True

    async def _executed(self, context: Context, document: Document, asked: Asked, token: str) -> dict[str, Any]:
        operation = get_operation_ast(document.node, asked.operation_name)
        if operation is None:
            raise BadRequest(
                "there is no single operation to run", path="operationName", hint="name one of the document"
            )
        if operation.operation is OperationType.SUBSCRIPTION:
            raise BadRequest("a subscription cannot be answered over HTTP", path="query")
        cost = document.cost(operation)
        if cost.is_free:
            return await self._run(context, document, asked)
        bill = self._deps.budgets.bill(token, cost, asked.variables)
        if operation.operation is OperationType.MUTATION:
            return await self._run(context, document, asked)
        return await self._read(context, document, asked, bill)

    async def _read(self, context: Context, document: Document, asked: Asked, bill: Bill) -> dict[str, Any]:
        """The answer of a query, with what it cost."""
        context.reads = True
        limit_s = self._deps.settings.query_timeout_s
        try:
            async with self._costly.turn(bill.requested), asyncio.timeout(limit_s):
                answer = await self._run(context, document, asked)
        except TimeoutError as error:
            raise TimedOut("the query took too long", limit=f"{limit_s} s", hint="ask for less at a time") from error
        answer["extensions"] = {"cost": bill.shown()}
        return answer

    async def _run(self, context: Context, document: Document, asked: Asked) -> dict[str, Any]:
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


def _failed(error: Exception, request_id: str) -> Answer:
    """What is answered when the operation could not run."""
    failure = known_failure(error)
    if failure is None:
        log.error("request %s failed", request_id, exc_info=error)
        return Answer(500, request_id, _dumped({"errors": [errors.internal(request_id)]}))
    more = b""
    if isinstance(failure, Unauthenticated):
        more += b"www-authenticate: Bearer\r\n"
    if failure.retryable:
        more += b"retry-after: %d\r\n" % failure.retry_after_s
    if isinstance(failure, PayloadTooLarge | TooSlow):
        more += b"connection: close\r\n"
    status = 415 if isinstance(failure, UnsupportedMediaType) else _status(failure)
    return Answer(status, request_id, _dumped({"errors": [errors.to_answer(failure, request_id)]}), more)


def _status(failure: RunstoneError) -> int:
    return 503 if isinstance(failure, Unavailable) else STATUS.get(failure.code, 400)


def _dumped(answer: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer)
    except TypeError:  # a message that quotes half of a surrogate pair, which only escaped JSON can hold
        return json.dumps(answer).encode()


def _takes_gzip(scope: Scope) -> bool:
    accepted = dict(scope["headers"]).get(b"accept-encoding", b"").replace(b" ", b"")
    return b"gzip" in accepted and b"gzip;q=0" not in accepted.split(b",")


async def _packed(answer: Answer) -> Answer:
    """A tenth of it: what tells a whole schema is large, and asked for before anything else can be done."""
    body = await asyncio.to_thread(gzip.compress, answer.body, GZIP_LEVEL)
    return Answer(answer.status, answer.request_id, body, answer.more + PACKED)


def _new_request_id() -> str:
    """64 bits that no other request of this process has, and hardly one of another."""
    return f"{next(NUMBERS) % 2**64:016x}"
