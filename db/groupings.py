"""Groupings: runs with the same values in some columns, such as those that differ in the seed, and their statistics.

It talks to nobody.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from db import quantiles
from db.comparisons import Column, ParamColumn, Texts
from db.frames import NUMERIC, FrameColumn, NumberColumn
from db.packing import Floats, Ints

Values = tuple[tuple[str | None, str | None], ...]  # the type and the text of each value that a group has in common


@dataclass(frozen=True, slots=True)
class Groups:
    """Runs in groups: the members of each by their places, and a column for each key with an entry for each group."""

    keys: list[FrameColumn]
    members: list[Ints]
    values: list[Values]


def grouped(runs: int, by: Sequence[FrameColumn]) -> Groups:
    """The runs with the same values in all columns of `by`, which they may also all lack.

    Groups are in the order of their values, column by column: numbers, then NaN, then texts, then none.
    """
    told = zip(*map(_told, by), strict=True) if by else [()] * runs
    places: dict[Values, list[int]] = {}
    for place, values in enumerate(told):
        places.setdefault(values, []).append(place)
    ordered = sorted(places, key=order)
    firsts = np.array([places[values][0] for values in ordered], np.int64)
    return Groups([_taken(column, firsts) for column in by], [np.array(places[values]) for values in ordered], ordered)


def part(groups: Groups, begin: int, end: int) -> Groups:
    """The groups from `begin` to before `end`."""
    places = np.arange(len(groups.values))[begin:end]
    return Groups(
        [_taken(column, places) for column in groups.keys], groups.members[begin:end], groups.values[begin:end]
    )


def order(values: Values) -> list[tuple[Any, ...]]:
    """What groups are in the order of."""
    return [_order_of(*value) for value in values]


def _order_of(type_: str | None, text: str | None) -> tuple[Any, ...]:
    if text is None:
        return (3,)
    if type_ in NUMERIC:
        number = float(text)
        return (1, 0.0, text) if math.isnan(number) else (0, number, text)
    return (2, text, type_)


def _told(column: FrameColumn) -> list[tuple[str | None, str | None]]:
    """The type and the text of each value; numbers have no type."""
    types: Texts
    match column:
        case ParamColumn():
            types = column.types
        case NumberColumn():
            types = ["FLOAT"] * len(column.values)
        case _:
            types = ["STRING"] * len(column.texts)
    return list(zip(types, column.texts, strict=True))


def _taken(column: FrameColumn, places: Ints) -> FrameColumn:
    """The column of only these runs."""
    match column:
        case NumberColumn():
            return NumberColumn(column.key, column.values[places], column.has[places])
        case ParamColumn():
            return column.of(places.tolist())
    return Column(column.key, [column.texts[place] for place in places.tolist()])


@dataclass(frozen=True, slots=True)
class Statistics:
    """A metric over groups, an entry for each. Of the finite values; NaN where there are too few.

    `counts` has how many these are, `non_finite` how many others. `deviations` are sample standard deviations, of
    two values and more. `lows` to `highs` is the 95 % confidence interval of the mean, by Student's t.
    """

    counts: Ints
    non_finite: Ints
    means: Floats
    deviations: Floats
    lows: Floats
    highs: Floats
    mins: Floats
    maxs: Floats


def statistics(column: FrameColumn, members: Sequence[Ints]) -> Statistics:
    """The numbers of each group summed up."""
    if not isinstance(column, NumberColumn):  # nobody has one
        column = NumberColumn(column.key, np.zeros(len(column.texts)), np.zeros(len(column.texts), np.bool_))
    values = np.where(column.has, column.values, np.nan)
    is_finite = np.isfinite(values)
    groups = np.repeat(np.arange(len(members)), [len(each) for each in members])
    order = np.concatenate([*members, np.empty(0, np.int64)]).astype(np.int64)
    is_counted = is_finite[order]
    of, given = groups[is_counted], values[order][is_counted]
    counts = np.bincount(of, minlength=len(members))
    non_finite = np.bincount(groups[(column.has & ~is_finite)[order]], minlength=len(members))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        means = np.where(counts > 0, np.bincount(of, given / counts[of], minlength=len(members)), np.nan)
        spread = np.bincount(of, (given - means[of]) ** 2, minlength=len(members))
        deviations = np.where(counts > 1, np.sqrt(spread / (counts - 1)), np.nan)
        margins = np.array([quantiles.two_sided(count - 1) if count > 1 else np.nan for count in counts.tolist()])
        margins = margins * deviations / np.sqrt(counts)
    mins, maxs = np.full(len(members), np.inf), np.full(len(members), -np.inf)
    np.minimum.at(mins, of, given)
    np.maximum.at(maxs, of, given)
    none = counts == 0
    return Statistics(
        counts,
        non_finite,
        means,
        deviations,
        means - margins,
        means + margins,
        np.where(none, np.nan, mins),
        np.where(none, np.nan, maxs),
    )
