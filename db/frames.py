"""Frames: columns of runs, of any fields that a run has one of."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from db import access, comparisons, experiments, goals, runs
from db.access import Scope
from db.comparisons import Column, ParamColumn, Texts
from db.conditions import Area, Attribute, Field, Stat
from db.goals import Goal
from db.packing import Floats, Ints
from db.pool import Pool
from db.runs import Run
from db.summaries import Matrices

NUMERIC: Final = {"INT", "FLOAT"}
NUMBERS_OF: Final[Mapping[Stat, Sequence[str]]] = {  # what of `Matrices` tells them, beside the counts
    Stat.COUNT: (),
    Stat.FIRST: ("firsts",),
    Stat.LAST: ("lasts",),
    Stat.MIN: ("lows",),
    Stat.MAX: ("highs",),
    Stat.BEST: ("lows", "highs"),
}


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """Numbers of runs, where `has` says so."""

    key: str
    values: Floats | Ints
    has: NDArray[np.bool_]

    @property
    def differs(self) -> bool:
        """Whether any two runs differ; NaN is as NaN, and a run without a number differs from one with."""
        values = self.values[self.has]
        return bool(self.has.any() and not self.has.all()) or not np.array_equal(
            values, np.broadcast_to(values[:1], values.shape), equal_nan=values.dtype.kind == "f"
        )

    @property
    def texts(self) -> Texts:
        """The numbers as texts, that are equal when they are."""
        return [
            repr(value) if has else None for value, has in zip(self.values.tolist(), self.has.tolist(), strict=True)
        ]


FrameColumn: TypeAlias = Column | ParamColumn | NumberColumn


def is_numeric(column: FrameColumn) -> bool:
    """Whether all that is there is a number, and something is."""
    match column:
        case NumberColumn():
            return True
        case ParamColumn():
            types = column.kinds - {None}
            return bool(types) and types <= NUMERIC
    return False


async def read(pool: Pool, scope: Scope, run_ids: Sequence[UUID], fields: Sequence[Field]) -> list[FrameColumn]:
    """A column for each field, with an entry for each run, which are there and seen.

    Raises `Invalid` when they hold too much.
    """
    keys: dict[Area, list[str]] = {}
    for field in fields:
        keys.setdefault(field.area, []).append(field.key)
    params, texts_read, numbers = await asyncio.gather(
        _params(pool, scope, run_ids, keys), _texts(pool, scope, run_ids, keys), _numbers(pool, scope, run_ids, fields)
    )
    columns = {**params, **texts_read, **numbers}
    return [columns.get(field) or Column(field.key, [None] * len(run_ids)) for field in fields]


async def _rows(pool: Pool, scope: Scope, run_ids: Sequence[UUID]) -> list[Run]:
    """The runs, which are there and seen."""
    return [row for row in await runs.by_ids(pool, scope, run_ids) if row is not None]


async def _params(
    pool: Pool, scope: Scope, run_ids: Sequence[UUID], keys: Mapping[Area, Sequence[str]]
) -> dict[Field, FrameColumn]:
    if Area.PARAM not in keys:
        return {}
    columns = await comparisons.params(pool, scope, run_ids, keys=keys[Area.PARAM])
    return {Field(Area.PARAM, column.key): column for column in columns}


async def _texts(
    pool: Pool, scope: Scope, run_ids: Sequence[UUID], keys: Mapping[Area, Sequence[str]]
) -> dict[Field, FrameColumn]:
    """What else is text of the areas asked for."""
    found: dict[Field, FrameColumn] = {}

    def add(area: Area, columns: Iterable[FrameColumn]) -> None:
        found.update((Field(area, column.key), column) for column in columns)

    if Area.TAG in keys:
        add(Area.TAG, await comparisons.tags(pool, scope, run_ids, keys=keys[Area.TAG]))
    if Area.SOURCE in keys:
        add(Area.SOURCE, await comparisons.sources(pool, scope, run_ids))
    if Area.ATTRIBUTE in keys:
        add(Area.ATTRIBUTE, await _attributes(pool, scope, run_ids, keys[Area.ATTRIBUTE]))
    return found


async def _attributes(pool: Pool, scope: Scope, run_ids: Sequence[UUID], names: Sequence[str]) -> list[FrameColumn]:
    rows = await _rows(pool, scope, run_ids)
    columns: list[FrameColumn] = []
    for name in dict.fromkeys(names):
        match Attribute(name):
            case Attribute.DURATION:
                ends = [(row.finished_at or row.created_at) - row.created_at for row in rows]
                has = np.array([row.finished_at is not None for row in rows], np.bool_)
                columns.append(NumberColumn(name, np.array([end.total_seconds() for end in ends]), has))
            case attribute:
                columns.append(Column(name, await _attribute(pool, scope, rows, attribute)))
    return columns


async def _attribute(pool: Pool, scope: Scope, rows: Sequence[Run], attribute: Attribute) -> Texts:
    match attribute:
        case Attribute.ID:
            return [str(row.id) for row in rows]
        case Attribute.NAME:
            return [row.name for row in rows]
        case Attribute.STATUS:
            return [str(row.status) for row in rows]
        case Attribute.EXPERIMENT:
            ids = list({row.experiment_id for row in rows})
            found = await experiments.by_ids(pool, scope, ids)
            names = {each.id: each.name for each in found if each}
            return [names.get(row.experiment_id) for row in rows]
        case Attribute.EXPERIMENT_ID:
            return [str(row.experiment_id) for row in rows]
        case Attribute.USER:
            ids = list({row.created_by for row in rows})
            accounts = {each.id: each.name for each in await access.accounts(pool, ids)}
            return [accounts[row.created_by] for row in rows]
        case Attribute.CREATED_AT:
            return [_time(row.created_at) for row in rows]
        case Attribute.STARTED_AT:
            return [_time(row.started_at) for row in rows]
        case Attribute.FINISHED_AT:
            return [_time(row.finished_at) for row in rows]
        case Attribute.GROUP:
            return [row.group_name for row in rows]
        case Attribute.PARENT:
            return [None if row.parent_id is None else str(row.parent_id) for row in rows]
    raise AssertionError(f"{attribute} has no column")


def _time(time: datetime | None) -> str | None:
    """RFC 3339 in UTC, as times are answered everywhere."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def _numbers(
    pool: Pool, scope: Scope, run_ids: Sequence[UUID], fields: Iterable[Field]
) -> dict[Field, FrameColumn]:
    """The numbers of metrics asked for."""
    asked = [field for field in dict.fromkeys(fields) if field.area is Area.METRIC]
    if not asked:
        return {}
    numbers = {number for field in asked for number in NUMBERS_OF[field.stat]}
    found = await comparisons.metrics(pool, scope, run_ids, keys={field.key for field in asked}, numbers=numbers)
    places = {key: place for place, key in enumerate(found.keys)}
    are_small_better = np.zeros(found.has.shape, np.bool_)
    are_large_better = np.zeros(found.has.shape, np.bool_)
    if any(field.stat is Stat.BEST for field in asked):
        projects = [row.project_id for row in await _rows(pool, scope, run_ids)]
        for each in await goals.of_projects(pool, scope, set(projects), found.keys):
            better = are_small_better if each.goal is Goal.MINIMIZE else are_large_better
            better[places[each.key]] = [project == each.project_id for project in projects]
    best = np.select([are_small_better, are_large_better], [found.lows, found.highs], np.nan)
    return {field: _of_metric(found, best, field, places[field.key]) for field in asked if field.key in places}


def _of_metric(found: Matrices, best: Floats, field: Field, row: int) -> NumberColumn:
    match field.stat:
        case Stat.COUNT:
            return NumberColumn(field.key, found.counts[row], found.has[row])
        case Stat.LAST:
            return NumberColumn(field.key, found.lasts[row], found.has[row])
        case Stat.FIRST:
            return NumberColumn(field.key, found.firsts[row], found.has[row])
        case Stat.MIN | Stat.MAX | Stat.BEST:
            values = {Stat.MIN: found.lows, Stat.MAX: found.highs, Stat.BEST: best}[field.stat][row]
            return NumberColumn(field.key, values, ~np.isnan(values))
