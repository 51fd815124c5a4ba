"""Random conditions and orders about given runs, and how the typed door writes them."""

import math
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any as AnyType
from typing import TypeVar
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
from tests.finding.naive import NaiveRun, text_of, values

T = TypeVar("T")

EQUALITY = [Operator.EQ, Operator.NE]
ORDERED = [*EQUALITY, Operator.LT, Operator.LE, Operator.GT, Operator.GE]
WRITTEN = [*ORDERED, Operator.LIKE, Operator.ILIKE]
ATTRIBUTES = {
    Attribute.ID: EQUALITY,
    Attribute.NAME: WRITTEN,
    Attribute.STATUS: EQUALITY,
    Attribute.EXPERIMENT: WRITTEN,
    Attribute.EXPERIMENT_ID: EQUALITY,
    Attribute.USER: WRITTEN,
    Attribute.GROUP: WRITTEN,
    Attribute.CREATED_AT: ORDERED,
    Attribute.STARTED_AT: ORDERED,
    Attribute.FINISHED_AT: ORDERED,
    Attribute.DURATION: ORDERED,
    Attribute.PARENT: EQUALITY,
    Attribute.ANCESTOR: EQUALITY,
}
LITERALS: list[Literal] = [1, 0.01, True, False]
SOURCE = {"commit": WRITTEN, "branch": WRITTEN, "remote": WRITTEN, "dirty": EQUALITY, "entryPoint": WRITTEN}


