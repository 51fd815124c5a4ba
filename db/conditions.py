"""Conditions: what is asked of runs, as a tree. Texts and inputs become one, and only `db/filters.py` makes SQL of it.

A condition is true or false, never unknown: a comparison with something that a run lacks is false, its negation true.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID


class Area(StrEnum):
    """Where a field of a run lies."""

    ATTRIBUTE = "ATTRIBUTE"
    PARAM = "PARAM"
    METRIC = "METRIC"
    TAG = "TAG"
    SOURCE = "SOURCE"
    DATASET = "DATASET"


class Stat(StrEnum):
    """Which number of a series; BEST is MIN or MAX, as the goal of the metric says."""

    LAST = "LAST"
    FIRST = "FIRST"
    MIN = "MIN"
    MAX = "MAX"
    BEST = "BEST"
    COUNT = "COUNT"


class Attribute(StrEnum):
    """What every run has; the keys of the area ATTRIBUTE. A note is the tag `note`."""

    ID = "id"
    NAME = "name"
    STATUS = "status"
    EXPERIMENT = "experiment"  # its name
    USER = "user"  # the name of who started it
    CREATED_AT = "createdAt"
    STARTED_AT = "startedAt"
    FINISHED_AT = "finishedAt"
    DURATION = "durationSeconds"
    GROUP = "group"
    PARENT = "parentId"
    ANCESTOR = "ancestorId"  # its parent, or the parent of an ancestor; only compared, not ordered by
    EXPERIMENT_ID = "experimentId"
    USER_ID = "userId"


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a run has one of: a param, a tag, a number of a metric; of datasets any of several."""

    area: Area
    key: str
    stat: Stat = Stat.LAST


Literal: TypeAlias = str | int | float | bool | datetime | UUID


class Operator(StrEnum):
    """How a field is compared. `LIKE` has `%` for any text and `_` for any character; `ILIKE` ignores case."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    LIKE = "LIKE"
    ILIKE = "ILIKE"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The field compared with a value.

    A number compares with numbers, by IEEE 754: NaN is only unequal. A text compares with the text of a value, which a
    param of any type has; by order only with texts, by code point. A param that is null is one that the run lacks.
    Of datasets, and of ancestors, it is true when it is true of one of them.
    """

    field: Field
    operator: Operator
    value: Literal


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field is equal to one of the values, as `Comparison` says."""

    field: Field
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """The run has the field, and it is not null."""

    field: Field


@dataclass(frozen=True, slots=True)
class Mentions:
    """Every word of the text is in the name or in the note, whatever its case."""

    text: str


@dataclass(frozen=True, slots=True)
class All:
    """Every one is true; true when there is none."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one is true; false when there is none."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It is false."""

    condition: "Condition"


Condition: TypeAlias = Comparison | OneOf | Exists | Mentions | All | Any | Not


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    """The conditions that all have to be true for it to be true."""
    if isinstance(condition, All):
        return tuple(each for one in condition.conditions for each in conjuncts(one))
    return (condition,)


def fields_of(condition: Condition) -> Iterator[Field]:
    """All fields that it asks for."""
    match condition:
        case All(conditions) | Any(conditions):
            for one in conditions:
                yield from fields_of(one)
        case Not(inner):
            yield from fields_of(inner)
        case Comparison(field) | OneOf(field) | Exists(field):
            yield field


@dataclass(frozen=True, slots=True)
class Order:
    """By this field: numbers, then NaN, then texts, then runs without it, in both directions; descending, each of these
    begins with its greatest.

    Texts go by the code points of their first 100 characters. What is equal goes by the id of the run, in the direction
    of the last order.
    """

    field: Field
    is_descending: bool = False


NEWEST_FIRST: Sequence[Order] = (Order(Field(Area.ATTRIBUTE, Attribute.CREATED_AT), is_descending=True),)
