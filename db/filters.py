"""Filters: SQL that finds runs. The only place that assembles SQL: of fixed pieces, with every value as an argument.

Postgres cannot estimate what is asked here, so the pieces leave it no choice: a condition on a run is looked up by the
keys of the run's own rows (`offset 0` keeps it from becoming a join), or is in a set of runs that an index gives.
"""
# ruff: noqa: S608 - assembling SQL is what this module is for, and it does so of its own pieces

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from db import fields
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
from db.errors import Invalid
from db.fields import Kind

TEXT_ORDERED: Final = 100  # characters of a text that tell its place
EQUAL: Final = {Operator.EQ, Operator.NE}
LIKES: Final = {Operator.LIKE: "like", Operator.ILIKE: "ilike"}
RUN_COLUMNS: Final = (
    "id", "project_id", "experiment_id", "parent_id", "name", "status", "attempt", "created_by", "created_at",
    "started_at", "finished_at", "group_name", "ancestor_ids",
)  # fmt: skip
ID_COLUMNS: Final = ("id",)


# The columns of what every run has; a name is looked up in its table.
ATTRIBUTES: Final[dict[Attribute, str]] = {
    Attribute.ID: "run.id",
    Attribute.NAME: "run.name",
    Attribute.STATUS: "run.status",
    Attribute.EXPERIMENT: "experiment.name",
    Attribute.USER: "account.name",
    Attribute.CREATED_AT: "run.created_at",
    Attribute.STARTED_AT: "run.started_at",
    Attribute.FINISHED_AT: "run.finished_at",
    Attribute.DURATION: "extract(epoch from run.finished_at - run.created_at)::float8",
    Attribute.GROUP: "run.group_name",
    Attribute.PARENT: "run.parent_id",
    Attribute.ANCESTOR: "ancestor.id",
    Attribute.EXPERIMENT_ID: "run.experiment_id",
    Attribute.USER_ID: "run.created_by",
}
ALWAYS_THERE: Final = {
    Attribute.ID, Attribute.NAME, Attribute.STATUS, Attribute.EXPERIMENT, Attribute.USER, Attribute.CREATED_AT,
}  # fmt: skip
SOURCE: Final[dict[str, str]] = {
    "commit": "source.commit_id",
    "branch": "source.branch",
    "remote": "source.remote",
    "dirty": "source.is_dirty",
    "entryPoint": "source.entry_point",
}
DATASET: Final[dict[str, str]] = {
    "name": "dataset.name",
    "digest": "dataset.digest",
    "context": "nullif(run_input.context, '')",
}
STATS: Final[dict[Stat, str]] = {
    Stat.LAST: "metric.last",
    Stat.FIRST: "metric.first",
    Stat.MIN: "metric.min",
    Stat.MAX: "metric.max",
    Stat.COUNT: "metric.count::float8",
    Stat.BEST: "(select case metric_goal.goal when 'MINIMIZE' then metric.min when 'MAXIMIZE' then metric.max end "
    "from metric_goal where metric_goal.project_id = metric.project_id and metric_goal.key = metric.key)",
}
# The numbers with an index, and which rows are in it: all but those whose three are the same, which one index has for
# all. Each is said in the words of its index, or Postgres would not take it.
OF_ONE_NUMBER: Final = (
    "(select run_id, project_id, key, last, last as min, last as max from metric where min = last and max = last)"
)
OTHERS: Final = "metric.min <> metric.last or metric.max <> metric.last"
WALKED_STATS: Final[dict[Stat, str]] = {
    Stat.LAST: f"({OTHERS} or metric.min is null)",
    Stat.MIN: f"({OTHERS})",
    Stat.MAX: f"({OTHERS})",
}


@dataclass(frozen=True, slots=True)
class Reach:
    """Which runs may be seen: all in the projects `readable`, and in `own` those that the account made."""

    readable: tuple[UUID, ...]
    own: tuple[UUID, ...]
    account_id: UUID

    @property
    def projects(self) -> list[UUID]:
        """All of them."""
        return [*self.readable, *self.own]


@dataclass(slots=True)
class Statement:
    """SQL in the making."""

    reach: Reach
    arguments: list[object] = field(default_factory=list)
    text: str = ""

    def bind(self, value: object, type_: str) -> str:
        """The value as an argument."""
        self.arguments.append(value)
        return f"${len(self.arguments)}::{type_}"

    def projects(self) -> str:
        """The projects, to be compared with."""
        projects = self.reach.projects
        return self.bind(projects[0], "uuid") if len(projects) == 1 else f"any ({self.bind(projects, 'uuid[]')})"


# What a condition says of one run.


def holds(condition: Condition, sql: Statement, metric: str = "metric", *, reads_sets: bool = False) -> str:
    """True or false, of the row `run`; `metric` is the relation that has the numbers of its metrics.

    With `reads_sets` the whole sets that indexes give are read at first, which pays when it is asked of many runs.
    """
    if reads_sets and isinstance(condition, Comparison | OneOf | Exists):
        rows = runs_of(condition, sql)
        if rows is not None:
            return _is_among(rows)
    match condition:
        case All(conditions):
            parts = [holds(one, sql, metric, reads_sets=reads_sets) for one in sorted(conditions, key=cost)]
            return "(" + (" and ".join(parts) or "true") + ")"
        case Any(conditions):
            parts = [holds(one, sql, metric, reads_sets=reads_sets) for one in sorted(conditions, key=cost)]
            return "(" + (" or ".join(parts) or "false") + ")"
        case Not(inner):
            return f"not {holds(inner, sql, metric, reads_sets=reads_sets)}"
        case Mentions(text):
            return _mentioned(text.split(), sql)
        case Comparison(asked, operator, value):
            return _of_field(asked, sql, metric, lambda kind, column: _compared(kind, column, operator, value, sql))
        case OneOf(asked, values):
            return _of_field(asked, sql, metric, lambda kind, column: _one_of(kind, column, values, sql))
        case Exists(asked):
            return _of_field(asked, sql, metric, _present)


