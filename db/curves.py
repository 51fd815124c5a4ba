"""Curves: the points of a series in order, whole or summed up, from the parts in which they are stored.

A part is a chunk, its tier, or the blocks of a stream. Whatever can be is done for all parts of a series at once: a
long one has hundreds. It talks to nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from db import packing
from db.packing import Floats, Ints

Bools: TypeAlias = NDArray[np.bool_]

NONE: Final = np.empty(0, "<i8")


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one series; `times` is empty unless it was asked for."""

    steps: Ints
    times: Ints
    values: Floats
    attempts: Ints

    def at(self, places: Any) -> "Points":
        """Those at the places."""
        times = self.times[places] if len(self.times) else self.times
        return Points(self.steps[places], times, self.values[places], self.attempts[places])


AxisOf: TypeAlias = Callable[[Points], Ints]  # what the points stand over


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The blocks of each part, in the order of its points: how many, their sizes, times of receipt and seqs."""

    counts: Ints
    sizes: Ints
    received_ms: Ints
    seqs: Ints

    def of(self, parts: Ints) -> "Arrivals":
        """Those of the parts of these numbers."""
        places = stretches((np.cumsum(self.counts) - self.counts)[parts], self.counts[parts])
        return Arrivals(self.counts[parts], self.sizes[places], self.received_ms[places], self.seqs[places])

    def inside(self, points: Bools) -> "Arrivals":
        """Those of some of the points; a block may have none left."""
        of_point = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return replace(self, sizes=np.bincount(of_point[points], minlength=len(self.sizes)))

    def ranks(self, writers: Ints) -> Ints:
        """For each point the rank of its block among all, by when it was received, its part's writer and its seq."""
        order = np.lexsort((self.seqs, np.repeat(writers, self.counts), self.received_ms))
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        return np.repeat(ranks, self.sizes)


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of one series with their points, part by part, each part's in the order of their seqs.

    The columns before `points` have an entry for each part; `writers` are numbers in the order of ids. `sizes` says how
    many points are here, at least one, `counts` how many they stand for: a tier has five landmarks of each group.
    `arrivals` is None unless it was asked for; of a tier it has one block, of nobody.
    """

    attempts: Ints
    writers: Ints
    first_seqs: Ints
    counts: Ints
    sizes: Ints
    are_tiers: Bools
    points: Points
    arrivals: Arrivals | None

    @property
    def has_tiers(self) -> bool:
        """Whether any part is a tier."""
        return True in self.are_tiers.tolist()  # of few, which is sooner than numpy begins

    @property
    def starts(self) -> Ints:
        """Where the points of each part start."""
        return np.cumsum(self.sizes) - self.sizes

    def run(self, first: int, last: int) -> "Parts":
        """Those from the first to the last, both included."""
        points = slice(self.starts[first], self.starts[last] + self.sizes[last])
        return self._chosen(np.arange(first, last + 1), self.points.at(points))

    def by_step(self) -> "Parts":
        """The parts by their lowest step, then attempt, writer and seq."""
        if len(self.sizes) == 1:
            return self
        low_steps = np.minimum.reduceat(self.points.steps, self.starts)
        order = np.lexsort((self.first_seqs, self.writers, self.attempts, low_steps))
        if increases(order):
            return self
        return self._chosen(order, self.points.at(stretches(self.starts[order], self.sizes[order])))

    def between(self, low_step: int, high_step: int) -> "Parts | None":
        """The points between the steps; None when there are none. Tiers are there only when all of theirs are."""
        inside = (self.points.steps >= low_step) & (self.points.steps <= high_step)
        if inside.all():
            return self
        sizes = np.bincount(np.repeat(np.arange(len(self.sizes)), self.sizes)[inside], minlength=len(self.sizes))
        cut = replace(
            self,
            sizes=sizes,
            counts=np.where(self.are_tiers, self.counts, sizes),
            arrivals=self.arrivals and self.arrivals.inside(inside),
        )
        left = np.flatnonzero(sizes)
        return cut._chosen(left, self.points.at(inside)) if len(left) else None

    def _chosen(self, parts: Ints, points: Points) -> "Parts":
        """The parts of these numbers, which have these points."""
        return Parts(
            self.attempts[parts],
            self.writers[parts],
            self.first_seqs[parts],
            self.counts[parts],
            self.sizes[parts],
            self.are_tiers[parts],
            points,
            self.arrivals and self.arrivals.of(parts),
        )


class Tangled(Exception):
    """The order of points needs more than was read of them: every point between these steps, and its arrival."""

    def __init__(self, knots: Sequence[Parts]) -> None:
        super().__init__("parts overlap")
        self.ranges = tuple((int(knot.points.steps.min()), int(knot.points.steps.max())) for knot in knots)
        self.points = sum(int(knot.counts.sum()) for knot in knots)


def joined(parts: Sequence[Parts]) -> Parts:
    """The parts of one after those of the other."""
    if len(parts) == 1:
        return parts[0]
    arrivals = [part.arrivals for part in parts if part.arrivals is not None]
    return Parts(
        np.concatenate([part.attempts for part in parts]),
        np.concatenate([part.writers for part in parts]),
        np.concatenate([part.first_seqs for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.are_tiers for part in parts]),
        _joined([part.points for part in parts]),
        Arrivals(
            np.concatenate([arrival.counts for arrival in arrivals]),
            np.concatenate([arrival.sizes for arrival in arrivals]),
            np.concatenate([arrival.received_ms for arrival in arrivals]),
            np.concatenate([arrival.seqs for arrival in arrivals]),
        )
        if arrivals
        else None,
    )


def _joined(points: Sequence[Points]) -> Points:
    if len(points) == 1:
        return points[0]
    return Points(
        np.concatenate([part.steps for part in points]),
        np.concatenate([part.times for part in points]),
        np.concatenate([part.values for part in points]),
        np.concatenate([part.attempts for part in points]),
    )


def stretches(starts: Ints, sizes: Ints) -> Ints:
    """The places of so many things from each start on."""
    return np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())


def increases(numbers: Ints) -> bool:
    """Whether each number is greater than the one before."""
    return bool((numbers[1:] > numbers[:-1]).all())


def arranged(parts: Parts, axis_of: AxisOf, max_points: int | None, group: int) -> tuple[int, Points]:
    """How many points there are, and they in order of the axis, or with `max_points` those that sum them up.

    Of a step only those of its newest attempt count. The tiers have groups of `group` points. Raises `Tangled`.
    """
    parts = parts.by_step()
    if parts.has_tiers:
        assert max_points is not None
        count, points = _summed_up(parts, max_points, group)
        return count, points.at(np.argsort(axis_of(points), kind="stable"))
    whole = _ordered(parts, axis_of)
    if whole is None:
        raise Tangled([parts])
    count = len(whole.steps)
    if max_points is not None and count > max_points:
        whole = whole.at(_kept(whole.values, max_points))
    return count, whole


def _ordered(parts: Parts, axis_of: AxisOf) -> Points | None:
    """All points by the axis, then step and arrival; of a step only those of its newest attempt.

    None when that needs more than was read.
    """
    points = parts.points
    if parts.has_tiers:
        return None
    if not increases(points.steps):
        order = _order(parts)
        if order is None:
            return None
        points = points.at(order)
    axis = axis_of(points)
    return points if axis is points.steps or increases(axis) else points.at(np.argsort(axis, kind="stable"))


def _order(parts: Parts) -> Ints | None:
    """The order by step and arrival; None when arrivals are needed. It costs little where parts are in order."""
    steps, attempts = parts.points.steps, parts.points.attempts
    order: Ints = np.argsort(steps, kind="stable")
    by_step = steps[order]
    if increases(by_step):
        return order
    if attempts.min() < attempts.max():
        starts = np.flatnonzero(np.diff(by_step, prepend=-1))
        newest = np.maximum.reduceat(attempts[order], starts)
        order = order[attempts[order] == np.repeat(newest, np.diff(starts, append=len(by_step)))]
        by_step = steps[order]
        if increases(by_step):
            return order
    if parts.arrivals is None:
        return None
    by_arrival: Ints = np.lexsort((parts.arrivals.ranks(parts.writers)[order], by_step))
    return order[by_arrival]


def _kept(values: Floats, max_points: int) -> Ints:
    """Where the points stand that sum up the series: the landmarks of equal groups, whose size is a power of 2.

    So the groups stay where they are while a series grows, until their size doubles.
    """
    return _marked(values, _group_size(len(values), values, max_points))


def _marked(values: Floats, size: int) -> Ints:
    """Where the landmarks of each group of `size` values stand, each place once; they come in order."""
    places: Ints = packing.landmarks(values, size).reshape(-1)
    kept: Ints = places[np.diff(places, prepend=-1) != 0]
    return kept


def _group_size(count: int, values: Floats, max_points: int) -> int:
    """The least power of 2 for which the landmarks of `count` things are at most `max_points`."""
    per_group = packing.LANDMARKS - 1 if np.isfinite(values).all() else packing.LANDMARKS
    return 1 << (-(-count // (max_points // per_group)) - 1).bit_length()


def _summed_up(parts: Parts, max_points: int, group: int) -> tuple[int, Points]:
    """How many points there are, and the landmarks of equal numbers of groups of `group`. Raises `Tangled`.

    Tiers are landmarks already, where nothing else has points between them.
    """
    starts, ends = parts.starts, np.cumsum(parts.sizes)
    low_steps = np.minimum.reduceat(parts.points.steps, starts)
    high_steps = np.maximum.accumulate(np.maximum.reduceat(parts.points.steps, starts))
    firsts = np.flatnonzero(np.concatenate([[True], low_steps[1:] > high_steps[:-1]]))  # of parts that overlap
    lasts = np.append(firsts[1:], len(starts)) - 1
    are_ready = parts.are_tiers[firsts] & (firsts == lasts)
    count = int(parts.counts[firsts[are_ready]].sum())
    grouped: list[Points] = []
    knots: list[Parts] = []
    ready_from = 0
    for first, last in zip(firsts[~are_ready], lasts[~are_ready], strict=True):
        knot = parts.run(first, last)
        points = _ordered(knot, attrgetter("steps"))
        if points is None:
            knots.append(knot)
            continue
        count += len(points.steps)
        grouped.append(parts.points.at(slice(ready_from, starts[first])))
        grouped.append(points.at(packing.landmarks(points.values, group).reshape(-1)))
        ready_from = ends[last]
    if knots:
        raise Tangled(knots)
    marks = _joined([*grouped, parts.points.at(slice(ready_from, None))])
    groups = _group_size(len(marks.steps) // packing.LANDMARKS, marks.values, max_points)
    kept = _marked(marks.values, groups * packing.LANDMARKS)
    return count, marks.at(kept[_is_another(marks.at(kept))])


def _is_another(points: Points) -> Bools:
    """For each landmark whether it is another point than the one before; a point may be several landmarks."""
    values = points.values.view("<i8")
    is_another: Bools = (np.diff(points.steps, prepend=-1) != 0) | (np.diff(values, prepend=~values[:1]) != 0)
    return is_another
