"""A client of subscriptions, as a browser would be: it speaks graphql-transport-ws over a plain WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.conftest import Server

PROTOCOL = Subprotocol("graphql-transport-ws")
PATIENCE_S = 20.0

EVENTS = """
    subscription ($select: RunSelection, $after: Cursor) {
      runEvents(select: $select, after: $after) {
        after kind at runId experimentId projectId attempt status artifactId run { id name status }
      }
    }
"""
POINTS = """
    subscription ($runIds: [ID!]!, $keys: [String!]!, $after: [Cursor!], $fromStart: Boolean! = false) {
      points(runIds: $runIds, keys: $keys, after: $after, fromStart: $fromStart) {
        runId after series { key steps times values attempts }
      }
    }
"""

# A point as it is sent: run, key, step, time, value, attempt.
Sent = tuple[str, str, int, int, Any, int]


class Watcher:
    """An open socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        """Send one message of the protocol."""
        await self.socket.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises `ConnectionClosed`."""
        async with asyncio.timeout(PATIENCE_S):
            message: dict[str, Any] = json.loads(await self.socket.recv())
            return message

    async def greet(self, token: str) -> None:
        """Say who asks, and be let in."""
        await self.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, document: str, id: str = "1", **variables: Any) -> None:
        """Begin a subscription."""
        await self.send(type="subscribe", id=id, payload={"query": document, "variables": variables})

    async def next(self, id: str = "1") -> dict[str, Any]:
        """The field of the next message of the only subscription, which must hold no errors."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("next", id), message
        assert "errors" not in message["payload"], message
        [field] = message["payload"]["data"].values()
        found: dict[str, Any] = field
        return found

    async def refusal(self, document: str, id: str = "1", **variables: Any) -> dict[str, Any]:
        """The error with which a subscription is refused."""
        await self.subscribe(document, id, **variables)
        message = await self.receive()
        assert (message["type"], message["id"]) == ("error", id), message
        error: dict[str, Any] = message["payload"][0]
        return error

    async def closed(self) -> int:
        """The code with which the server closes, whatever it sends before."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def socket_to(server: Server, **options: Any) -> AsyncIterator[Watcher]:
    """A socket that has not said who asks."""
    url = server.url.replace("http", "ws", 1) + "/graphql"
    given = {"subprotocols": [PROTOCOL], "max_size": None, "open_timeout": PATIENCE_S, "close_timeout": 1, **options}
    async with connect(url, **given) as socket:
        yield Watcher(socket)


@asynccontextmanager
async def watching(server: Server, token: str, **options: Any) -> AsyncIterator[Watcher]:
    """A socket that was let in."""
    async with socket_to(server, **options) as watcher:
        await watcher.greet(token)
        yield watcher


def points_in(message: dict[str, Any]) -> list[Sent]:
    """The points of a message, in the order in which they are sent."""
    return [
        (message["runId"], series["key"], *point)
        for series in message["series"]
        for point in zip(series["steps"], series["times"], series["values"], series["attempts"], strict=True)
    ]
