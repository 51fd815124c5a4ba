"""Relay connections: pages of a list, with signed keyset cursors.

The shape is that of the GraphQL Cursor Connections Specification (relay.dev), forwards.
"""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar

import orjson
import strawberry

from api.context import Context
from api.scalars import Cursor
from db.errors import Invalid

Node = TypeVar("Node")
Row = TypeVar("Row")

FIRST_MAX: Final = 500
SIGNATURE_BYTES: Final = 12

First: TypeAlias = Annotated[int, strawberry.argument(description="How many at most, 1 to 500.")]
After: TypeAlias = Annotated[
    Cursor | None, strawberry.argument(description="Begin behind this cursor; absent: at the beginning.")
]


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follow.")
    has_previous_page: bool = strawberry.field(description="Whether some came before.")
    start_cursor: Cursor | None = strawberry.field(description="The cursor of the first entry of this page.")
    end_cursor: Cursor | None = strawberry.field(description="The cursor of the last; give it as `after` for the next.")


@strawberry.type(description="An entry of a list with its position.")
class Edge(Generic[Node]):
    cursor: Cursor = strawberry.field(description="The position of this entry.")
    node: Node = strawberry.field(description="The entry.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[Node]):
    edges: list[Edge[Node]] = strawberry.field(description="The entries with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where this page lies in the list.")
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field(description="The entries alone.")
    def nodes(self) -> list[Node]:
        return [edge.node for edge in self.edges]

    @strawberry.field(description="How many entries the whole list has; counted only when asked for.")
    async def total_count(self) -> int:
        return await self.count()


async def page(
    context: Context,
    name: str,
    arguments: Sequence[Any],
    first: int,
    after: str | None,
    *,
    fetch: Callable[[list[Any] | None, int], Awaitable[list[Row]]],
    position: Callable[[Row], list[Any]],
    node: Callable[[Row], Node],
    count: Callable[[], Awaitable[int]],
) -> Connection[Node]:
    """The page behind `after`. `fetch(position, limit)` reads rows, `position(row)` says where a row stands.

    `name` and `arguments` identify the list: a cursor of another list is refused. Raises `Invalid`.
    """
    if not 1 <= first <= FIRST_MAX:
        raise Invalid(f"first is {first}", path="first", limit=f"1 to {FIRST_MAX}")
    key = _list_key(context, name, arguments)
    start = None if after is None else _decode(key, after)
    rows = await fetch(start, first + 1)
    edges = [Edge(cursor=_encode(key, position(row)), node=node(row)) for row in rows[:first]]
    info = PageInfo(
        has_next_page=len(rows) > first,
        has_previous_page=after is not None,
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )
    return Connection(edges=edges, page_info=info, count=count)


def _list_key(context: Context, name: str, arguments: Sequence[Any]) -> bytes:
    """The signing key of one list; other arguments are another list."""
    return signing_key(context.deps.cursor_key, [name, arguments])


def signing_key(cursor_key: bytes, of: Sequence[Any]) -> bytes:
    """The key that signs cursors of this kind and no others."""
    return hmac.digest(cursor_key, orjson.dumps(of, default=str), hashlib.sha256)


def signed(key: bytes, body: bytes) -> Cursor:
    """A cursor that holds `body`."""
    signature = hmac.digest(key, body, hashlib.sha256)[:SIGNATURE_BYTES]
    return Cursor(base64.urlsafe_b64encode(signature + body).decode().rstrip("="))


def opened(key: bytes, cursor: str) -> bytes | None:
    """What the cursor holds; None when it was not signed with this key."""
    try:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return None
    signature, body = content[:SIGNATURE_BYTES], content[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, hmac.digest(key, body, hashlib.sha256)[:SIGNATURE_BYTES]):
        return None
    return body


def _encode(key: bytes, position: list[Any]) -> Cursor:
    return signed(key, orjson.dumps(position, default=str))


def _decode(key: bytes, cursor: str) -> list[Any]:
    body = opened(key, cursor)
    if body is None:
        raise Invalid(
            "the cursor is not of this list", path="after", hint="take it from this list, asked with the same arguments"
        )
    position: list[Any] = orjson.loads(body)
    return position
