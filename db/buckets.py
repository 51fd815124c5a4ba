"""Buckets: the points of many series over one grid of x, as charts draw them. It talks to nobody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from itertools import count
from math import floor, inf
from typing import Final, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from db.packing import Floats, Ints
from db.series import Curve

Axis: TypeAlias = Ints | Floats  # steps and times are whole numbers, values of a metric are floats

# Widths are these times a power of ten, so that edges lie at the same round numbers whatever is looked at.
ROUND: Final = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
FLOAT_MAX: Final = Fraction(np.finfo("<f8").max)


class FrameAxis(StrEnum):
    """What the buckets of a frame divide."""

    STEP = "STEP"
    RELATIVE_TIME = "RELATIVE_TIME"
    WALL_TIME = "WALL_TIME"
    METRIC = "METRIC"


@dataclass(frozen=True, slots=True)
class Trace:
    """The points of a run's metric by x; `count` is how many there are, also when fewer were read."""

    run_id: UUID
    x: Axis
    values: Floats
    count: int

    @property
    def is_whole(self) -> bool:
        """Whether every point was read."""
        return self.count == len(self.x)

    def between(self, low: float, high: float) -> "Trace":
        """Only the points from `low` to `high`, which are counted as far as they were read."""
        if low == -inf and high == inf:
            return self
        inside = (self.x >= low) & (self.x <= high)
        left_out = len(inside) - int(inside.sum())
        return Trace(self.run_id, self.x[inside], self.values[inside], self.count - left_out)


