"""What a condition means, told over plain Python values: slow, short, and written without a look at the SQL."""

import math
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from db.conditions import (
    All,
    Any,
    Area,
    Attribute,
    Comparison,
    Condition,
    Exists,
    Field,
    Literal,
    Mentions,
    Not,
    OneOf,
    Operator,
    Order,
    Stat,
)

Scalar: TypeAlias = str | int | float | bool | datetime | UUID | list[object]


@dataclass
class NaiveRun:
    """A run as its logger knows it, with the times that the server gave it."""

    id: UUID
    name: str
    experiment: str
    user: str
    status: str = "RUNNING"
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    group: str | None = None
    ancestors: Sequence[UUID] = ()  # the nearest first
    params: Mapping[str, Scalar | None] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)  # in the order of steps
    tags: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, str | bool] = field(default_factory=dict)
    datasets: Sequence[Mapping[str, str]] = ()
    experiment_id: UUID | None = None


def values(run: NaiveRun, asked: Field, goals: Mapping[str, Stat]) -> list[Scalar]:
    """What the run has of the field; more than one only of datasets and ancestors."""
    match asked.area:
        case Area.ATTRIBUTE:
            found = _attribute(run, Attribute(asked.key))
        case Area.PARAM:
            found = [run.params.get(asked.key)]
        case Area.METRIC:
            found = [
                _number(run.metrics.get(asked.key, ()), goals.get(asked.key) if asked.stat is Stat.BEST else asked.stat)
            ]
        case Area.TAG:
            found = [run.tags.get(asked.key)]
        case Area.SOURCE:
            found = [run.source.get(asked.key)]
        case Area.DATASET:
            found = [one.get(asked.key) for one in run.datasets]
    return [value for value in found if value is not None]


def _attribute(run: NaiveRun, attribute: Attribute) -> Sequence[Scalar | None]:
    match attribute:
        case Attribute.DURATION:
            if run.finished_at is None or run.created_at is None:
                return []
            return [(run.finished_at - run.created_at).total_seconds()]
        case Attribute.PARENT:
            return run.ancestors[:1]
        case Attribute.ANCESTOR:
            return run.ancestors
    plain: dict[Attribute, Scalar | None] = {
        Attribute.ID: run.id,
        Attribute.NAME: run.name,
        Attribute.STATUS: run.status,
        Attribute.EXPERIMENT: run.experiment,
        Attribute.EXPERIMENT_ID: run.experiment_id,
        Attribute.USER: run.user,
        Attribute.CREATED_AT: run.created_at,
        Attribute.STARTED_AT: run.started_at,
        Attribute.FINISHED_AT: run.finished_at,
        Attribute.GROUP: run.group,
    }
    return [plain[attribute]]


def _number(series: Sequence[float], stat: Stat | None) -> float | None:
    finite = [value for value in series if math.isfinite(value)]
    match stat:
        case Stat.LAST if series:
            return series[-1]
        case Stat.FIRST if series:
            return series[0]
        case Stat.COUNT if series:
            return len(series)
        case Stat.MIN if finite:
            return min(finite)
        case Stat.MAX if finite:
            return max(finite)
    return None


def holds(condition: Condition, run: NaiveRun, goals: Mapping[str, Stat]) -> bool:
    """Whether it is true of the run."""
    match condition:
        case All(conditions):
            return all(holds(one, run, goals) for one in conditions)
        case Any(conditions):
            return any(holds(one, run, goals) for one in conditions)
        case Not(inner):
            return not holds(inner, run, goals)
        case Exists(asked):
            return bool(values(run, asked, goals))
        case OneOf(asked, wanted):
            return any(_is(value, Operator.EQ, one) for value in values(run, asked, goals) for one in wanted)
        case Comparison(asked, operator, wanted):
            return any(_is(value, operator, wanted) for value in values(run, asked, goals))
        case Mentions(text):
            said = f"{run.name}\n{run.tags.get('note', '')}".lower()
            return all(word in said for word in text.lower().split())


def _is(value: Scalar, operator: Operator, wanted: Literal) -> bool:
    """Whether a value that the run has compares so with the wanted one."""
    kind = _kind(wanted)
    if kind == "text":
        if operator in {Operator.LT, Operator.LE, Operator.GT, Operator.GE}:
            return _kind(value) == "text" and _compares(value, operator, wanted)
        return _compares(text_of(value), operator, wanted)
    return _kind(value) == kind and _compares(value, operator, wanted)


def _kind(value: object) -> str:
    match value:
        case bool():
            return "flag"
        case int() | float():
            return "number"
        case str():
            return "text"
        case datetime():
            return "time"
        case UUID():
            return "id"
    return "json"


def text_of(value: object) -> str:
    """The text of a value of any type."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case list():
            return "[" + ",".join(f'"{one}"' if isinstance(one, str) else text_of(one) for one in value) + "]"
    return str(value)


def _compares(value: typing.Any, operator: Operator, wanted: typing.Any) -> bool:
    match operator:
        case Operator.EQ:
            return bool(value == wanted)
        case Operator.NE:
            return bool(value != wanted)
        case Operator.LT:
            return bool(value < wanted)
        case Operator.LE:
            return bool(value <= wanted)
        case Operator.GT:
            return bool(value > wanted)
        case Operator.GE:
            return bool(value >= wanted)
        case Operator.LIKE:
            return _is_like(value, wanted)
        case Operator.ILIKE:
            return _is_like(value.lower(), wanted.lower())


def _is_like(text: str, pattern: str) -> bool:
    parts = {"%": ".*", "_": "."}
    return re.fullmatch("".join(parts.get(each) or re.escape(each) for each in pattern), text, re.DOTALL) is not None


def ordered(runs: Iterable[NaiveRun], orders: Sequence[Order], goals: Mapping[str, Stat]) -> list[NaiveRun]:
    """The runs by the first order, the equal ones by the next, and by their ids at last, as the last order goes."""
    found = sorted(runs, key=lambda run: run.id, reverse=orders[-1].is_descending)
    for order in reversed(orders):
        found.sort(key=lambda run: _place(values(run, order.field, goals)), reverse=order.is_descending)
        found.sort(key=lambda run: _group(values(run, order.field, goals)))
    return found


def _place(of_run: Sequence[Scalar]) -> tuple[str, typing.Any]:
    """Where it stands among those of its kind."""
    kind = _kind(of_run[0]) if of_run else "nothing"
    match kind:
        case "number":
            return kind, 0.0 if _group(of_run) == 1 else of_run[0]
        case "time" | "id":
            return kind, of_run[0]
        case "nothing":
            return kind, 0
    return "text", text_of(of_run[0])[:100]


def _group(of_run: Sequence[Scalar]) -> int:
    """Numbers, then NaN, then texts, then nothing."""
    if not of_run:
        return 3
    if _kind(of_run[0]) in {"text", "flag", "json"}:
        return 2
    return 1 if text_of(of_run[0]) == "NaN" else 0
