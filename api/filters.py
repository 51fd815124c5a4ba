"""Filters and orders of runs, typed: the same tree of conditions that the texts of `where` give."""

import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Generic, TypeVar

import strawberry

from api.scalars import MetricValue, ParamValue
from db import fields, filter_texts, ids, texts, times
from db.attempts import RunStatus
from db.conditions import (
    All,
    Any,
    Area,
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
from db.errors import Invalid
from db.fields import Kind
from db.filter_texts import DEPTH_MAX, TERMS_MAX, WORDS_MAX

T = TypeVar("T")

ORDERS_MAX: Final = 5


@strawberry.input
class Equals(Generic[T]):
    eq: T | None = strawberry.field(default=None, description="Equal to this.")
    ne: T | None = strawberry.field(default=None, description="Present, and not equal to this.")
    in_: list[T] | None = strawberry.field(default=None, name="in", description="Equal to one of these.")
    not_in: list[T] | None = strawberry.field(default=None, description="Present, and equal to none of these.")
    exists: bool | None = strawberry.field(default=None, description="Whether it is there and not null.")


@strawberry.input
class Ordered(Equals[T]):
    lt: T | None = strawberry.field(default=None, description="Less than this.")
    le: T | None = strawberry.field(default=None, description="Less than this, or equal.")
    gt: T | None = strawberry.field(default=None, description="Greater than this.")
    ge: T | None = strawberry.field(default=None, description="Greater than this, or equal.")


@strawberry.input
class Written(Ordered[T]):
    like: str | None = strawberry.field(default=None, description="% stands for any text, _ for any character.")
    ilike: str | None = strawberry.field(default=None, description="As `like`, whatever the case of either text.")


@strawberry.input
class Keyed:
    key: str = strawberry.field(description="Its key.")


EVERY = "Every part that is given must be true."


@strawberry.input(description=f"What a text must be; texts are ordered by code point. {EVERY}")
class TextFilter(Written[str]):
    pass


@strawberry.input(description=f"What a number must be, by IEEE 754: NaN is only unequal. {EVERY}")
class NumberFilter(Ordered[MetricValue]):
    pass


@strawberry.input(description=f"What a time must be. {EVERY}")
class TimeFilter(Ordered[datetime]):
    pass


@strawberry.input(description=f"Which run it must be. {EVERY}")
class IdFilter(Equals[strawberry.ID]):
    pass


@strawberry.input(description=f"What a status must be. {EVERY}")
class StatusFilter(Equals[RunStatus]):
    pass


@strawberry.input(description=f"What a mark must be. {EVERY}")
class FlagFilter(Equals[bool]):
    pass


@strawberry.input(
    description="What a param must be. A number is compared with numbers, true and false with those, and a text with "
    f"the text of any value. {EVERY}"
)
class ParamFilter(Written[ParamValue], Keyed):
    pass


@strawberry.input(description=f"What a number of a metric must be, by IEEE 754: NaN is only unequal. {EVERY}")
class MetricFilter(Ordered[MetricValue], Keyed):
    stat: Stat = strawberry.field(default=Stat.LAST, description="Which number of its series.")


@strawberry.input(description=f"What a tag must be. {EVERY}")
class TagFilter(Written[str], Keyed):
    pass


@strawberry.input(description="What every run has. Every part that is given must be true.")
class AttributeFilter:
    id: IdFilter | None = strawberry.field(default=None, description="Its id.")
    name: TextFilter | None = strawberry.field(default=None, description="Its name.")
    status: StatusFilter | None = strawberry.field(default=None, description="Its state.")
    experiment: TextFilter | None = strawberry.field(default=None, description="The name of its experiment.")
    experiment_id: IdFilter | None = strawberry.field(default=None, description="Its experiment.")
    user: TextFilter | None = strawberry.field(default=None, description="The name of who started it.")
    created_at: TimeFilter | None = strawberry.field(default=None, description="When the server heard of it.")
    started_at: TimeFilter | None = strawberry.field(default=None, description="When it began, by the client's clock.")
    finished_at: TimeFilter | None = strawberry.field(default=None, description="When it ended.")
    duration_seconds: NumberFilter | None = strawberry.field(default=None, description="How long it took.")
    group: TextFilter | None = strawberry.field(default=None, description="The group that it was given.")
    parent_id: IdFilter | None = strawberry.field(default=None, description="The run that started it.")
    ancestor_id: IdFilter | None = strawberry.field(
        default=None, description="Its parent, the parent of that, and so on: one of them must be so."
    )


@strawberry.input(description="The code that its newest attempt ran. Every part that is given must be true.")
class SourceFilter:
    commit: TextFilter | None = strawberry.field(default=None, description="The git commit.")
    branch: TextFilter | None = strawberry.field(default=None, description="The git branch.")
    remote: TextFilter | None = strawberry.field(default=None, description="Where the repository comes from.")
    dirty: FlagFilter | None = strawberry.field(default=None, description="Whether it had uncommitted changes.")
    entry_point: TextFilter | None = strawberry.field(default=None, description="The program.")


@strawberry.input(description="The datasets that it read: each part must be true of one of them.")
class DatasetFilter:
    name: TextFilter | None = strawberry.field(default=None, description="The name of a dataset.")
    digest: TextFilter | None = strawberry.field(default=None, description="The digest of a dataset.")
    context: TextFilter | None = strawberry.field(default=None, description='What for, such as "training".')


RunFilters = list[Annotated["RunFilter", strawberry.lazy("api.filters")]]


@strawberry.input(
    description="What must be true of a run: every part that is given. A comparison with what a run lacks is false, "
    f"and its `not` true. At most {TERMS_MAX:,} comparisons and listed values, {DEPTH_MAX} levels deep."
)
class RunFilter:
    and_: RunFilters | None = strawberry.field(default=None, name="and", description="All of these are true.")
    or_: RunFilters | None = strawberry.field(default=None, name="or", description="At least one of these is true.")
    not_: Annotated["RunFilter", strawberry.lazy("api.filters")] | None = strawberry.field(
        default=None, name="not", description="This is false."
    )
    param: ParamFilter | None = strawberry.field(default=None, description="One of its params.")
    metric: MetricFilter | None = strawberry.field(default=None, description="One of its metrics.")
    tag: TagFilter | None = strawberry.field(default=None, description="One of its tags.")
    attribute: AttributeFilter | None = strawberry.field(default=None, description="What every run has.")
    source: SourceFilter | None = strawberry.field(default=None, description="The code that it ran.")
    dataset: DatasetFilter | None = strawberry.field(default=None, description="The datasets that it read.")
    mentions: str | None = strawberry.field(
        default=None,
        description=f"Its name or its note has every word of this, whatever the case; at most {WORDS_MAX} words.",
    )

    def condition(self, path: str) -> Condition:
        """What is asked, as a tree. Raises `Invalid`."""
        return _Reader().whole(self, path)


COMPARED: Final = {each.name.lower(): each for each in Operator}
NAMES: Final[Mapping[Area, Iterable[str]]] = {
    Area.ATTRIBUTE: fields.ATTRIBUTES,
    Area.SOURCE: fields.SOURCE,
    Area.DATASET: fields.DATASET,
}


class _Reader:
    """Makes a condition of a filter, within bounds."""

    def __init__(self) -> None:
        self._terms = 0

    def whole(self, given: RunFilter, path: str, depth: int = 0) -> Condition:
        """All that the filter asks."""
        if depth > DEPTH_MAX:
            raise Invalid("the filter is nested too deep", path=path, limit=f"{DEPTH_MAX} levels")
        parts = [*self._joined(given, path, depth), *self._areas(given, path)]
        if given.mentions is not None:
            self._count(1, path)
            parts.append(_mentions(given.mentions, f"{path}.mentions"))
        return _all(parts, path, "an empty filter asks nothing; give it a part, or leave it out")

    def _joined(self, given: RunFilter, path: str, depth: int) -> Iterator[Condition]:
        """What `and`, `or` and `not` ask."""
        if given.and_ is not None:
            members = [self.whole(one, f"{path}.and[{index}]", depth + 1) for index, one in enumerate(given.and_)]
            yield _all(members, f"{path}.and", "an empty list asks nothing; leave it out")
        if given.or_ is not None:
            members = [self.whole(one, f"{path}.or[{index}]", depth + 1) for index, one in enumerate(given.or_)]
            if not members:
                raise Invalid(f"{path}.or is empty", path=f"{path}.or", hint="leave it out")
            yield Any(tuple(members)) if len(members) > 1 else members[0]
        if given.not_ is not None:
            yield Not(self.whole(given.not_, f"{path}.not", depth + 1))

    def _areas(self, given: RunFilter, path: str) -> Iterator[Condition]:
        """What is asked of params, metrics, tags and the rest."""
        if given.param is not None:
            yield self._compared(_field(Area.PARAM, given.param, path), given.param, f"{path}.param")
        if given.metric is not None:
            yield self._compared(_field(Area.METRIC, given.metric, path), given.metric, f"{path}.metric")
        if given.tag is not None:
            yield self._compared(_field(Area.TAG, given.tag, path), given.tag, f"{path}.tag")
        for area, several in (
            (Area.ATTRIBUTE, given.attribute),
            (Area.SOURCE, given.source),
            (Area.DATASET, given.dataset),
        ):
            if several is not None:
                yield self._named(area, several, f"{path}.{area.lower()}")

    def _named(self, area: Area, several: object, path: str) -> Condition:
        """What is asked of each field of an area whose names are known."""
        parts = []
        for name in NAMES[area]:
            one = getattr(several, _snake(name))
            if one is not None:
                parts.append(self._compared(Field(area, name), one, f"{path}.{name}"))
        return _all(parts, path, "name a field of it")

    def _compared(self, field: Field, one: Equals[typing.Any], path: str) -> Condition:
        """What is asked of one field."""
        parts: list[Condition] = []
        for name, operator in COMPARED.items():
            value = getattr(one, name, None)
            if value is not None:
                parts.append(Comparison(field, operator, _value(field, operator, value, f"{path}.{name}")))
        if one.in_ is not None:
            parts.append(self._one_of(field, one.in_, f"{path}.in"))
        if one.not_in is not None:
            parts.append(filter_texts.has_other(field, self._one_of(field, one.not_in, f"{path}.notIn")))
        if one.exists is not None:
            parts.append(Exists(field) if one.exists else Not(Exists(field)))
        self._count(len(parts), path)
        return _all(parts, path, "give an operator, such as eq")

    def _one_of(self, field: Field, values: list[typing.Any], path: str) -> OneOf:
        self._count(len(values), path)
        kept = [_value(field, Operator.EQ, value, f"{path}[{index}]") for index, value in enumerate(values)]
        return OneOf(field, tuple(kept))

    def _count(self, terms: int, path: str) -> None:
        self._terms += terms
        if self._terms > TERMS_MAX:
            raise Invalid("the filter has too many terms", path=path, limit=f"{TERMS_MAX:,} terms")


def _mentions(text: str, path: str) -> Mentions:
    words = len(text.split())
    if words > WORDS_MAX:
        raise Invalid(f"{path} has {words} words", path=path, limit=f"{WORDS_MAX} words", hint="search for fewer")
    return Mentions(texts.storable(text, path))


def _all(parts: list[Condition], path: str, hint: str) -> Condition:
    if not parts:
        raise Invalid(f"{path} is empty", path=path, hint=hint)
    return All(tuple(parts)) if len(parts) > 1 else parts[0]


def _field(area: Area, one: Keyed, path: str) -> Field:
    key = texts.storable(one.key, f"{path}.{area.lower()}.key")
    return Field(area, key, one.stat) if isinstance(one, MetricFilter) else Field(area, key)


def _snake(name: str) -> str:
    """The attribute of an input whose field has this name."""
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


def _value(field: Field, operator: Operator, value: typing.Any, path: str) -> Literal:
    """A value that the field is compared with."""
    match fields.kind(field), value:
        case Kind.ID, str():
            return ids.parse(value, path)
        case Kind.TIME, datetime():
            checked = times.checked(value, path)
            assert checked is not None
            return checked
        case _, str():
            return texts.storable(value, path)
        case _, bool() if operator in filter_texts.ORDERED:
            raise Invalid(f"{path}: true and false have no order", path=path)
        case _, int() if abs(value) >= 2**63:
            raise Invalid(f"{path} is too large for an integer", path=path, limit="-2^63 to 2^63-1")
        case _, bool() | int() | float():
            return value
    raise Invalid(f"{path} is neither a text nor a number, true or false", path=path)


@strawberry.input(
    description="What to order by: an `area` and its `key`, or the same as a `text`. In both directions numbers come "
    "first, then NaN, then texts, then runs without it."
)
class RunOrder:
    text: str | None = strawberry.field(
        default=None, description='As in `where`, such as "max(metrics.accuracy) DESC", "params.lr" or "createdAt".'
    )
    area: Area | None = strawberry.field(default=None, description="Where the field lies; not DATASET.")
    key: str | None = strawberry.field(
        default=None, description='Its key; of attributes the name, such as "createdAt".'
    )
    stat: Stat = strawberry.field(default=Stat.LAST, description="Which number of a metric.")
    descending: bool = strawberry.field(default=False, description="The greatest first; with `text` write DESC there.")

    def order(self, path: str) -> Order:
        """The order, as the tree of conditions has it. Raises `Invalid`."""
        if self.text is not None:
            if self.area is not None or self.key is not None:
                raise Invalid(f"{path} has both a text and a key", path=path, hint="leave one of them out")
            found = filter_texts.parse_order(self.text, f"{path}.text")
            return Order(found.field, is_descending=found.is_descending != self.descending)
        if self.area is None or self.key is None:
            raise Invalid(f"{path} has neither a text nor an area and a key", path=path, hint="give one of them")
        try:
            field = fields.find(fields.AREAS[self.area][0], texts.storable(self.key, f"{path}.key"))
        except fields.Unknown as unknown:
            hint = f"did you mean {', '.join(unknown.suggestions)}?"
            raise Invalid(unknown.message, path=f"{path}.key", hint=hint) from unknown
        if not filter_texts.orderable(field):
            raise Invalid(f"{path}: a run may have several of these, so they give no order", path=path)
        return Order(replace(field, stat=self.stat) if field.area is Area.METRIC else field, self.descending)


def orders(given: list[RunOrder] | None, path: str) -> list[Order]:
    """The orders, the first one first; none when nothing was given. Raises `Invalid`."""
    if given is None:
        return []
    if len(given) > ORDERS_MAX:
        raise Invalid(f"{path} has {len(given)} orders", path=path, limit=f"{ORDERS_MAX} orders")
    return [one.order(f"{path}[{index}]") for index, one in enumerate(given)]


@strawberry.type(description="What is known of a filter text.")
class FilterCheck:
    ok: bool = strawberry.field(description="Whether it is a filter.")
    message: str | None = strawberry.field(description="What is wrong; null when it is ok.")
    position: int | None = strawberry.field(description="Where it is wrong, in characters from 0; null when it is ok.")
    suggestions: list[str] = strawberry.field(description="What could stand there instead.")


@strawberry.type
class FilterQuery:
    @strawberry.field(description="Whether a text can be used as `where`, and where it is wrong; for search boxes.")
    def check_filter(
        self, where: Annotated[str, strawberry.argument(description="The text, as it is being typed.")]
    ) -> FilterCheck:
        mistake = filter_texts.check(where)
        if mistake is None:
            return FilterCheck(ok=True, message=None, position=None, suggestions=[])
        return FilterCheck(
            ok=False, message=mistake.message, position=mistake.position, suggestions=list(mistake.suggestions)
        )
