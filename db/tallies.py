"""Tallies: what is known of the series of a keyset without reading their points. It talks to nobody."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from db.packing import Floats, Ints, Matrix

INT64_MAX: Final = np.iinfo(np.int64).max


class Place(NamedTuple):
    """Where a point stands in its series: by step, then the newer attempt, then the later received."""

    step: int
    attempt: int
    received_ms: int
    writer_id: UUID
    seq: int


@dataclass(frozen=True, slots=True)
class Tallies:
    """The series of one keyset, summed up: a row for each key, a column for each part, such as a run.

    All keys of a keyset have the same points, so that a part has one count and its ends, `firsts` and `lasts`, are
    places with six rows each: step, attempt, received_ms, two halves of the writer's id, seq. `lows` and `highs` are of
    the finite values, NaN when there are none, each with the lowest step that has it.
    """

    counts: Ints
    firsts: Ints
    lasts: Ints
    non_finite: NDArray[np.int64 | np.bool_]
    first_values: Floats
    last_values: Floats
    lows: Floats
    low_steps: Ints
    highs: Floats
    high_steps: Ints

    def packed(self, part: int) -> bytes:
        """What differs from key to key in one part: seven rows of 8 little-endian bytes a key."""
        return np.stack(
            [
                self.non_finite[:, part],
                self.first_values[:, part].view("<i8"),
                self.last_values[:, part].view("<i8"),
                self.lows[:, part].view("<i8"),
                self.low_steps[:, part],
                self.highs[:, part].view("<i8"),
                self.high_steps[:, part],
            ]
        ).tobytes()

    def first(self, part: int) -> Place:
        """Where the first point of a part stands."""
        return _place(self.firsts[:, part])

    def last(self, part: int) -> Place:
        """Where the last point of a part stands."""
        return _place(self.lasts[:, part])


def of_points(parts: Sequence[tuple[Matrix, int, UUID]]) -> Tallies:
    """Each point as a part of its own, from matrices of the same keys with their attempts and writers."""
    values = np.concatenate([matrix.values for matrix, _, _ in parts], axis=1)
    steps = np.concatenate([matrix.steps for matrix, _, _ in parts])
    places = np.concatenate([_places(*part) for part in parts], axis=1)
    every_step = np.broadcast_to(steps, values.shape)
    return Tallies(
        np.ones(len(steps), "<i8"),
        places,
        places,
        ~np.isfinite(values),
        values,
        values,
        values,
        every_step,
        values,
        every_step,
    )


def _places(matrix: Matrix, attempt: int, writer_id: UUID) -> Ints:
    """The six rows of places of the matrix's points."""
    places = np.empty((6, matrix.n), "<i8")
    places[0] = matrix.steps
    places[1] = attempt
    places[2] = np.repeat(matrix.received_ms, matrix.sizes)
    places[3], places[4] = _halves(writer_id)
    places[5] = np.repeat(matrix.seqs, matrix.sizes)
    return places


def unpacked(rows: Iterable[Sequence[Any]]) -> Tallies:
    """The parts of the same keys, of rows of what `tally` has behind its ids: count, first and last place, `packed`.

    Taken column by column, which takes a fourth of the time that a place for each row would.
    """
    counts, *places, packed = zip(*rows, strict=True)
    stats = np.frombuffer(b"".join(packed), "<i8").reshape(len(counts), 7, -1).transpose(1, 2, 0)
    return Tallies(
        np.array(counts, "<i8"),
        _numbers(*places[:5]),
        _numbers(*places[5:]),
        stats[0],
        stats[1].view("<f8"),
        stats[2].view("<f8"),
        stats[3].view("<f8"),
        stats[4],
        stats[5].view("<f8"),
        stats[6],
    )


def joined(one: Tallies, other: Tallies) -> Tallies:
    """The parts of both, in order."""
    return Tallies(
        np.concatenate([one.counts, other.counts]),
        *(
            np.concatenate([getattr(one, name), getattr(other, name)], axis=1)
            for name in Tallies.__dataclass_fields__
            if name != "counts"
        ),
    )


def summed(tallies: Tallies, groups: Ints) -> Tallies:
    """One part for each group, by ascending number; `groups` has the number of each part."""
    by_first = np.lexsort((*tallies.firsts[::-1], groups))
    starts = np.flatnonzero(np.diff(groups[by_first], prepend=-1))
    is_sorted = bool((by_first[1:] > by_first[:-1]).all())
    order = slice(None) if is_sorted else by_first  # a slice copies nothing
    first = by_first[starts]
    by_last = by_first if tallies.lasts is tallies.firsts else np.lexsort((*tallies.lasts[::-1], groups))
    last = by_last[np.append(starts[1:], len(by_last)) - 1]
    return Tallies(
        np.add.reduceat(tallies.counts[order], starts),
        tallies.firsts[:, first],
        tallies.lasts[:, last],
        np.add.reduceat(tallies.non_finite[:, order], starts, axis=1, dtype="<i8"),
        tallies.first_values[:, first],
        tallies.last_values[:, last],
        *_extremes(np.minimum, np.inf, tallies.lows[:, order], tallies.low_steps[:, order], starts),
        *_extremes(np.maximum, -np.inf, tallies.highs[:, order], tallies.high_steps[:, order], starts),
    )


def _extremes(better: np.ufunc, worst: float, values: Floats, steps: Ints, starts: Ints) -> tuple[Floats, Ints]:
    """The best finite value of each group and the lowest step that has it; NaN and 0 where there is none."""
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, worst)
    best = better.reduceat(values, starts, axis=1)
    keys, parts = np.nonzero(values == np.repeat(best, np.diff(starts, append=values.shape[1]), axis=1))
    found = np.full(best.shape, INT64_MAX)
    np.minimum.at(found, (keys, np.searchsorted(starts, parts, side="right") - 1), steps[keys, parts])
    none = best == worst
    return np.where(none, np.nan, best), np.where(none, 0, found)


def _numbers(
    steps: Sequence[int],
    attempts: Sequence[int],
    received_ms: Sequence[int],
    writer_ids: Sequence[UUID],
    seqs: Sequence[int],
) -> Ints:
    """The six rows of numbers of places, which are in order when the places are."""
    halves = np.frombuffer(b"".join([writer_id.bytes for writer_id in writer_ids]), ">u8").astype("<u8")
    numbers = np.empty((6, len(steps)), "<i8")
    numbers[0], numbers[1], numbers[2], numbers[5] = steps, attempts, received_ms, seqs
    numbers[3:5] = (halves ^ np.uint64(1 << 63)).view("<i8").reshape(-1, 2).T
    return numbers


def _halves(writer_id: UUID) -> tuple[int, int]:
    """Two signed numbers in the order of ids."""
    return (writer_id.int >> 64) - (1 << 63), (writer_id.int & ((1 << 64) - 1)) - (1 << 63)


def _place(numbers: Any) -> Place:
    step, attempt, received_ms, high, low, seq = numbers.tolist()
    return Place(step, attempt, received_ms, UUID(int=((high + (1 << 63)) << 64) + low + (1 << 63)), seq)