Test = Callable[[Kind, str], str]


def cost(condition: Condition) -> int:
    """About how many microseconds it takes to tell of a run."""
    match condition:
        case All(conditions) | Any(conditions):
            return sum(cost(one) for one in conditions)
        case Not(inner):
            return cost(inner)
        case Mentions():
            return 20
        case Comparison(asked, Operator.EQ) | OneOf(asked):
            return 1 if asked.area is Area.ATTRIBUTE else 4
        case Comparison(asked) | Exists(asked):
            return 1 if asked.area is Area.ATTRIBUTE else 5


def _is_among(rows: str) -> str:
    """Whether the run is one of these, read once into a hash table; `is true` keeps it from becoming a join."""
    return f"(run.id in ({rows})) is true"


def _of_field(asked: Field, sql: Statement, metric: str, test: Test) -> str:
    """Whether the run has such a field and the test is true of it."""
    match asked.area:
        case Area.ATTRIBUTE:
            return _of_attribute(Attribute(asked.key), sql, test)
        case Area.PARAM:
            key = sql.bind(asked.key, "text")
            return (
                f"exists (select from param where param.run_id = run.id and param.key = {key} "
                f"and {test(Kind.ANY, 'param')} offset 0)"
            )
        case Area.TAG:
            key = sql.bind(asked.key, "text")
            return (
                f"exists (select from tag where tag.run_id = run.id and tag.key = {key} "
                f"and {test(Kind.TEXT, 'tag.value')} offset 0)"
            )
        case Area.METRIC:
            key = sql.bind(asked.key, "text")
            return (
                f"exists (select from {metric} as metric where metric.run_id = run.id and metric.key = {key} "
                f"and {test(Kind.NUMBER, STATS[asked.stat])} offset 0)"
            )
        case Area.SOURCE:
            return (
                "exists (select from source where source.run_id = run.id and source.attempt = run.attempt "
                f"and {test(*_known(SOURCE, asked))} offset 0)"
            )
        case Area.DATASET:
            return (
                "exists (select from run_input join dataset on dataset.id = run_input.dataset_id "
                f"where run_input.run_id = run.id and {test(*_known(DATASET, asked))} offset 0)"
            )


def _of_attribute(attribute: Attribute, sql: Statement, test: Test) -> str:
    kind, column = _attribute(attribute)
    match attribute:
        case Attribute.EXPERIMENT:
            return f"(run.experiment_id in ({_experiments(sql, test)})) is true"
        case Attribute.USER:
            return f"(run.created_by in (select account.id from account where {test(kind, column)})) is true"
        case Attribute.ANCESTOR:
            return f"exists (select from unnest(run.ancestor_ids) as ancestor (id) where {test(kind, column)} offset 0)"
    return f"({test(kind, column)}) is true"


def _experiments(sql: Statement, test: Test) -> str:
    return (
        f"select experiment.id from experiment where experiment.project_id = {sql.projects()} "
        f"and {test(Kind.TEXT, 'experiment.name')}"
    )


def _known(columns: dict[str, str], asked: Field) -> tuple[Kind, str]:
    if asked.key not in columns:
        raise Invalid(f"there is no field {asked.area.lower()}.{asked.key}", hint=f"one of {', '.join(columns)}")
    return fields.kind(asked), columns[asked.key]


def _attribute(attribute: Attribute) -> tuple[Kind, str]:
    """Its kind and its column; a status is a text."""
    kind = fields.kind(Field(Area.ATTRIBUTE, attribute))
    return Kind.TEXT if kind is Kind.STATUS else kind, ATTRIBUTES[attribute]


def _mentioned(words: Sequence[str], sql: Statement) -> str:
    """Whether each word is in the name or in the note, which is read once."""
    patterns = [sql.bind(f"%{_unescaped(word)}%", "text") for word in words]
    in_name = [f"run.name ilike {pattern}" for pattern in patterns]
    in_either = [f"(run.name ilike {pattern} or tag.value ilike {pattern})" for pattern in patterns]
    return (
        f"({_all(in_name)} or exists (select from tag "
        f"where tag.run_id = run.id and tag.key = 'note' and {_all(in_either)} offset 0))"
    )