def over(curve: Curve, other: Curve) -> Trace:
    """The curve over the value that the run's other metric has at the same step, its last one if it has several.

    Points without a finite one are left out.
    """
    if not len(other.steps):
        return Trace(curve.run_id, np.empty(0), np.empty(0), 0)
    places = np.searchsorted(other.steps, curve.steps, side="right") - 1
    x = np.where((places >= 0) & (other.steps[places] == curve.steps), other.values[places], np.nan)
    there = np.flatnonzero(np.isfinite(x))
    order = there[np.argsort(x[there], kind="stable")]
    return Trace(curve.run_id, x[order], curve.values[order], len(order))


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the buckets begin. Each is `width` wide, or None: each has one x alone."""

    edges: Axis
    width: float | None = None

    def places(self, x: Axis) -> Ints:
        """The bucket of each x."""
        return np.searchsorted(self.edges, x, side="right") - 1


def grid(axes: Sequence[Axis], most: int) -> Grid:
    """The finest grid of at most `most` buckets: one for each x, else of a round width with edges at its multiples.

    So it does not depend on where the series begin, and stays while they grow, until the width does not suffice.
    """
    own = _distinct(axes, most)
    if own is not None:
        return Grid(own)
    low = min(axis[0] for axis in axes if len(axis)).item()
    high = max(axis[-1] for axis in axes if len(axis)).item()
    span, is_whole = Fraction(high) - Fraction(low), isinstance(low, int)
    for width in _widths(span / most, is_whole):
        first, last = floor(Fraction(low) / width), floor(Fraction(high) / width)
        if span <= width * (most - 1) and last - first < most:
            starts = [place * width for place in range(first, last + 1)]
            edges = np.array([int(start) if is_whole else float(max(start, -FLOAT_MAX)) for start in starts])
            return Grid(edges, float(min(width, FLOAT_MAX)))
    raise AssertionError("widths grow without end")


def _distinct(axes: Sequence[Axis], most: int) -> Axis | None:
    """Every x that there is; None when there are more than `most`."""
    found = np.empty(0, "<i8")
    seen: set[bytes] = set()
    for axis in axes:
        content = axis.tobytes()
        if content not in seen:
            seen.add(content)
            found = np.union1d(found, axis)
            if len(found) > most:
                return None
    return found


def _widths(least: Fraction, is_whole: bool) -> Iterator[Fraction]:
    """Round widths from one that is too small on; whole ones for whole numbers."""
    for power in count(len(str(floor(least))) - 2 if least >= 1 else -len(str(floor(1 / least))) - 1):
        for digits in ROUND:
            width = digits * Fraction(10) ** power
            if not is_whole or width.denominator == 1:
                yield width


@dataclass(frozen=True, slots=True)
class Marks:
    """Buckets of the traces of a frame, trace by trace; `starts` says where those of each begin, and the end."""

    x: Floats
    starts: Sequence[int]

    def of(self, row: int) -> Floats:
        """Where those of one trace begin, by x."""
        return self.x[self.starts[row] : self.starts[row + 1]]


@dataclass(frozen=True)  # without slots, for what is worked out once
class Frame:
    """A metric of some runs: a row for each trace, a column for each bucket; NaN where a bucket has no finite value."""

    traces: Sequence[Trace]
    grid: Grid

    @property
    def shape(self) -> tuple[int, int]:
        """Traces and buckets."""
        return len(self.traces), len(self.grid.edges)

    @cached_property
    def is_exact(self) -> bool:
        """Whether every point was read and has a bucket for itself."""
        is_alone = bool((self._cells[1:] != self._cells[:-1]).all())
        return is_alone and all(trace.is_whole for trace in self.traces)

    @cached_property
    def means(self) -> Floats:
        """Of the values of each bucket."""
        if len(self._starts) == len(self._finite):
            return self._matrix(self._finite)
        sizes = np.diff(self._starts, append=len(self._finite))
        return self._reduced(np.add, self._finite / np.repeat(sizes, sizes))

    @cached_property
    def lows(self) -> Floats:
        """The lowest values."""
        return self._reduced(np.minimum, self._finite)

    @cached_property
    def highs(self) -> Floats:
        """The highest values."""
        return self._reduced(np.maximum, self._finite)

    @cached_property
    def lasts(self) -> Floats:
        """The last values."""
        ends = np.append(self._starts, len(self._finite))[1:]
        return self._matrix(self._finite[ends - 1])

    @cached_property
    def odd_counts(self) -> Ints:
        """How many points of each trace are not finite, as far as they were read."""
        return np.bincount(self._cells[~self._is_finite] // self.shape[1], minlength=len(self.traces))

    @cached_property
    def odd(self) -> Marks:
        """The buckets that have a point that is not finite."""
        return self._marks(~self._is_finite)

    @cached_property
    def nans(self) -> Marks:
        """The buckets that have a NaN."""
        return self._marks(np.isnan(self._values))

    @cached_property
    def infinities(self) -> Marks:
        """The buckets that have an infinity above zero."""
        return self._marks(self._values == inf)

    @cached_property
    def negative_infinities(self) -> Marks:
        """The buckets that have an infinity below zero."""
        return self._marks(self._values == -inf)

    def _marks(self, are_marked: NDArray[np.bool_]) -> Marks:
        """The buckets of these points."""
        traces, columns = self.shape
        rows, places = np.divmod(np.unique(self._cells[are_marked]), max(columns, 1))
        starts = np.searchsorted(rows, np.arange(traces + 1)).tolist()
        return Marks(self.grid.edges[places].astype("<f8"), starts)

    @cached_property
    def _cells(self) -> Ints:
        """Of each point the place in a matrix; they ascend."""
        columns, known = self.shape[1], dict[bytes, Ints]()
        parts = [np.empty(0, "<i8")]
        for row, trace in enumerate(self.traces):
            content = trace.x.tobytes()  # most runs log at the same steps
            if content not in known:
                known[content] = self.grid.places(trace.x)
            parts.append(known[content] + row * columns)
        return np.concatenate(parts)

    @cached_property
    def _values(self) -> Floats:
        return np.concatenate([np.empty(0), *(trace.values for trace in self.traces)])

    @cached_property
    def _is_finite(self) -> NDArray[np.bool_]:
        return np.isfinite(self._values)

    @cached_property
    def _is_all_finite(self) -> bool:
        return bool(self._is_finite.all())

    @cached_property
    def _finite(self) -> Floats:
        return self._values if self._is_all_finite else self._values[self._is_finite]

    @cached_property
    def _finite_cells(self) -> Ints:
        return self._cells if self._is_all_finite else self._cells[self._is_finite]

    @cached_property
    def _starts(self) -> Ints:
        """Where the values of each bucket that has some begin."""
        cells = self._finite_cells
        begins = np.ones(len(cells), np.bool_)
        np.not_equal(cells[1:], cells[:-1], out=begins[1:])
        return np.flatnonzero(begins)

    def _reduced(self, by: np.ufunc, values: Floats) -> Floats:
        return self._matrix(by.reduceat(values, self._starts) if len(values) else values)

    def _matrix(self, of_filled: Floats) -> Floats:
        matrix = np.full(self.shape, np.nan)
        matrix.ravel()[self._finite_cells[self._starts]] = of_filled
        return matrix


def frame(traces: Sequence[Trace], most: int) -> Frame:
    """The traces over one grid of at most `most` buckets."""
    return Frame(traces, grid([trace.x for trace in traces], most))


@dataclass(frozen=True, slots=True)
class Bands:
    """Groups of rows of a frame: of the rows' means in each bucket the mean, the sample standard deviation, the least
    and the greatest; NaN where there are too few.
    """

    means: Floats
    deviations: Floats
    lows: Floats
    highs: Floats


def bands(means: Floats, members: Sequence[Ints]) -> Bands:
    """The means of a frame's rows over groups of these rows, each of at least one."""
    found = Bands(*(np.full((len(members), means.shape[1]), np.nan) for _ in range(4)))
    for place, rows in enumerate(members):
        of_group = means[rows]
        is_there = ~np.isnan(of_group)
        sizes = is_there.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            middle = np.where(is_there, of_group / sizes, 0).sum(axis=0)
            spread = np.where(is_there, (of_group - middle) ** 2, 0).sum(axis=0)
            found.means[place] = np.where(sizes > 0, middle, np.nan)
            found.deviations[place] = np.where(sizes > 1, np.sqrt(spread / (sizes - 1)), np.nan)
        found.lows[place] = np.fmin.reduce(of_group, axis=0)
        found.highs[place] = np.fmax.reduce(of_group, axis=0)
    return found
