"""Points as arrays, and as the bytes that chunks hold. It talks to nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

FINE: Final = 256  # points that each group of landmarks sums up in the tier of a chunk
COARSE: Final = 8 * FINE  # and in its coarse tier
LANDMARKS: Final = 5  # points kept of each group
MARK_BYTES: Final = 24  # of a landmark in a tier: its step, time and value


@dataclass(frozen=True, slots=True)
class Matrix:
    """Blocks of one writer and keyset in the order of their seqs.

    `seqs`, `sizes` and `received_ms` have an entry for each block, `steps` and `times` for each point of a key;
    `values` has a row for each key.
    """

    seqs: Ints
    sizes: Ints
    received_ms: Ints
    steps: Ints
    times: Ints
    values: Floats

    @property
    def n(self) -> int:
        """Points of each key."""
        return len(self.steps)


def of_blocks(
    keys: int, seqs: bytes, sizes: bytes, received_ms: bytes, steps: bytes, times: bytes, values: bytes
) -> Matrix:
    """The matrix of blocks that have `keys` keys; of each column all blocks' bytes, the first three as Postgres sends.

    These are big-endian: int64, int32, int64.
    """
    points = sent(sizes, 4)
    flat = np.frombuffer(values, "<f8")
    if (points == points[0]).all():
        rows = flat.reshape(len(points), keys, points[0]).transpose(1, 0, 2).reshape(keys, -1)
    else:
        cuts = np.cumsum(points[:-1] * keys)
        rows = np.concatenate([part.reshape(keys, -1) for part in np.split(flat, cuts)], axis=1)
    return Matrix(
        sent(seqs, 8),
        points,
        sent(received_ms, 8),
        np.frombuffer(steps, "<i8"),
        np.frombuffer(times, "<i8"),
        rows,
    )


def sent(numbers: bytes, width: int) -> Ints:
    """Whole numbers of `width` bytes as Postgres sends them, big-endian."""
    return np.frombuffer(numbers, f">i{width}").astype("<i8")


def joined(parts: Sequence[Matrix]) -> Matrix:
    """One matrix of all blocks; those of each part come after those of the part before."""
    if len(parts) == 1:
        return parts[0]
    return Matrix(
        np.concatenate([part.seqs for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.received_ms for part in parts]),
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts], axis=1),
    )


def cut(matrix: Matrix, n_max: int) -> list[Matrix]:
    """The same blocks in matrices of at most `n_max` points a key, or of one block that is larger."""
    pieces = []
    ends = np.cumsum(matrix.sizes)
    block, point = 0, 0
    while block < len(ends):
        last = max(int(np.searchsorted(ends, point + n_max, side="right")), block + 1)
        end = int(ends[last - 1])
        pieces.append(
            Matrix(
                matrix.seqs[block:last],
                matrix.sizes[block:last],
                matrix.received_ms[block:last],
                matrix.steps[point:end],
                matrix.times[point:end],
                matrix.values[:, point:end],
            )
        )
        block, point = last, end
    return pieces


def pack(numbers: Ints) -> bytes:
    """Whole numbers whose differences fit into 63 bits, in few bytes.

    One byte of width, then int64 start; width 0 is an even stride (int64), else unsigned offsets from the start.
    """
    first = int(numbers[0])
    stride = int(numbers[1]) - first if len(numbers) > 1 else 0
    if len(numbers) < 3 or bool((np.diff(numbers) == stride).all()):
        return b"\0" + first.to_bytes(8, "little", signed=True) + stride.to_bytes(8, "little", signed=True)
    low = int(numbers.min())
    offsets = numbers - low
    greatest = int(offsets.max())
    width = next(width for width in (1, 2, 4, 8) if greatest < 1 << (8 * width))
    return bytes([width]) + low.to_bytes(8, "little", signed=True) + offsets.astype(f"<u{width}").tobytes()


def unpack(packed: bytes, count: int) -> Ints:
    """The `count` whole numbers that were packed."""
    width = packed[0]
    start = int.from_bytes(packed[1:9], "little", signed=True)
    if width == 0:
        stride = int.from_bytes(packed[9:17], "little", signed=True)
        return np.arange(count, dtype="<i8") * stride + start
    return start + np.frombuffer(packed, f"<u{width}", offset=9).astype("<i8")


def pack_values(values: Floats) -> tuple[bytes, bytes]:
    """One byte a key (1: float32 holds all its values bit for bit), and the values key by key, float32 or float64."""
    with np.errstate(all="ignore"):
        halves = values.astype("<f4")
        narrow = (halves.astype("<f8").view("<i8") == np.ascontiguousarray(values).view("<i8")).all(axis=1)
    if narrow.all():
        return b"\1" * len(values), halves.tobytes()
    rows = [halves[key].tobytes() if narrow[key] else values[key].tobytes() for key in range(len(values))]
    return narrow.astype("u1").tobytes(), b"".join(rows)


def unpack_row(row: bytes, narrow: int) -> Floats:
    """The values of one key."""
    return np.frombuffer(row, "<f4" if narrow else "<f8").astype("<f8")


def unpack_values(narrow: bytes, packed: bytes, n: int) -> Floats:
    """A row of `n` values for each key."""
    rows, start = [], 0
    for is_narrow in narrow:
        end = start + n * (4 if is_narrow else 8)
        rows.append(unpack_row(packed[start:end], is_narrow))
        start = end
    return np.stack(rows)


def landmarks(values: Floats, size: int) -> Ints:
    """Where the five points stand that sum up each group of `size` values along the last axis, in order.

    They are the first, the last, the lowest and the highest finite one, and the first that is not finite; a place
    comes twice when one point is several of these. The last group may be shorter.
    """
    n = values.shape[-1]
    groups = -(-n // size)
    padded = np.full((*values.shape[:-1], groups * size), np.nan)
    padded[..., :n] = values
    grouped = padded.reshape(*values.shape[:-1], groups, size)
    finite = np.isfinite(grouped)
    odd = ~finite
    odd[..., -1, n - (groups - 1) * size :] = False
    places = np.empty((*grouped.shape[:-1], LANDMARKS), "<i8")
    places[..., 0] = 0
    places[..., 1] = np.where(finite, grouped, np.inf).argmin(axis=-1)
    places[..., 2] = np.where(finite, grouped, -np.inf).argmax(axis=-1)
    places[..., 3] = odd.argmax(axis=-1)
    places[..., 4] = size - 1
    places[..., -1, 4] = n - (groups - 1) * size - 1
    places += np.arange(groups, dtype="<i8")[:, np.newaxis] * size
    places.sort(axis=-1)
    return places


def pack_tier(matrix: Matrix) -> bytes | None:
    """The landmarks of each 256 points of each key, as (step, time, value); None when it would not help.

    It helps when there are several groups and the steps increase, so that groups do not overlap.
    """
    if matrix.n < 2 * FINE or bool((np.diff(matrix.steps) <= 0).any()):
        return None
    places = landmarks(matrix.values, FINE)
    tier = np.empty((*places.shape, 3), "<i8")
    tier[..., 0] = matrix.steps[places]
    tier[..., 1] = matrix.times[places]
    flat = places.reshape(len(places), -1)
    tier[..., 2] = np.take_along_axis(matrix.values, flat, axis=1).reshape(places.shape).view("<i8")
    return tier.tobytes()


def coarser(tier: bytes, keys: int = 1) -> bytes:
    """The tier of the same points whose groups are of 2,048: the landmarks of eight groups are among theirs."""
    marks = np.frombuffer(tier, "<i8").reshape(keys, -1, 3)
    values = np.ascontiguousarray(marks[..., 2]).view("<f8")
    places = landmarks(values, COARSE // FINE * LANDMARKS).reshape(keys, -1, 1)
    return np.take_along_axis(marks, places, axis=1).tobytes()


def unpack_tier(row: bytes) -> tuple[Ints, Ints, Floats]:
    """The steps, times and values of the landmarks of one key, five a group."""
    tier = np.frombuffer(row, "<i8").reshape(-1, 3)
    return tier[:, 0], tier[:, 1], np.ascontiguousarray(tier[:, 2]).view("<f8")
