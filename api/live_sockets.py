"""Subscriptions over WebSocket, in the protocol graphql-transport-ws.

A socket takes from its subscriptions only what its client takes from it, so a slow client costs no memory; one that
takes nothing for some seconds is told so and cut, and continues later behind the last `after` that it has.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from graphql import GraphQLSchema
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from api import errors
from api.auth import authenticated, token_id
from api.bodies import Asked
from api.context import Deps
from api.documents import Documents, Refused
from api.live_operations import Operation
from db import access
from db.access import Scope
from db.errors import Code, RunstoneError, Unauthenticated
from db.errors import known as known_failure

SUBPROTOCOL: Final = "graphql-transport-ws"
SUBSCRIPTIONS_MAX: Final = 10  # of a socket
SOCKETS_PER_TOKEN_MAX: Final = 100
SOCKETS_MAX: Final = 2_000
ID_CHARACTERS_MAX: Final = 128
INIT_S: Final = 5.0
SEND_S: Final = 5.0  # until a client must have taken what is sent
CLOSE_S: Final = 2.0
CHECK_S: Final = 5.0  # between looks whether tokens are still good

BAD: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NOT_ACCEPTABLE: Final = 4406
TIMEOUT: Final = 4408
DUPLICATE: Final = 4409
TOO_MANY: Final = 4429
TRY_AGAIN: Final = 1013
RESTART: Final = 1012

log = logging.getLogger(__name__)


class Close(Exception):
    """The socket is to be closed; `told` are the subscriptions that hear why before."""

    def __init__(self, code: int, reason: str, told: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.told = told


class SlowConsumer(RunstoneError):
    """The client did not take what was sent to it."""

    code = Code.SLOW_CONSUMER
    retryable = True


class Sockets:
    """The open sockets of a process."""

    def __init__(self, deps: Deps, schema: GraphQLSchema, documents: Documents) -> None:
        self._deps = deps
        self._ask = partial(Operation.read, deps, schema, documents)
        self._open: set[Socket] = set()
        self._waiting = 0

    async def __call__(self, websocket: WebSocket) -> None:
        """Serve one socket until it closes."""
        refusal = self._refusal(websocket)
        if refusal is not None:
            await websocket.send_denial_response(refusal)
            return
        if SUBPROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(NOT_ACCEPTABLE, f"the subprotocol must be {SUBPROTOCOL}")
            return
        await websocket.accept(SUBPROTOCOL)
        socket = Socket(websocket, self._deps, self._ask, self._admit)
        self._waiting += 1
        try:
            await socket.serve()
        finally:
            self._waiting -= 1
            self._open.discard(socket)

    def _refusal(self, websocket: WebSocket) -> PlainTextResponse | None:
        """The answer to a handshake that is refused."""
        if self._waiting >= SOCKETS_MAX:
            return PlainTextResponse("too many sockets are open; try again later", 503, {"Retry-After": "5"})
        origin = websocket.headers.get("origin")
        host = websocket.headers.get("host")
        if origin is not None and urlsplit(origin).netloc != host and origin != self._deps.settings.url:
            return PlainTextResponse("this server takes no sockets from pages of that Origin", 403)
        return None

    def _admit(self, socket: "Socket") -> None:
        """Count the socket among those of its token. Raises `Close`."""
        if sum(other.token_id == socket.token_id for other in self._open) >= SOCKETS_PER_TOKEN_MAX:
            raise Close(TOO_MANY, f"this token has {SOCKETS_PER_TOKEN_MAX} sockets already")
        self._open.add(socket)

    async def watch(self) -> None:
        """Close the sockets of tokens that are no longer good, for ever."""
        while True:
            await asyncio.sleep(CHECK_S)
            if not self._open:
                continue
            try:
                scopes = await access.scopes_of(self._deps.pool, list({socket.token_id for socket in self._open}))
            except Exception as error:
                if known_failure(error) is None:
                    log.exception("the tokens of sockets are not checked")
                continue
            for socket in self._open:
                socket.check(scopes)


@asynccontextmanager
async def open_sockets(deps: Deps, schema: GraphQLSchema, documents: Documents) -> AsyncIterator[Sockets]:
    """Sockets whose tokens are looked after."""
    sockets = Sockets(deps, schema, documents)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(sockets.watch())
        try:
            yield sockets
        finally:
            watching.cancel()


class Socket:
    """One connection: who asks, and what it is subscribed to."""

    def __init__(
        self,
        websocket: WebSocket,
        deps: Deps,
        ask: Callable[[str, Scope, Asked], Awaitable[Operation]],
        admit: Callable[["Socket"], None],
    ) -> None:
        self.token_id = ""
        self._websocket = websocket
        self._deps = deps
        self._ask = ask
        self._admit = admit
        self._scope: Scope | None = None
        self._following: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._ending: asyncio.Future[Close] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Until the client leaves or is sent away."""
        try:
            try:
                async with asyncio.timeout(INIT_S):
                    self._scope = await self._greeted()
            except TimeoutError as error:
                raise Close(TIMEOUT, f"no connection_init came within {INIT_S:.0f} seconds") from error
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ended())
                await self._listen(tasks)
        except* WebSocketDisconnect:
            pass
        except* Close as group:
            await self._say_goodbye(_first(group))

    def check(self, scopes: Mapping[str, Scope]) -> None:
        """End when the token is no longer good, or its account may do other things than before."""
        scope = scopes.get(self.token_id)
        if scope is None:
            self._end(Close(FORBIDDEN, "the token is expired or revoked"))
        elif scope != self._scope:
            self._end(Close(RESTART, "what you may see has changed; connect again"))

    def _end(self, close: Close) -> None:
        if not self._ending.done():
            self._ending.set_result(close)

    async def _ended(self) -> None:
        raise await self._ending

    async def _say_goodbye(self, close: Close) -> None:
        """Close, also when the client reads nothing: our server lets these messages pass."""
        failure = SlowConsumer(close.reason, hint="subscribe again with the last `after` that you have")
        payload = [errors.to_answer(failure, secrets.token_hex(8))]
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(CLOSE_S):
                for id in close.told:
                    text = orjson.dumps({"id": id, "type": "error", "payload": payload}).decode()
                    await self._websocket.send({"type": "websocket.send", "text": text, "is_last": True})
                await self._websocket.close(close.code, close.reason)

    async def _greeted(self) -> Scope:
        """Who asks. Raises `Close`."""
        message = await self._received()
        while message["type"] in ("ping", "pong"):
            await self._answer_ping(message)
            message = await self._received()
        if message["type"] != "connection_init":
            raise Close(UNAUTHORIZED, "send connection_init first")
        header = _authorization(message.get("payload")) or self._websocket.headers.get("authorization")
        try:
            scope = await authenticated(self._deps.pool, header)
        except Unauthenticated as error:
            raise Close(FORBIDDEN, error.message) from error
        except Exception as error:
            if known_failure(error) is None:
                log.exception("a socket's token is not checked")
            raise Close(TRY_AGAIN, "the token cannot be checked now; try again later") from error
        self.token_id = token_id(header)
        self._admit(self)
        await self._send('{"type":"connection_ack"}')
        return scope

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        """Do what the client asks, until it leaves. Raises `Close`, `WebSocketDisconnect`."""
        while True:
            message = await self._received()
            match message["type"]:
                case "subscribe":
                    self._subscribe(tasks, message)
                case "complete":
                    task = self._following.pop(_id(message), None)
                    if task is not None:
                        task.cancel()
                case "ping" | "pong":
                    await self._answer_ping(message)
                case "connection_init":
                    raise Close(TOO_MANY, "connection_init came twice")
                case _:
                    raise Close(BAD, "there is no message of this type for a client to send")

    async def _received(self) -> dict[str, Any]:
        """The client's next message. Raises `Close`, `WebSocketDisconnect`."""
        received = await self._websocket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received["code"])
        text = received.get("text")
        if text is None:
            raise Close(BAD, "messages must be text, not binary")
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Close(BAD, "the message is not JSON") from error
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise Close(BAD, "the message must be an object with a type")
        return message

    async def _answer_ping(self, message: dict[str, Any]) -> None:
        if message["type"] == "ping":
            await self._send('{"type":"pong"}')

    def _subscribe(self, tasks: asyncio.TaskGroup, message: dict[str, Any]) -> None:
        id = _id(message)
        if id in self._following:
            raise Close(DUPLICATE, "there is a subscription of this id already")
        if len(self._following) >= SUBSCRIPTIONS_MAX:
            raise Close(TOO_MANY, f"a socket has at most {SUBSCRIPTIONS_MAX} subscriptions")
        asked = _asked(message.get("payload"))
        self._following[id] = tasks.create_task(self._follow(id, asked))

    async def _follow(self, id: str, asked: Asked) -> None:
        """Send what is subscribed to, until it ends or the client has enough."""
        head = f'{{"id":{orjson.dumps(id).decode()},"type":"next","payload":'
        assert self._scope is not None
        request_id = secrets.token_hex(8)
        try:
            operation = await self._ask(self.token_id, self._scope, asked)
            async with aclosing(await operation.items()) as items:
                async for item in items:
                    await self._send(f"{head}{await operation.text(item)}}}")
            last: dict[str, Any] = {"id": id, "type": "complete"}
        except (Close, WebSocketDisconnect):
            raise
        except Refused as refused:
            last = {"id": id, "type": "error", "payload": errors.shown(refused.errors, request_id)}
        except Exception as error:  # noqa: BLE001 - whatever it was, the client must hear of it
            last = {"id": id, "type": "error", "payload": [_shown(error, request_id)]}
        if self._following.get(id) is asyncio.current_task():
            del self._following[id]
        await self._send(orjson.dumps(last).decode())

    async def _send(self, text: str) -> None:
        """Send one message after the other. Raises `Close` when the client does not take it."""
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_S):
                    await self._websocket.send({"type": "websocket.send", "text": text})
            except TimeoutError as error:
                reason = f"slow consumer: nothing was taken for {SEND_S:.0f} seconds"
                raise Close(TIMEOUT, reason, tuple(self._following)) from error


def _first(group: BaseExceptionGroup[Close]) -> Close:
    """One of the reasons to close."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, Close)
    return found


def _authorization(payload: object) -> str | None:
    """The header that the client sent in its first message, because browsers cannot send it otherwise."""
    if not isinstance(payload, dict):
        return None
    return next((str(value) for name, value in payload.items() if name.lower() == "authorization"), None)


def _id(message: dict[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= ID_CHARACTERS_MAX:
        raise Close(BAD, f"id must be a text of 1 to {ID_CHARACTERS_MAX} characters")
    return id


def _asked(payload: object) -> Asked:
    if not isinstance(payload, dict):
        raise Close(BAD, "payload must be an object with a query")
    query, variables, name = payload.get("query"), payload.get("variables"), payload.get("operationName")
    if not isinstance(query, str) or not isinstance(variables, dict | None) or not isinstance(name, str | None):
        raise Close(BAD, "payload must have query: text, variables: object, operationName: text")
    return Asked(query, variables, name)


def _shown(error: Exception, request_id: str) -> errors.Answer:
    failure = known_failure(error)
    if failure is not None:
        return errors.to_answer(failure, request_id)
    log.error("subscription %s failed", request_id, exc_info=error)
    return errors.internal(request_id)