def _unescaped(text: str) -> str:
    """The text with everything in it meant literally in a pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _present(kind: Kind, column: str) -> str:
    return f"{column}.type <> 'NULL'" if kind is Kind.ANY else f"{column} is not null"


def _compared(kind: Kind, column: str, operator: Operator, value: Literal, sql: Statement) -> str:
    """The comparison with a column; null when that is null."""
    match kind, value:
        case Kind.ANY, bool() if operator in EQUAL:
            return f"({column}.type = 'BOOL' and {column}.text {_sign(operator)} '{str(value).lower()}')"
        case Kind.ANY, str() if operator in EQUAL or operator in LIKES:
            return f"({column}.type <> 'NULL' and {_text_compared(f'{column}.text', operator, value, sql)})"
        case Kind.ANY, str():
            return f"({column}.type = 'STRING' and {_text_compared(f'{column}.text', operator, value, sql)})"
        case Kind.FLAG, bool() if operator in EQUAL:
            return f"{column} {_sign(operator)} {sql.bind(value, 'boolean')}"
        case ((Kind.ANY | Kind.NUMBER), int() | float()) if not isinstance(value, bool) and operator not in LIKES:
            number = f"{column}.number" if kind is Kind.ANY else column
            return _number_compared(number, operator, _float(value), sql)
        case Kind.TEXT, str():
            return _text_compared(column, operator, value, sql)
        case Kind.TIME, datetime() if operator not in LIKES:
            return f"{column} {_sign(operator)} {sql.bind(value, 'timestamptz')}"
        case Kind.ID, UUID() if operator in EQUAL:
            return f"{column} {_sign(operator)} {sql.bind(value, 'uuid')}"
    raise Invalid(
        f"{_described(value)} cannot be compared here with {operator}", hint=f"compare with {kind.value} instead"
    )


def _sign(operator: Operator) -> str:
    return "<>" if operator is Operator.NE else operator.value


def _described(value: Literal) -> str:
    text = str(value)
    return repr(text if len(text) <= 50 else f"{text[:50]}...")


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Invalid("a number is too large", limit="about 1.8e308") from None


def _text_compared(column: str, operator: Operator, value: str, sql: Statement) -> str:
    if operator in LIKES:
        pattern = value.replace("\\", "\\\\")  # there is no escaping, as the operator is described
        return f"{column} {LIKES[operator]} {sql.bind(pattern, 'text')}"
    text = sql.bind(value, "text")
    return f"{column} {_sign(operator)} {text}" if operator in EQUAL else f'{column} collate "C" {operator} {text}'


def _number_compared(column: str, operator: Operator, value: float, sql: Statement) -> str:
    """By IEEE 754; for Postgres NaN is equal to itself and greater than everything."""
    if math.isnan(value):
        return f"{column} is not null" if operator is Operator.NE else "false"
    compared = f"{column} {_sign(operator)} {sql.bind(value, 'float8')}"
    return f"({compared} and {column} < 'NaN')" if operator in {Operator.GT, Operator.GE} else compared


def _one_of(kind: Kind, column: str, values: Sequence[Literal], sql: Statement) -> str:
    """Whether the column is one of the values, those of a type together."""
    texts = [value for value in values if isinstance(value, str)]
    numbers = [_float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    plain = [value for value in values if isinstance(value, bool | datetime | UUID)]
    parts = [_compared(kind, column, Operator.EQ, value, sql) for value in plain if kind is not Kind.ID]
    ids = [value for value in plain if kind is Kind.ID]
    if ids:
        _compared(kind, column, Operator.EQ, ids[0], Statement(sql.reach))  # or it is refused
        parts.append(f"{column} = any ({sql.bind(ids, 'uuid[]')})")
    if texts:
        _compared(kind, column, Operator.EQ, texts[0], Statement(sql.reach))
        among = f"= any ({sql.bind(texts, 'text[]')})"
        of_param = f"({column}.type <> 'NULL' and {column}.text {among})"
        parts.append(of_param if kind is Kind.ANY else f"{column} {among}")
    if numbers:
        _compared(kind, column, Operator.EQ, numbers[0], Statement(sql.reach))
        known = [number for number in numbers if not math.isnan(number)]
        number = f"{column}.number" if kind is Kind.ANY else column
        parts.append(f"{number} = any ({sql.bind(known, 'float8[]')})")
    return "(" + (" or ".join(parts) or "false") + ")"


# Sets of runs that an index gives.


def runs_of(condition: Condition, sql: Statement) -> str | None:
    """Exactly the runs of the projects of which the condition holds, as `run_id`; None without an index.

    Metrics count as they are stored. A run may come several times when the condition `_repeats`.
    """
    bound = len(sql.arguments)
    found = _runs_of(condition, sql)
    if found is None:
        del sql.arguments[bound:]
    return found


def _repeats(condition: Condition) -> bool:
    """Whether a run may come several times: as one that has this or that, the number 3 or the text '3'."""
    match condition:
        case Any():
            return True
        case Comparison(asked) | OneOf(asked):
            return asked.area is Area.DATASET or (asked.area is Area.PARAM and isinstance(condition, OneOf))
    return False


def _runs_of(condition: Condition, sql: Statement) -> str | None:
    match condition:
        case Any(conditions):
            parts = [part for one in conditions if (part := runs_of(one, sql)) is not None]
            return " union all ".join(parts) if parts and len(parts) == len(conditions) else None
        case Comparison(asked, operator, value):
            return _of_values(asked, operator, [value], sql)
        case OneOf(asked, values) if values:
            return _of_values(asked, Operator.EQ, values, sql)
        case Exists(Field(Area.PARAM, key)):
            numbers = f"select param.run_id from param where {_keyed('param', key, sql)} and param.number is not null"
            return " union all ".join([numbers, *_all_texts(PARAM_TEXTS, key, sql)])
        case Exists(Field(Area.TAG, key)):
            return " union all ".join(_all_texts(TAG_TEXTS, key, sql))
        case Exists(Field(Area.METRIC, key, stat)) if stat in WALKED_STATS:
            return _of_metrics(key, stat, f"{STATS[stat]} is not null", sql)
    return None


def _of_values(asked: Field, operator: Operator, values: Sequence[Literal], sql: Statement) -> str | None:
    """The runs whose field compares so with one of the values; only for equality there are several."""

    def test(kind: Kind, column: str) -> str:
        if len(values) > 1:
            return _one_of(kind, column, values, sql)
        return _compared(kind, column, operator, values[0], sql)

    match asked.area:
        case Area.ATTRIBUTE:
            return _of_attributes(Attribute(asked.key), operator, values, test, sql)
        case Area.PARAM:
            return _of_params(asked.key, operator, values, sql)
        case Area.TAG:
            texts = [value for value in values if isinstance(value, str)]
            return _of_texts(TAG_TEXTS, asked.key, operator, texts, sql) if len(texts) == len(values) else None
        case Area.METRIC if asked.stat in WALKED_STATS:
            return _of_metrics(asked.key, asked.stat, test(Kind.NUMBER, STATS[asked.stat]), sql)
        case Area.DATASET if operator is Operator.EQ:
            return (
                "select run_input.run_id from dataset join run_input on run_input.dataset_id = dataset.id "
                f"where dataset.project_id = {sql.projects()} and {test(*_known(DATASET, asked))}"
            )
    return None


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts with an index of the short ones and one of the long; `which` are in them."""

    table: str
    column: str
    which: str


PARAM_TEXTS: Final = _Texts("param", "param.text", "param.number is null and param.type <> 'NULL' and ")
TAG_TEXTS: Final = _Texts("tag", "tag.value", "")


