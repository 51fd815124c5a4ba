"""What is sent together: blocks of points, and params, tags and inputs."""

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["params", "metrics", "tags", "inputs"]

NOUNS: Final[dict[Kind, str]] = {"params": "params", "metrics": "points", "tags": "tags", "inputs": "inputs"}
POINTS_PER_REQUEST: Final = 10_000
BYTES_PER_REQUEST: Final = 1024 * 1024
RECORDS_PER_REQUEST: Final = 1000
ITEM_BYTES: Final = 64  # about what an item costs besides its text


@dataclass(slots=True, eq=False)
class Points:
    """Rows of the same keys: a step, a time and one value per key each; `seq` is its place among its writer's blocks.

    `values` holds row after row.
    """

    keys: tuple[str, ...]
    steps: "array[int]" = field(default_factory=lambda: array("q"))
    times_ms: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    seq: int | None = None
    kind: Kind = "metrics"

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def size_bytes(self) -> int:
        return 16 * len(self.steps) + 8 * len(self.values) + sum(map(len, self.keys)) + ITEM_BYTES

    def parts(self) -> "list[Points]":
        """Two blocks with half of the keys each; empty for a block of one key."""
        if len(self.keys) == 1:
            return []
        half = len(self.keys) // 2
        return [self._of(range(half)), self._of(range(half, len(self.keys)))]

    def _of(self, columns: range) -> "Points":
        values = array("d", bytes(8 * len(columns) * len(self.steps)))
        for place, column in enumerate(columns):
            values[place :: len(columns)] = self.values[column :: len(self.keys)]
        return Points(tuple(self.keys[column] for column in columns), self.steps[:], self.times_ms[:], values)

    def to_wire(self) -> dict[str, Any]:
        """The block as the server takes it: columns of little-endian numbers, the values key after key."""
        columns = array("d")
        for column in range(len(self.keys)):
            columns.extend(self.values[column :: len(self.keys)])
        return {
            "seq": self.seq,
            "keys": self.keys,
            "steps": _base64(self.steps),
            "times": _base64(self.times_ms),
            "values": _base64(columns),
        }

    def to_json(self) -> dict[str, Any]:
        """What `of_json` takes."""
        return {"kind": self.kind, **self.to_wire()}

    def __str__(self) -> str:
        return f"{self.count} points of {', '.join(map(repr, self.keys[:3]))}{', ...' * (len(self.keys) > 3)}"


def _base64(column: "array[Any]") -> str:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return base64.b64encode(column).decode("ascii")


def _column(kind: str, text: str) -> "array[Any]":
    column = array(kind, base64.b64decode(text))
    if sys.byteorder == "big":
        column.byteswap()
    return column


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Some params, tags or inputs, as they are sent."""

    kind: Kind
    items: Sequence[dict[str, Any]]

    @property
    def count(self) -> int:
        return len(self.items)

    @property
    def size_bytes(self) -> int:
        return sum(ITEM_BYTES + len(str(item)) for item in self.items)

    def parts(self) -> "list[Items]":
        """Two records with half of the items each; empty for one item."""
        half = len(self.items) // 2
        return [Items(self.kind, self.items[:half]), Items(self.kind, self.items[half:])] if half else []

    def to_json(self) -> dict[str, Any]:
        """What `of_json` takes."""
        return {"kind": self.kind, "items": self.items}

    def __str__(self) -> str:
        named = [repr(item.get("key", item.get("name"))) for item in self.items]
        return f"{self.kind} {', '.join(named[:3])}{', ...' * (len(named) > 3)}"


Record: TypeAlias = Points | Items


def of_json(content: Mapping[str, Any]) -> Points | Items:
    """The record whose `to_json` this is."""
    if content["kind"] != "metrics":
        return Items(content["kind"], content["items"])
    block = Points(
        tuple(content["keys"]), _column("q", content["steps"]), _column("q", content["times"]), seq=content["seq"]
    )
    columns, count = _column("d", content["values"]), len(block.steps)
    block.values = array("d", bytes(8 * len(columns)))
    for place in range(len(block.keys)):
        block.values[place :: len(block.keys)] = columns[place * count : (place + 1) * count]
    return block


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """The start of a run, or of its next attempt, as the server is asked for it."""

    operation: Literal["CreateRun", "ResumeRun"]
    input: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Ending:
    """The end of a run; `time_ms` is when it was asked for, in Unix milliseconds."""

    input: dict[str, Any]
    time_ms: int


class Gathering:
    """Puts rows and items together to records for one request."""

    def __init__(self) -> None:
        self._sealed: list[Record] = []
        self._open: dict[tuple[str, ...], Points] = {}
        self._points = 0
        self._size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._sealed or self._open)

    def has_room(self, points: int, size_bytes: int) -> bool:
        """Whether so much more fits into the request; the first always does."""
        return not self or (
            self._points + points <= POINTS_PER_REQUEST
            and self._size_bytes + size_bytes <= BYTES_PER_REQUEST
            and len(self._sealed) + len(self._open) < RECORDS_PER_REQUEST
        )

    def add_row(self, keys: tuple[str, ...], step: int, time_ms: int, values: tuple[float, ...]) -> None:
        """Append a point per key."""
        block = self._open.get(keys)
        if block is None:
            block = self._open_block(keys)
        block.steps.append(step)
        block.times_ms.append(time_ms)
        block.values.extend(values)
        self._points += len(keys)
        self._size_bytes += 8 * len(values) + 16

    def add(self, record: Items) -> None:
        """Append the record."""
        self._sealed.append(record)
        self._size_bytes += record.size_bytes

    def _open_block(self, keys: tuple[str, ...]) -> Points:
        """A new block; open ones that share a key are closed, so that a key's points stay in the order they came."""
        given = set(keys)
        for other in [other for other in self._open if not given.isdisjoint(other)]:
            self._sealed.append(self._open.pop(other))
        block = self._open[keys] = Points(keys)
        self._size_bytes += block.size_bytes
        return block

    def records(self) -> list[Record]:
        """All of it, in order."""
        return [*self._sealed, *self._open.values()]
