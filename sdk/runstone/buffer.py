"""What was logged and is not acknowledged yet.

A record is a block of points, or some params, tags or inputs. Records leave in the order they came, a few at a time:
`peek` shows what goes next, `trim` forgets what the server has stored, `replace` puts parts in the place of a record.
"""

import base64
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["params", "metrics", "tags", "inputs"]

POINTS_PER_REQUEST: Final = 10_000
BYTES_PER_REQUEST: Final = 1024 * 1024
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

    def __str__(self) -> str:
        return f"{self.count} points of {', '.join(map(repr, self.keys[:3]))}{', ...' * (len(self.keys) > 3)}"


def _base64(column: "array[Any]") -> str:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return base64.b64encode(column).decode("ascii")


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

    def __str__(self) -> str:
        named = [repr(item.get("key", item.get("name"))) for item in self.items]
        return f"{self.kind} {', '.join(named[:3])}{', ...' * (len(named) > 3)}"


Record: TypeAlias = Points | Items


class Buffer:
    """Records in memory, at most about `size_bytes_max` of them; what does not fit is dropped and counted.

    Any thread may add. `on_large` is called when there is enough for a full request, once until the next `peek`.
    """

    def __init__(self, on_large: Callable[[], None], size_bytes_max: int = 64 * 1024 * 1024) -> None:
        self._lock = threading.Lock()
        self._sealed: deque[Record] = deque()
        self._open: dict[tuple[str, ...], Points] = {}
        self._size_bytes = 0
        self._size_bytes_max = size_bytes_max
        self._fresh_points = 0
        self._on_large = on_large
        self.dropped: dict[Kind, int] = {"params": 0, "metrics": 0, "tags": 0, "inputs": 0}

    def __len__(self) -> int:
        """How many records there are."""
        with self._lock:
            return len(self._sealed) + len(self._open)

    def counts(self) -> dict[Kind, int]:
        """How many params, points, tags and inputs there are."""
        with self._lock:
            found: dict[Kind, int] = {"params": 0, "metrics": 0, "tags": 0, "inputs": 0}
            for record in [*self._sealed, *self._open.values()]:
                found[record.kind] += record.count
            return found

    def add_row(self, keys: tuple[str, ...], step: int, time_ms: int, values: list[float]) -> bool:
        """Append one point per key; False when there is no room. The keys are distinct and at least one."""
        size_bytes = 8 * len(values) + 16
        with self._lock:
            if self._size_bytes + size_bytes > self._size_bytes_max:
                self.dropped["metrics"] += len(values)
                return False
            block = self._open.get(keys)
            if block is None or len(block.values) + len(values) > POINTS_PER_REQUEST:
                block = self._open_block(keys)
            block.steps.append(step)
            block.times_ms.append(time_ms)
            block.values.fromlist(values)
            self._size_bytes += size_bytes
            before, self._fresh_points = self._fresh_points, self._fresh_points + len(values)
        if before < POINTS_PER_REQUEST <= before + len(values):
            self._on_large()
        return True

    def add(self, record: Items) -> bool:
        """Append the record; False when there is no room."""
        with self._lock:
            if self._size_bytes + record.size_bytes > self._size_bytes_max:
                self.dropped[record.kind] += record.count
                return False
            self._sealed.append(record)
            self._size_bytes += record.size_bytes
            return True

    def _open_block(self, keys: tuple[str, ...]) -> Points:
        """A new block; open ones that share a key are closed, so that a key's points stay in the order they came."""
        given = set(keys)
        for other in [other for other in self._open if not given.isdisjoint(other)]:
            self._sealed.append(self._open.pop(other))
        block = self._open[keys] = Points(keys)
        self._size_bytes += block.size_bytes
        return block

    def peek(self, records_max: int = 1000) -> list[Record]:
        """The next records, as many as fit into one request and at least one if there is any."""
        with self._lock:
            self._sealed.extend(self._open.values())
            self._open.clear()
            self._fresh_points = 0
            taken: list[Record] = []
            points = size_bytes = 0
            for record in self._sealed:
                points += record.count if record.kind == "metrics" else 0
                size_bytes += record.size_bytes
                full = points > POINTS_PER_REQUEST or size_bytes > BYTES_PER_REQUEST or len(taken) >= records_max
                if taken and full:
                    break
                taken.append(record)
            return taken

    def trim(self, records: Sequence[Record]) -> None:
        """Forget these records of the last `peek`."""
        with self._lock:
            gone = set(map(id, records))
            kept: list[Record] = []
            while self._sealed and gone:
                record = self._sealed.popleft()
                if id(record) in gone:
                    gone.discard(id(record))
                    self._size_bytes -= record.size_bytes
                else:
                    kept.append(record)
            self._sealed.extendleft(reversed(kept))

    def replace(self, record: Record, parts: Sequence[Record]) -> None:
        """Put the parts in the place of the record; the points after it lose their seq."""
        with self._lock:
            place = self._sealed.index(record)
            self._sealed.remove(record)
            for part in reversed(parts):
                self._sealed.insert(place, part)
            self._size_bytes += sum(part.size_bytes for part in parts) - record.size_bytes
            if record.kind == "metrics":
                self._forget_seqs(place)

    def forget_seqs(self) -> None:
        """Let all points be numbered anew."""
        with self._lock:
            self._forget_seqs(0)

    def _forget_seqs(self, start: int) -> None:
        for record in list(self._sealed)[start:]:
            if isinstance(record, Points):
                record.seq = None