def _keyed(table: str, key: str, sql: Statement) -> str:
    """The rows of a key in the projects, as the indexes by value have them."""
    return f'{table}.project_id = {sql.projects()} and {table}.key collate "C" = {sql.bind(key, "text")}'


def _of_metrics(key: str, stat: Stat, test: str, sql: Statement) -> str:
    keyed = _keyed("metric", key, sql)
    others = f"select metric.run_id from metric where {keyed} and {WALKED_STATS[stat]} and {test}"
    return f"{others} union all select metric.run_id from {OF_ONE_NUMBER} as metric where {keyed} and {test}"


def _of_params(key: str, operator: Operator, values: Sequence[Literal], sql: Statement) -> str | None:
    numbers = [_float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    texts = [value for value in values if isinstance(value, str)]
    if len(numbers) + len(texts) < len(values):
        return None
    if texts and operator is Operator.NE:
        return None  # nearly all
    parts = []

    def of_numbers(test: str) -> None:
        keyed = _keyed("param", key, sql)
        parts.append(f"select param.run_id from param where {keyed} and param.number is not null and {test}")

    if numbers and operator is Operator.EQ:
        known = [number for number in numbers if not math.isnan(number)]
        of_numbers(f"param.number = any ({sql.bind(known, 'float8[]')})")
    elif numbers:
        of_numbers(_number_compared("param.number", operator, numbers[0], sql))
    if texts:
        parts.append(_of_texts(PARAM_TEXTS, key, operator, texts, sql))
        as_numbers = [number for text in texts if (number := _number_of(text)) is not None]
        if operator is Operator.EQ and as_numbers:
            of_numbers(
                f"param.number = any ({sql.bind(as_numbers, 'float8[]')}) "
                f"and param.text = any ({sql.bind(texts, 'text[]')})"
            )
        elif operator in LIKES:
            of_numbers(_text_compared("param.text", operator, texts[0], sql))
    return " union all ".join(parts)


def _number_of(text: str) -> float | None:
    """The number that a param has whose text is this."""
    try:
        return float(text)
    except ValueError:
        return None


def _all_texts(texts: _Texts, key: str, sql: Statement) -> list[str]:
    """Runs that have a text of this key: those that have a short one, and those that have a long one."""
    start = f"select {texts.table}.run_id from {texts.table} where {_keyed(texts.table, key, sql)} and {texts.which}"
    return [f"{start}char_length({texts.column}) {length}" for length in (f"<= {TEXT_ORDERED}", f"> {TEXT_ORDERED}")]


def _of_texts(texts: _Texts, key: str, operator: Operator, values: Sequence[str], sql: Statement) -> str:
    """Runs by the text of a key: among the short ones, and among the long ones."""
    keyed = _keyed(texts.table, key, sql)
    only = texts.which if operator in EQUAL or operator in LIKES else texts.which.replace("<> 'NULL'", "= 'STRING'")
    if operator is Operator.EQ:
        test = f'{texts.column} collate "C" = any ({sql.bind(list(values), "text[]")})'
    else:
        test = _text_compared(texts.column, operator, values[0], sql)
    start = f"select {texts.table}.run_id from {texts.table} where {keyed} and {texts.which}"
    if only != texts.which:
        start += only
    short = f"{start}char_length({texts.column}) <= {TEXT_ORDERED} and {test}"
    if operator is Operator.EQ and all(len(value) <= TEXT_ORDERED for value in values):
        return short
    return f"{short} union all {start}char_length({texts.column}) > {TEXT_ORDERED} and {test}"


def _of_attributes(
    attribute: Attribute, operator: Operator, values: Sequence[Literal], test: Test, sql: Statement
) -> str | None:
    """Runs by a column of theirs that has an index."""
    kind, column = _attribute(attribute)
    start = f"select run.id as run_id from run where run.project_id = {sql.projects()} and "
    if attribute is Attribute.CREATED_AT:
        return start + test(kind, column)
    if operator is not Operator.EQ:
        return None
    match attribute:
        case Attribute.ID | Attribute.PARENT | Attribute.EXPERIMENT_ID | Attribute.GROUP | Attribute.USER_ID:
            return start + test(kind, column)
        case Attribute.ANCESTOR:
            _one_of(kind, column, values, Statement(sql.reach))  # or it is refused
            above = sql.bind([value for value in values if isinstance(value, UUID)], "uuid[]")
            return f"{start}run.parent_id is not null and run.ancestor_ids && {above}"
        case Attribute.EXPERIMENT:
            return f"{start}run.experiment_id in ({_experiments(sql, test)})"
    return None


# The place of a run in an order.

Position = tuple[str, ...]  # what `Placing` has of a run, as texts, and its id

NUMBER, NAN, TEXT, NONE = range(4)  # what comes first, in both directions


@dataclass(frozen=True, slots=True)
class Column:
    """A part of a run's place; never null."""

    type: str
    is_descending: bool


@dataclass(frozen=True, slots=True)
class Placing:
    """The columns of an order, and the SQL of their values for the row `run` with what is joined to it."""

    columns: list[Column]
    values: list[str]
    join: str = ""


def placing(order: Order, name: str, sql: Statement, metric: str = "metric") -> Placing:
    """How the order places runs; `name` is that of what it joins."""
    asked, down = order.field, order.is_descending
    match asked.area:
        case Area.ATTRIBUTE:
            return _placing_attribute(Attribute(asked.key), down)
        case Area.METRIC:
            join = (
                f"left join lateral (select {STATS[asked.stat]} as number from {metric} as metric "
                f"where metric.run_id = run.id and metric.key = {sql.bind(asked.key, 'text')} offset 0) "
                f"as {name} on true"
            )
            return _placing_number(f"{name}.number", down, join)
        case Area.PARAM:
            join = (
                f"left join lateral (select param.number, param.text from param where param.run_id = run.id "
                f"and param.key = {sql.bind(asked.key, 'text')} and param.type <> 'NULL' offset 0) as {name} on true"
            )
            return Placing(
                [Column("integer", False), Column("float8", down), Column('text collate "C"', down)],
                [
                    f"case when {name}.text is null then {NONE} when {name}.number is null then {TEXT} "
                    f"when {name}.number = 'NaN' then {NAN} else {NUMBER} end",
                    f"case when {name}.number < 'NaN' then {name}.number else 0 end",
                    f"case when {name}.number is null then {_cut(f'{name}.text')} else '' end",
                ],
                join,
            )
        case Area.TAG:
            join = (
                f"left join lateral (select tag.value from tag where tag.run_id = run.id "
                f"and tag.key = {sql.bind(asked.key, 'text')} offset 0) as {name} on true"
            )
            return _placing_value(f"{name}.value", Kind.TEXT, down, join)
        case Area.SOURCE:
            kind, column = _known(SOURCE, asked)
            join = (
                f"left join lateral (select {column} as value from source where source.run_id = run.id "
                f"and source.attempt = run.attempt offset 0) as {name} on true"
            )
            return _placing_value(f"{name}.value", kind, down, join)
    raise Invalid("a run may have several of these, so they give no order")


def _cut(text: str) -> str:
    return f"coalesce(left({text}, {TEXT_ORDERED}), '')"


def _placing_attribute(attribute: Attribute, down: bool) -> Placing:
    kind, column = _attribute(attribute)
    match attribute:
        case Attribute.ANCESTOR:
            raise Invalid("a run may have several of these, so they give no order")
        case Attribute.EXPERIMENT:
            column = "(select experiment.name from experiment where experiment.id = run.experiment_id)"
        case Attribute.USER:
            column = "(select account.name from account where account.id = run.created_by)"
    if kind is Kind.NUMBER:
        return _placing_number(column, down, "")
    if attribute in ALWAYS_THERE:
        return Placing([Column(TYPES[kind], down)], [_cut(column) if kind is Kind.TEXT else column])
    return _placing_value(column, kind, down, "")


TYPES: Final = {Kind.TEXT: 'text collate "C"', Kind.TIME: "timestamptz", Kind.ID: "uuid", Kind.FLAG: "boolean"}
LEAST: Final = {Kind.TIME: "'epoch'", Kind.ID: "'00000000-0000-0000-0000-000000000000'", Kind.FLAG: "false"}


def _placing_value(column: str, kind: Kind, down: bool, join: str) -> Placing:
    value = _cut(column) if kind is Kind.TEXT else f"coalesce({column}, {LEAST[kind]})"
    rank = f"case when {column} is null then {NONE} else {TEXT} end"
    return Placing([Column("integer", False), Column(TYPES[kind], down)], [rank, value], join)


def _placing_number(column: str, down: bool, join: str) -> Placing:
    return Placing(
        [Column("integer", False), Column("float8", down)],
        [
            f"case when {column} is null then {NONE} when {column} = 'NaN' then {NAN} else {NUMBER} end",
            f"case when {column} < 'NaN' then {column} else 0 end",
        ],
        join,
    )


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a list: at most `limit` runs behind `after` and before `before`, from the front or from the back."""

    limit: int
    after: Position | None = None
    before: Position | None = None
    is_backward: bool = False


def _bounds(names: Sequence[str], columns: Sequence[Column], span: Span, sql: Statement) -> list[str]:
    """That a place is behind `after` and before `before`."""
    bounds = []
    for position, is_behind in ((span.after, True), (span.before, False)):
        if position is not None:
            bounds.append(_beyond(names, columns, position, sql, is_behind=is_behind))
    return bounds


def _beyond(
    names: Sequence[str], columns: Sequence[Column], position: Position, sql: Statement, *, is_behind: bool
) -> str:
    found = ""
    for name, column, value in reversed(list(zip(names, columns, position, strict=True))):
        place = f"{sql.bind(value, 'text')}::{column.type}"
        strictly = f"{name} {'>' if is_behind != column.is_descending else '<'} {place}"
        found = f"({strictly} or ({name} = {place} and {found}))" if found else strictly
    return found


def _ordered(names: Sequence[str], columns: Sequence[Column], span: Span) -> str:
    return ", ".join(
        f"{name} {'desc' if column.is_descending != span.is_backward else 'asc'}"
        for name, column in zip(names, columns, strict=True)
    )


# Statements.


@dataclass(frozen=True, slots=True)
class Live:
    """Runs whose stored metrics may be behind, and the numbers that theirs have now: rows as in `metric`."""

    run_ids: Sequence[UUID]
    rows: Sequence[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """Runs to find: those of which all conditions hold; `live` when metrics are asked for and some are behind.

    `columns` are what is wanted of them.
    """

    reach: Reach
    conditions: tuple[Condition, ...]
    live: Live | None = None
    columns: tuple[str, ...] = RUN_COLUMNS


@dataclass(frozen=True, slots=True)
class Plan:
    """How to find them.

    `start` is the place of the condition whose set is looked through, None for all runs. Of the conditions at `sets`
    the whole sets are read at first, and of those at `parts` the sets of what they are made of; the others are looked
    up for one run after the other. A walk looks at runs in the order of an index, at most `most` of them; otherwise
    all are looked at and sorted, and those at `late` are looked up in that order, until there are enough.
    """

    start: int | None = None
    sets: tuple[int, ...] = ()
    parts: tuple[int, ...] = ()
    is_walk: bool = False
    most: int | None = None
    late: tuple[int, ...] = ()


def counted(question: Question, plan: Plan) -> Statement:
    """How many runs there are to find."""
    sql = Statement(question.reach)
    parts = [f"select count(*) as n from {_found(question, plan, sql, needs_row=False).text}"]
    if question.live:
        parts.append(f"select count(*) from {_found_live(question, question.live, sql).text}")
    sql.text = f"select sum(n)::bigint from ({' union all '.join(parts)}) as counted"
    return _with_live(question, sql)


def listed(question: Question, orders: Sequence[Order], span: Span, plan: Plan) -> Statement:
    """What is wanted of runs with the texts of their places, the first of the span first; from the back when so read.

    The last column, `is_end`, marks a run that the walk did not get beyond: what follows it is not known.
    """
    sql = Statement(question.reach)
    if not plan.is_walk:
        late = [holds(question.conditions[place], sql) for place in plan.late]
        branches = [_sorted(orders, span, _found(question, plan, sql, needs_row=True), sql, "metric", late)]
    else:
        branches = [_walked(question, orders[0], span, plan, sql)]
    if question.live:
        branches.append(_sorted(orders, span, _found_live(question, question.live, sql), sql, "given"))
    columns = _columns(orders, sql)
    names = [f"place.c{index}" for index in range(len(columns))]
    union = " union all ".join(f"({branch})" for branch in branches)
    run = _run(names[-1])
    if question.columns == ID_COLUMNS:
        run = f"cross join lateral (select {names[-1]} as id) as run"
    sql.text = (
        f"select {', '.join(f'run.{name}' for name in question.columns)}, "
        f"{', '.join(f'{name}::text as c{index}' for index, name in enumerate(names))}, is_end "
        f"from (select * from ({union}) as place order by {_ordered(names, columns, span)} "
        f"limit {sql.bind(span.limit, 'bigint')}) as place "
        f"{run} order by {_ordered(names, columns, span)}"
    )
    return _with_live(question, sql)


def position(question: Question, row: asyncpg.Record) -> Position:
    """The place of a row of `listed`."""
    return tuple(row)[len(question.columns) : -1]


def indexed(question: Question) -> list[int]:
    """The places of the conditions whose sets an index gives."""
    spare = Statement(question.reach)
    return [place for place, one in enumerate(question.conditions) if runs_of(one, spare) is not None]


def probed(question: Question, places: Sequence[int], most: int) -> Statement:
    """How many runs, at most so many, each of these sets has."""
    sql = Statement(question.reach)
    limit = sql.bind(most, "bigint")
    parts = []
    for place in places:
        rows = runs_of(question.conditions[place], sql)
        parts.append(f"(select count(*) from (select from ({rows}) as run limit {limit}) as few)")
    sql.text = f"select {', '.join(parts)}"
    return sql


def sampled(question: Question, runs: int) -> Statement:
    """Of some runs, mostly the newest, how many there are, and of how many each condition holds."""
    sql = Statement(question.reach)
    newest = " order by run.created_at desc" if len(question.reach.projects) == 1 else ""
    some = f"select * from run where run.project_id = {sql.projects()}{newest} limit {sql.bind(runs, 'bigint')}"
    shares = [f"count(*) filter (where {holds(one, sql)})" for one in question.conditions]
    sql.text = f"select count(*), {', '.join(shares)} from ({some}) as run"
    return sql


def _columns(orders: Sequence[Order], sql: Statement) -> list[Column]:
    """All columns of a place: those of the orders, and the id in the direction of the last."""
    spare = Statement(sql.reach)
    columns = [column for order in orders for column in placing(order, "spare", spare).columns]
    return [*columns, Column("uuid", orders[-1].is_descending)]


def _with_live(question: Question, sql: Statement) -> Statement:
    if question.live:
        rows = list(zip(*question.live.rows, strict=True)) or [()] * len(METRIC_TYPES)
        columns = [sql.bind(list(column), f"{type_}[]") for column, type_ in zip(rows, METRIC_TYPES, strict=True)]
        sql.text = (
            f"with given as materialized (select * from unnest({', '.join(columns)}) "
            f"as given (run_id, key, project_id, count, first, last, min, max)) {sql.text}"
        )
    return sql


METRIC_TYPES: Final = ("uuid", "text", "uuid", "bigint", "float8", "float8", "float8", "float8")


def _tests_of_ids(question: Question, plan: Plan, sql: Statement) -> list[str]:
    """What must be true of `run.id`: it costs little."""
    tests = []
    if question.live:
        tests.append(f"not run.id = any ({sql.bind(list(question.live.run_ids), 'uuid[]')})")
    for place in plan.sets:
        tests.append(_is_among(runs_of(question.conditions[place], sql) or ""))
    return tests


def _tests(question: Question, plan: Plan, sql: Statement) -> list[str]:
    """What must be true of the row `run` of a run that passed the others."""
    return _seen(sql) + [
        holds(one, sql, reads_sets=place in plan.parts)
        for place, one in enumerate(question.conditions)
        if place not in (plan.start, *plan.sets, *plan.late)
    ]


def _seen(sql: Statement) -> list[str]:
    reach = sql.reach
    if not reach.own:
        return []
    mine = f"run.created_by = {sql.bind(reach.account_id, 'uuid')}"
    return [f"(run.project_id = any ({sql.bind(list(reach.readable), 'uuid[]')}) or {mine})"]


@dataclass(frozen=True, slots=True)
class _Found:
    """What gives the row `run` of each run that is found, once `tests` hold."""

    rows: str
    tests: str

    @property
    def text(self) -> str:
        return f"{self.rows} where {self.tests}"


def _found(question: Question, plan: Plan, sql: Statement, *, needs_row: bool) -> _Found:
    """All that are found, but for live ones; only their ids when no more is needed."""
    tests = _tests(question, plan, sql)
    if plan.start is None:
        return _Found("run", _all([f"run.project_id = {sql.projects()}", *_tests_of_ids(question, plan, sql), *tests]))
    condition = question.conditions[plan.start]
    start = f"({runs_of(condition, sql)}) as run (id)"
    if _repeats(condition):
        start = f"(select distinct id from {start}) as run"
    of_ids, of_rows = _parted([*_tests_of_ids(question, plan, sql), *tests])
    few = f"(select run.id from {start} where {_all(of_ids)} offset 0)"
    if needs_row or of_rows:
        return _Found(f"{few} as few {_run('few.id')}", _all(of_rows))
    return _Found(f"{few} as run", "true")


def _found_live(question: Question, live: Live, sql: Statement) -> _Found:
    tests = [f"run.project_id = {sql.projects()}", *_seen(sql)]
    tests += [holds(condition, sql, "given") for condition in question.conditions]
    start = f"unnest({sql.bind(list(live.run_ids), 'uuid[]')}) as start (run_id)"
    return _Found(f"{start} {_run('start.run_id')}", _all(tests))


def _run(run_id: str) -> str:
    """Looks up the row of each run, one after the other."""
    return f"cross join lateral (select * from run where run.id = {run_id} offset 0) as run"


def _all(tests: Sequence[str]) -> str:
    return " and ".join(tests) or "true"


def _sorted(
    orders: Sequence[Order], span: Span, found: _Found, sql: Statement, metric: str, late: Sequence[str] = ()
) -> str:
    """The places of what is found, in order; of those of which the `late` tests are true."""
    placings = [placing(order, f"of_{index}", sql, metric) for index, order in enumerate(orders)]
    values = [value for one in placings for value in one.values] + ["run.id"]
    columns = [column for one in placings for column in one.columns] + [Column("uuid", orders[-1].is_descending)]
    names = [f"place.c{index}" for index in range(len(columns))]
    placed = ", ".join(_placed(values, columns))
    joins = " ".join(one.join for one in placings)
    bounds = _bounds(names, columns, span, sql)
    ordered = (
        f"select * from (select {placed}, false as is_end from {found.rows} {joins} where {found.tests}) as place "
        f"where {_all(bounds)} order by {_ordered(names, columns, span)}"
    )
    if late:
        _, of_rows = _parted(late)
        run = _run(names[-1]) if of_rows else f"cross join lateral (select {names[-1]} as id offset 0) as run"
        ordered = f"select place.* from ({ordered} offset 0) as place {run} where {_all(late)}"
    return f"{ordered} limit {sql.bind(span.limit, 'bigint')}"


def _placed(values: Sequence[str], columns: Sequence[Column]) -> Iterator[str]:
    """The values as columns, with their types."""
    for index, (value, column) in enumerate(zip(values, columns, strict=True)):
        yield f"({value})::{column.type} as c{index}"


# Walks: runs in the order of an index, looked at one after the other until there are enough.


Rows = Callable[[Statement, str], list[str]]  # what follows `from`, for a project; several are merged


@dataclass(frozen=True, slots=True)
class _Segment:
    """Rows of an index in order: by `value` if there is one, then by `run_id`.

    `before` and `after` are the columns beside the value, which all its rows share. `lacks` is what a run must lack,
    `is_below_nan` leaves out NaN, which Postgres has behind all numbers.
    """

    rows: Rows
    run_id: str
    value: str | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    lacks: Field | None = None
    is_below_nan: bool = False


def is_walkable(orders: Sequence[Order]) -> bool:
    """Whether an index has this order."""
    if len(orders) > 1:
        return False
    asked = orders[0].field
    match asked.area:
        case Area.ATTRIBUTE:
            return asked.key in {Attribute.CREATED_AT, Attribute.ID}
        case Area.METRIC:
            return asked.stat in WALKED_STATS
    return asked.area in {Area.PARAM, Area.TAG}


def _segments(asked: Field) -> list[_Segment]:
    """What the order by a field is made of, the first first."""
    match asked.area:
        case Area.ATTRIBUTE if asked.key == Attribute.ID:
            return [_Segment(_runs_in, "run.id", after=("walked.run_id",))]
        case Area.ATTRIBUTE:
            return [_Segment(_runs_in, "run.id", "run.created_at")]
        case Area.METRIC:
            column = STATS[asked.stat]
            numbers = _rows_of_metrics(asked.key, asked.stat)
            nans = _rows_of("metric", asked.key, f"{WALKED_STATS[asked.stat]} and {column} = 'NaN'")
            return [
                _Segment(numbers, "metric.run_id", column, (f"{NUMBER}",), is_below_nan=True),
                _Segment(nans, "metric.run_id", None, (f"{NAN}", "0")),
                _Segment(_runs_in, "run.id", None, (f"{NONE}", "0"), lacks=asked),
            ]
        case Area.PARAM:
            numbers = _rows_of("param", asked.key, "param.number is not null")
            nans = _rows_of("param", asked.key, "param.number is not null and param.number = 'NaN'")
            return [
                _Segment(numbers, "param.run_id", "param.number", (f"{NUMBER}",), ("''",), is_below_nan=True),
                _Segment(nans, "param.run_id", None, (f"{NAN}", "0", "''")),
                _Segment(_rows_of_texts(PARAM_TEXTS, asked.key), "param.run_id", "param.text", (f"{TEXT}", "0")),
                _Segment(_runs_in, "run.id", None, (f"{NONE}", "0", "''"), lacks=asked),
            ]
    return [
        _Segment(_rows_of_texts(TAG_TEXTS, asked.key), "tag.run_id", "tag.value", (f"{TEXT}",)),
        _Segment(_runs_in, "run.id", None, (f"{NONE}", "''"), lacks=asked),
    ]


def _runs_in(sql: Statement, project: str) -> list[str]:
    return [f"run where run.project_id = {project}"]


def _rows_of(table: str, key: str, which: str, relation: str = "") -> Rows:
    def rows(sql: Statement, project: str) -> list[str]:
        keyed = f'{table}.project_id = {project} and {table}.key collate "C" = {sql.bind(key, "text")}'
        return [f"{relation or table} where {keyed} and {which}"]

    return rows


def _rows_of_metrics(key: str, stat: Stat) -> Rows:
    def rows(sql: Statement, project: str) -> list[str]:
        others = _rows_of("metric", key, WALKED_STATS[stat])
        of_one_number = _rows_of("metric", key, f"{STATS[stat]} is not null", f"{OF_ONE_NUMBER} as metric")
        return [*others(sql, project), *of_one_number(sql, project)]

    return rows


def _rows_of_texts(texts: _Texts, key: str) -> Rows:
    def rows(sql: Statement, project: str) -> list[str]:
        length = f"char_length({texts.column})"
        short = _rows_of(texts.table, key, f"{texts.which}{length} <= {TEXT_ORDERED}")
        long = _rows_of(texts.table, key, f"{texts.which}{length} {LONG}")
        return [*short(sql, project), *long(sql, project)]

    return rows


LONG: Final = f"> {TEXT_ORDERED}"


def _walked(question: Question, order: Order, span: Span, plan: Plan, sql: Statement) -> str:
    """The places of what is found, from the segments in turn: Postgres stops when there are enough."""
    columns = _columns([order], sql)
    segments = _segments(order.field)
    parts = []
    for segment in reversed(segments) if span.is_backward else segments:
        within = _within(segment, span)
        if within is not None:
            parts.append(_of_segment(question, segment, columns, within, plan, sql))
    union = " union all ".join(f"(select * from ({part}) as part)" for part in parts)
    return f"select * from ({union}) as place limit {sql.bind(span.limit, 'bigint')}"


def _within(segment: _Segment, span: Span) -> Span | None:
    """The part of the span that is in the segment; None when there is none."""
    if not segment.before:
        return span
    after, before, rank = span.after, span.before, segment.before[0]
    if (after is not None and after[0] > rank) or (before is not None and before[0] < rank):
        return None
    return Span(
        span.limit,
        after if after is not None and after[0] == rank else None,
        before if before is not None and before[0] == rank else None,
        span.is_backward,
    )


def _of_segment(
    question: Question, segment: _Segment, columns: Sequence[Column], span: Span, plan: Plan, sql: Statement
) -> str:
    """The places of what is found in a segment, in order; of several projects the first of each, merged."""
    projects = sql.reach.projects
    project = sql.bind(projects[0], "uuid") if len(projects) == 1 else "of_project.id"
    walks = [_of_index(question, segment, rows, columns, span, plan, sql) for rows in segment.rows(sql, project)]
    if len(walks) == len(projects) == 1:
        return walks[0]
    names = [f"place.c{index}" for index in range(len(columns))]
    found = " union all ".join(f"({walk})" for walk in walks)
    if len(projects) > 1:
        found = (
            f"select place.* from unnest({sql.bind(projects, 'uuid[]')}) as of_project (id) "
            f"cross join lateral ({found}) as place"
        )
    limit = sql.bind(span.limit, "bigint")
    return f"select * from ({found}) as place order by {_ordered(names, columns, span)} limit {limit}"


def _of_index(
    question: Question,
    segment: _Segment,
    rows: str,
    columns: Sequence[Column],
    span: Span,
    plan: Plan,
    sql: Statement,
) -> str:
    """The places of what is found in the rows of an index, in order, at most as many as the span takes."""
    place = len(segment.before)
    moving = [*columns[place : place + (segment.value is not None)], columns[-1]]
    value = segment.value
    if value is not None and LONG in rows:
        value = f"left({value}, {TEXT_ORDERED})"
    if value is not None and "collate" in columns[place].type:
        value = f'{value} collate "C"'
    by = [segment.run_id] if value is None else [value, segment.run_id]
    bounds: list[str] = []
    has_upper = False
    for position, is_behind in ((span.after, True), (span.before, False)):
        if position is not None:
            at = [*position[place : place + (value is not None)], position[-1]]
            ends = [f"{sql.bind(end, 'text')}::{column.type}" for end, column in zip(at, moving, strict=True)]
            sign = ">" if is_behind != columns[-1].is_descending else "<"
            bounds.append(f" and ({', '.join(by)}) {sign} ({', '.join(ends)})")
            has_upper = has_upper or sign == "<"
    if segment.is_below_nan and not has_upper:
        bounds.append(f" and {value} < 'NaN'")  # beside another upper bound Postgres may begin at the wrong one
    down = "desc" if columns[-1].is_descending != span.is_backward else "asc"
    walked = (
        f"select {value or 'null'} as value, {segment.run_id} as run_id from {rows}{''.join(bounds)} "
        f"order by {', '.join(f'{each} {down}' for each in by)}"
    )
    tests = [*_tests_of_ids(question, plan, sql), *_tests(question, plan, sql)]
    if segment.lacks is not None:
        tests.append(f"not {holds(Exists(segment.lacks), sql, reads_sets=plan.most is None)}")
    is_end, ordered = "false", f" order by {'' if value is None else f'walked.value {down}, '}walked.run_id {down}"
    if plan.most is not None and tests:
        most = sql.bind(plan.most, "bigint")
        walked = f"select *, row_number() over () as number from ({walked} limit {most}) as walked"
        is_end, ordered = f"walked.number = {most}", ""  # in order already, which Postgres does not know
    of_ids, of_rows = _parted(tests)
    if of_ids:
        walked = f"select walked.* from ({walked}) as walked {RUN_ID} where {_all(of_ids)} or {is_end} offset 0"
    joined = _run("walked.run_id") if of_rows else ""
    values = [*segment.before, *([] if value is None else ["walked.value"]), *segment.after, "walked.run_id"]
    return (
        f"select {', '.join(_placed(values, columns))}, {is_end} as is_end from ({walked}) as walked {joined} "
        f"where {_all(of_rows)} or {is_end}{ordered} limit {sql.bind(span.limit, 'bigint')}"
    )


RUN_ID: Final = "cross join lateral (select walked.run_id as id offset 0) as run"


def _parted(tests: Sequence[str]) -> tuple[list[str], list[str]]:
    """The tests that need only the id of the row `run`, and those that need more of it."""
    of_rows = [test for test in tests if re.search(r"\brun\.(?!id\b)", test)]
    return [test for test in tests if test not in of_rows], of_rows
