"""Relay connections: pages of a list, with signed keyset cursors.

The shape is that of the GraphQL Cursor Connections Specification (relay.dev): all go forwards, some backwards too.
"""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
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

Last: TypeAlias = Annotated[
    int | None, strawberry.argument(description="The last so many instead, 1 to 500; `first` does not count then.")
]
Before: TypeAlias = Annotated[
    Cursor | None, strawberry.argument(description="End before this cursor; absent: at the end.")
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
    entries: strawberry.Private[list[Node]]
    cursor_at: strawberry.Private[Callable[[int], Cursor]]  # of an entry by its place here; made only when asked for
    has_next_page: strawberry.Private[bool]
    has_previous_page: strawberry.Private[bool]
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field(description="The entries with their cursors.")
    def edges(self) -> list[Edge[Node]]:
        return [Edge(cursor=self.cursor_at(place), node=node) for place, node in enumerate(self.entries)]

    @strawberry.field(description="Where this page lies in the list.")
    def page_info(self) -> PageInfo:
        return PageInfo(
            has_next_page=self.has_next_page,
            has_previous_page=self.has_previous_page,
            start_cursor=self.cursor_at(0) if self.entries else None,
            end_cursor=self.cursor_at(-1) if self.entries else None,
        )

    @strawberry.field(description="The entries alone.")
    def nodes(self) -> list[Node]:
        return self.entries

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
    start = None if after is None else decode_cursor(list_key(context, name, arguments), after)
    rows = await fetch(start, first + 1)
    shown = rows[:first]
    return Connection(
        entries=[node(row) for row in shown],
        cursor_at=lambda place: encode_cursor(list_key(context, name, arguments), position(shown[place])),
        has_next_page=len(rows) > first,
        has_previous_page=after is not None,
        count=count,
    )


@dataclass(frozen=True, slots=True)
class Window:
    """What to read of a list: at most `limit` rows behind `after` and before `before`, from the front or the back."""

    limit: int
    after: list[Any] | None
    before: list[Any] | None
    is_backward: bool


async def page_both_ways(
    context: Context,
    name: str,
    arguments: Sequence[Any],
    asked: tuple[int, str | None, int | None, str | None],
    *,
    fetch: Callable[[Window], Awaitable[list[Row]]],
    position: Callable[[Row], list[Any]],
    node: Callable[[Row], Node],
    count: Callable[[], Awaitable[int]],
) -> Connection[Node]:
    """As `page`, for (first, after, last, before) as they were asked. `fetch` reads rows in the order of the list."""
    first, after, last, before = asked
    limit, at = (first, "first") if last is None else (last, "last")
    if not 1 <= limit <= FIRST_MAX:
        raise Invalid(f"{at} is {limit}", path=at, limit=f"1 to {FIRST_MAX}")
    key = list_key(context, name, arguments)
    window = Window(
        limit + 1,
        None if after is None else decode_cursor(key, after),
        None if before is None else decode_cursor(key, before, "before"),
        is_backward=last is not None,
    )
    rows = await fetch(window)
    has_more = len(rows) > limit
    shown = rows[-limit:] if window.is_backward else rows[:limit]
    return Connection(
        entries=[node(row) for row in shown],
        cursor_at=lambda place: encode_cursor(key, position(shown[place])),
        has_next_page=before is not None if window.is_backward else has_more,
        has_previous_page=has_more if window.is_backward else after is not None,
        count=count,
    )


def list_key(context: Context, name: str, arguments: Sequence[Any]) -> bytes:
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
    """What the cursor holds; None when it was not signed with this key, or is not as it was made."""
    try:
        body = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[SIGNATURE_BYTES:]
    except ValueError:
        return None
    return body if hmac.compare_digest(cursor.encode(), signed(key, body).encode()) else None


def encode_cursor(key: bytes, position: list[Any]) -> Cursor:
    """The cursor of this position in the list."""
    return signed(key, orjson.dumps(position, default=str))


def decode_cursor(key: bytes, cursor: str, path: str = "after") -> list[Any]:
    """The position. Raises `Invalid` for a cursor of another list."""
    body = opened(key, cursor)
    if body is None:
        raise Invalid(
            "the cursor is not of this list", path=path, hint="take it from this list, asked with the same arguments"
        )
    position: list[Any] = orjson.loads(body)
    return position