class Randomly:
    """Asks random things about the runs, so that many answers are neither all nor none."""

    def __init__(self, seed: int, runs: Sequence[NaiveRun], goals: Mapping[str, Stat]) -> None:
        self._random = random.Random(seed)
        self._runs = runs
        self._goals = goals
        self._found: dict[Field, Sequence[Literal]] = {}
        self._params = 2 * sorted({key for run in runs for key in run.params}) + ["nowhere"]
        self._metrics = 4 * sorted({key for run in runs for key in run.metrics}) + ["nowhere"]
        self._tags = 4 * sorted({key for run in runs for key in run.tags}) + ["nowhere"]
        self._words = sorted({word for run in runs for word in f"{run.name} {run.tags.get('note', '')}".split()})

    def condition(self, depth: int = 3) -> Condition:
        """A tree, mostly of a few comparisons."""
        chance = self._random.random()
        if depth == 0 or chance < 0.45:
            return self._term()
        if chance < 0.6:
            return Not(self.condition(depth - 1))
        parts = tuple(self.condition(depth - 1) for _ in range(self._random.choice([2, 2, 2, 3])))
        return All(parts) if chance < 0.8 else Any(parts)

    def orders(self) -> list[Order]:
        """One to three."""
        count = self._random.choice([1, 1, 2, 3])
        return [Order(self._orderable(), self._random.random() < 0.5) for _ in range(count)]

    def _orderable(self) -> Field:
        while True:
            field, _ = self._field()
            if field.area is not Area.DATASET and field.key != Attribute.ANCESTOR:
                return field

    def _term(self) -> Condition:
        chance = self._random.random()
        if chance < 0.08:
            return Mentions(" ".join(self._cased(self._pick(self._words)) for _ in range(self._pick([1, 1, 2]))))
        field, operators = self._field()
        if chance < 0.18:
            return Exists(field)
        if chance < 0.3:
            return OneOf(field, tuple(self._value(field) for _ in range(self._pick([1, 2, 2, 3, 5]))))
        operator = self._pick(operators)
        value = self._value(field)
        if operator in {Operator.LIKE, Operator.ILIKE}:
            return Comparison(field, operator, self._pattern(text_of(value)))
        if isinstance(value, bool) and operator not in EQUALITY:
            operator = Operator.EQ
        return Comparison(field, operator, value)

    def _field(self) -> tuple[Field, list[Operator]]:
        """A field and what it may be compared by; now and then one that no run has."""
        match self._random.choices(list(Area), [4, 5, 5, 3, 2, 1])[0]:
            case Area.ATTRIBUTE:
                attribute = self._pick(list(ATTRIBUTES))
                return Field(Area.ATTRIBUTE, attribute), ATTRIBUTES[attribute]
            case Area.PARAM:
                return Field(Area.PARAM, self._pick(self._params)), WRITTEN
            case Area.METRIC:
                return Field(Area.METRIC, self._pick(self._metrics), self._pick(list(Stat))), ORDERED
            case Area.TAG:
                return Field(Area.TAG, self._pick(self._tags)), WRITTEN
            case Area.SOURCE:
                key = self._pick(list(SOURCE))
                return Field(Area.SOURCE, key), SOURCE[key]
        return Field(Area.DATASET, self._pick(["name", "digest", "context"])), WRITTEN

    def _value(self, field: Field) -> Literal:
        """Mostly what a run has of the field, or close to it."""
        if field not in self._found:
            found = [value for run in self._runs for value in values(run, field, self._goals)]
            plain = [value for value in found if not isinstance(value, list)]
            self._found[field] = plain or ([0.0, math.nan] if field.area is Area.METRIC else ["", "main", "0.01"])
        value = self._pick(self._found[field])
        chance = self._random.random()
        match value:
            case bool() | UUID():
                return value
            case datetime():
                return value if chance < 0.6 else value + timedelta(seconds=self._random.uniform(-9, 9))
            case int() | float() if field.area is Area.PARAM:
                return text_of(value) if chance < 0.2 or not math.isfinite(value) else self._number(value)
            case int() | float():
                return self._number(value) if chance < 0.9 else self._pick([math.inf, math.nan])
            case str() if field.area is Area.PARAM and chance < 0.1:
                return self._pick(LITERALS)
            case str() if field.key == Attribute.STATUS:
                return value
        return value if chance < 0.8 else value[: len(value) // 2]

    def _number(self, value: float) -> float:
        """The number or one that is near."""
        return self._pick([value, value, value, value + 1, -value, 0.5, 0])

    def _pattern(self, text: str) -> str:
        """A pattern that is about the text."""
        start, end = sorted(self._random.choices(range(len(text) + 1), k=2))
        match self._random.randrange(4):
            case 0:
                return f"%{self._cased(text[start:end])}%"
            case 1:
                return f"{text[:end]}%"
            case 2:
                return f"%{text[start:]}"
        return self._cased(text[:start] + "_" + text[start + 1 :])

    def _cased(self, text: str) -> str:
        return text.upper() if self._random.random() < 0.3 else text

    def _pick(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)


NAMES = {operator: operator.name.lower() for operator in Operator}


def typed(condition: Condition) -> dict[str, AnyType]:
    """The condition as a `RunFilter`, in JSON."""
    match condition:
        case All(conditions):
            return {"and": [typed(one) for one in conditions]}
        case Any(conditions):
            return {"or": [typed(one) for one in conditions]}
        case Not(Exists(field)):
            return _of_field(field, {"exists": False})
        case Not(inner):
            return {"not": typed(inner)}
        case Exists(field):
            return _of_field(field, {"exists": True})
        case Mentions(text):
            return {"mentions": text}
        case OneOf(field, several):
            return _of_field(field, {"in": [_json(value) for value in several]})
        case Comparison(field, operator, value):
            return _of_field(field, {NAMES[operator]: _json(value)})


def _of_field(field: Field, asked: dict[str, AnyType]) -> dict[str, AnyType]:
    if field.area in {Area.PARAM, Area.TAG}:
        return {field.area.lower(): {"key": field.key, **asked}}
    if field.area is Area.METRIC:
        return {"metric": {"key": field.key, "stat": field.stat, **asked}}
    return {field.area.lower(): {field.key: asked}}


def typed_order(order: Order) -> dict[str, AnyType]:
    """The order as a `RunOrder`, in JSON."""
    field = order.field
    return {"area": field.area, "key": field.key, "stat": field.stat, "descending": order.is_descending}


def _json(value: Literal) -> AnyType:
    match value:
        case bool():
            return value
        case float() if not math.isfinite(value):
            return text_of(value)
        case datetime() | UUID():
            return value.isoformat() if isinstance(value, datetime) else str(value)
    return value
