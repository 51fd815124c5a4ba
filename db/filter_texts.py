"""Filters as texts: MLflow's search grammar with OR, NOT, parentheses, IN and more; see docs/filters.md.

    condition  = conjunction { OR conjunction }
    conjunction = negation { AND negation }
    negation   = NOT negation | "(" condition ")" | TRUE | FALSE | text | comparison
    comparison = field ( operator value | [NOT] LIKE text | [NOT] ILIKE text | [NOT] IN "(" values ")" | IS [NOT] NULL )
    field      = name | stat "(" name ")"

One pass over the text and one over its tokens, each in linear time.
"""

import math
import re
from collections.abc import Set
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final
from uuid import UUID

from db import fields, times
from db.attempts import RunStatus
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
from db.filter_tokens import NON_FINITE, Is, Mistake, Token, tokens

CHARACTERS_MAX: Final = 65_536
TERMS_MAX: Final = 1_000
DEPTH_MAX: Final = 50


def parse(text: str, path: str) -> Condition:
    """What the text asks; an empty one asks nothing. Raises `Invalid` with the position of the mistake.

    Times such as '-7d' are counted from now, so the same text gives another condition later.
    """
    try:
        return _Parser(text).whole()
    except Mistake as mistake:
        raise _invalid(mistake, path) from mistake


def parse_order(text: str, path: str) -> Order:
    """The order that is written as "max(metrics.accuracy) DESC". Raises `Invalid` with the position of the mistake."""
    try:
        return _Parser(text).order()
    except Mistake as mistake:
        raise _invalid(mistake, path) from mistake


def check(text: str) -> Mistake | None:
    """What is wrong with the text of a filter; None when it can be parsed."""
    try:
        _Parser(text).whole()
    except Mistake as mistake:
        return mistake
    return None


def _invalid(mistake: Mistake, path: str) -> Invalid:
    return Invalid(
        f"{path}, character {mistake.position + 1}: {mistake.message}",
        path=path,
        limit=mistake.limit,
        hint=f"did you mean {', '.join(mistake.suggestions)}?" if mistake.suggestions else None,
        position=mistake.position,
    )


EVERY_OPERATOR: Final = frozenset(Operator)
COMPARED: Final = {each.value: each for each in Operator} | {"==": Operator.EQ, "<>": Operator.NE}
ORDERED: Final = {Operator.LT, Operator.LE, Operator.GT, Operator.GE}
PATTERNS: Final = {Operator.LIKE, Operator.ILIKE}
# The operators of fields that have neither an order nor a pattern, of those without a pattern, and of all others.
OPERATORS: Final = {
    Kind.FLAG: set(Operator) - ORDERED - PATTERNS,
    Kind.ID: set(Operator) - ORDERED - PATTERNS,
    Kind.STATUS: set(Operator) - ORDERED,
    Kind.NUMBER: set(Operator) - PATTERNS,
    Kind.TIME: set(Operator) - PATTERNS,
}
RELATIVE: Final = re.compile(r"([+-][0-9]{1,6})\s*([smhdw])")
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
PLAIN_KEY: Final = re.compile(r"[\w\-/:@$]++(?:\.[\w\-/:@$]++)*")
# What MLflow's examples ask for, and no run of ours has.
FOREIGN_STATUSES: Final = {"ACTIVE", "SCHEDULED"}


class _Parser:
    """Reads one text from its start to its end."""

    def __init__(self, text: str) -> None:
        if len(text) > CHARACTERS_MAX:
            raise Mistake("the text is too long", CHARACTERS_MAX, limit=f"{CHARACTERS_MAX:,} characters")
        for position, character in enumerate(text) if not text.isascii() or "\0" in text else ():
            if character == "\0" or "\ud800" <= character <= "\udfff":
                raise Mistake("no stored text has NUL or half a character", position)
        self._tokens = tokens(text)
        self._next = next(self._tokens)
        self._terms = 0
        self._depth = 0

    def whole(self) -> Condition:
        """The condition that the text is."""
        if self._next.kind is Is.END:
            return All(())
        condition = self._condition()
        self._end("AND, OR or the end", "AND", "OR")
        return condition

    def order(self) -> Order:
        """The order that the text is."""
        at = self._next.position
        field = self._field()
        if not orderable(field):
            raise Mistake("a run may have several of these, so they give no order", at)
        is_descending = self._taken("DESC") is not None
        if not is_descending:
            self._taken("ASC")
        self._end("ASC, DESC or the end", "ASC", "DESC")
        return Order(field, is_descending)

    def _condition(self) -> Condition:
        conditions = [self._conjunction()]
        while self._taken("OR"):
            conditions.append(self._conjunction())
        return Any(tuple(conditions)) if len(conditions) > 1 else conditions[0]

    def _conjunction(self) -> Condition:
        conditions = [self._negation()]
        while self._taken("AND"):
            conditions.append(self._negation())
        return All(tuple(conditions)) if len(conditions) > 1 else conditions[0]

    def _negation(self) -> Condition:
        opening = self._taken("NOT") or self._taken("(")
        if opening is None:
            return self._term()
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Mistake("the conditions are nested too deep", opening.position, limit=f"{DEPTH_MAX} levels")
        condition = Not(self._negation()) if opening.word == "NOT" else self._condition()
        if opening.word == "(" and not self._taken(")"):
            raise self._expected("AND, OR or a closing parenthesis", "AND", "OR", ")")
        self._depth -= 1
        return condition

    def _term(self) -> Condition:
        self._count()
        if self._taken("TRUE"):
            return All(())
        if self._taken("FALSE"):
            return Any(())
        if self._next.kind is Is.TEXT:
            return self._mentions()
        at = self._next
        field = self._field()
        if self._taken("IS"):
            is_null = self._taken("NOT") is None
            self._take("NULL")
            return Not(Exists(field)) if is_null else Exists(field)
        is_negated = self._taken("NOT") is not None
        if self._taken("IN"):
            found: Condition = OneOf(field, self._values(field))
        else:
            found = self._comparison(field, at, patterns_only=is_negated)
        return has_other(field, found) if is_negated else found

    def _mentions(self) -> Condition:
        text = self._step()
        if self._next.word in COMPARED or self._next.word in {"IN", "IS"}:
            raise Mistake(
                "a text in quotes is searched for in names and notes; only a field can be compared",
                text.position,
                suggestions=[f"{area}.{quoted_key(text.text)}" for area in ("params", "metrics", "tags")],
            )
        return Mentions(text.text)

    def _field(self) -> Field:
        """A field, perhaps as `stat(field)`."""
        name = self._next
        if name.kind is not Is.NAME or name.word in {"AND", "OR", "NOT", "IN", "IS"}:
            raise self._expected("a field, such as metrics.loss, params.lr, tags.team or status, or a text in quotes")
        self._step()
        if name.area is not None or self._next.word != "(":
            return self._found(name)
        if name.word not in Stat.__members__:
            near = [f"{stat.lower()}(...)" for stat in Stat]
            raise Mistake(f"there is no function {name.source}", name.position, suggestions=near)
        self._take("(")
        inner = self._next
        if inner.kind is not Is.NAME:
            raise self._expected("a metric, such as metrics.loss")
        self._step()
        field = self._found(inner)
        if field.area is not Area.METRIC:
            raise Mistake(
                f"only a metric has a {name.source.lower()}",
                inner.position,
                suggestions=[f"metrics.{quoted_key(inner.text)}"],
            )
        self._take(")")
        return Field(Area.METRIC, field.key, Stat[name.word])

    def _found(self, name: Token) -> Field:
        try:
            return fields.find(name.area, name.text)
        except fields.Unknown as unknown:
            is_alone = self._next.kind is Is.END or self._next.word in {"AND", "OR", ")"}
            suggestions = [quoted(name.source)] if is_alone else unknown.suggestions
            raise Mistake(unknown.message, name.position, suggestions=suggestions) from unknown

    def _comparison(self, field: Field, at: Token, *, patterns_only: bool) -> Condition:
        kind = fields.kind(field)
        allowed = PATTERNS if patterns_only else OPERATORS.get(kind, EVERY_OPERATOR)
        operator = COMPARED.get(self._next.word)
        if operator is None:
            raise self._expected(f"an operator after {at.source}", *_names(allowed))
        if operator not in allowed:
            message = f"{at.source} is not compared by {operator}"
            raise Mistake(message, self._next.position, suggestions=_names(allowed))
        self._step()
        value_at = self._next
        value = self._value(Kind.TEXT if operator in PATTERNS else kind, at)
        if operator in ORDERED and isinstance(value, bool):
            raise Mistake("true and false have no order", value_at.position)
        return Comparison(field, operator, value)

    def _values(self, field: Field) -> tuple[Literal, ...]:
        """The values of a list in parentheses; each counts as a term."""
        kind, at = fields.kind(field), self._next
        self._take("(")
        values = [self._value(kind, at)]
        while self._taken(","):
            self._count()
            values.append(self._value(kind, at))
        if not self._taken(")"):
            raise self._expected("a comma or a closing parenthesis", ",", ")")
        return tuple(values)

    def _value(self, kind: Kind, at: Token) -> Literal:
        """The next token as a value of this kind; `at` is the field that it is compared with."""
        token = self._step()
        match kind, _literal(token):
            case (Kind.ANY | Kind.FLAG, bool() as value) | (Kind.ANY | Kind.TEXT, str() as value):
                return value
            case Kind.FLAG, _:
                pass
            case (_, bool() | None):
                pass
            case Kind.ANY | Kind.NUMBER, int() | float() as value:
                return value
            case Kind.STATUS, str() as value:
                return _status(value, token)
            case Kind.ID, str() as value:
                return _id(value, token)
            case Kind.TIME, str() as value:
                return _time(value, token)
            case Kind.TIME, int() | float() as value:
                return _of_milliseconds(value, token)
        raise _mismatch(kind, at, token)

    def _step(self) -> Token:
        """The next token, which is left behind."""
        token = self._next
        if token.kind is not Is.END:
            self._next = next(self._tokens)
        return token

    def _taken(self, word: str) -> Token | None:
        """The next token when it is this word, which is left behind; else None."""
        return self._step() if self._next.word == word else None

    def _take(self, word: str) -> None:
        if self._taken(word) is None:
            raise self._expected(word, word)

    def _end(self, what: str, *suggestions: str) -> None:
        if self._next.kind is not Is.END:
            raise self._expected(what, *suggestions)

    def _count(self) -> None:
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise Mistake("there are too many terms", self._next.position, limit=f"{TERMS_MAX:,} terms")

    def _expected(self, what: str, *suggestions: str) -> Mistake:
        token = self._next
        near = get_close_matches(token.word[:50], suggestions) or suggestions
        found = token.source[:50] or "the end"
        return Mistake(f"expected {what}, found {found}", token.position, suggestions=near)


def orderable(field: Field) -> bool:
    """Whether a run has at most one of it, so that runs can be ordered by it."""
    return field.area is not Area.DATASET and field != Field(Area.ATTRIBUTE, Attribute.ANCESTOR)


def has_other(field: Field, condition: Condition) -> Condition:
    """What NOT IN and NOT LIKE mean: the run has the field, and it is not so."""
    return All((Exists(field), Not(condition)))


def _literal(token: Token) -> str | int | float | bool | None:
    """The value that the token is; None when it is none."""
    if token.kind is Is.TEXT:
        return token.text
    if token.kind is Is.NUMBER:
        return token.number
    if token.word in NON_FINITE:
        return NON_FINITE[token.word]
    return {"TRUE": True, "FALSE": False}.get(token.word)


def _names(operators: Set[Operator]) -> list[str]:
    return [each.value for each in Operator if each in operators] + ["IN", "IS NULL"]


def _mismatch(kind: Kind, at: Token, token: Token) -> Mistake:
    """Why the token is no value for the field `at`."""
    if token.word == "NULL":
        return Mistake("null is not a value", token.position, suggestions=["IS NULL", "IS NOT NULL"])
    wants_text = kind in {Kind.ANY, Kind.TEXT, Kind.STATUS, Kind.ID, Kind.TIME}
    near = [quoted(token.source)] if wants_text and token.kind in {Is.NAME, Is.NUMBER} else []
    found = token.source[:50] or "the end"
    return Mistake(f"{at.source} is compared with {kind.value}, not with {found}", token.position, suggestions=near)


def _status(text: str, token: Token) -> str:
    status = text.upper()
    if "%" not in text and "_" not in text and status not in {*RunStatus, *FOREIGN_STATUSES}:
        near = get_close_matches(status[:50], RunStatus, n=1) or list(RunStatus)
        raise Mistake(
            f"there is no status {token.source[:50]}", token.position, suggestions=[quoted(one) for one in near]
        )
    return status


def _id(text: str, token: Token) -> UUID:
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or text.lower() not in {str(found), found.hex}:
        raise Mistake(f"{token.source[:50]} is not the id of a run, which is a UUID", token.position)
    return found


def _time(text: str, token: Token) -> datetime:
    """The time of ISO 8601, in UTC when it names no zone, or so long before or after now."""
    relative = RELATIVE.fullmatch(text)
    try:
        if text.lower() == "now":
            return datetime.now(UTC)
        if relative:
            return _bounded(datetime.now(UTC) + timedelta(**{UNITS[relative[2]]: int(relative[1])}), token)
        time = datetime.fromisoformat(text)
        return _bounded(time if time.tzinfo else time.replace(tzinfo=UTC), token)
    except (ValueError, OverflowError) as error:
        raise Mistake(f"{token.source[:50]} is not {Kind.TIME.value}", token.position) from error


def _of_milliseconds(number: float, token: Token) -> datetime:
    try:
        return _bounded(times.EARLIEST + timedelta(milliseconds=number), token)
    except (ValueError, OverflowError) as error:
        raise Mistake(
            f"{token.source[:50]} is no time in milliseconds", token.position, limit="the years 1970 to 9999"
        ) from error


def _bounded(time: datetime, token: Token) -> datetime:
    if not times.EARLIEST <= time <= times.LATEST:
        raise Mistake("the time is out of range", token.position, limit="the years 1970 to 9999")
    return time.astimezone(UTC)


def to_text(condition: Condition) -> str:
    """A text that `parse` makes the same condition of; an empty one when it is always true."""
    match condition:
        case All(()):
            return "TRUE"
        case Any(()) | OneOf(_, ()):
            return "FALSE"
        case All((one,)) | Any((one,)):
            return to_text(one)
        case All((Exists(field), Not(OneOf() as inner))) if inner.field == field and inner.values:
            return f"{field_text(field)} NOT IN {_list_text(inner)}"
        case All(conditions):
            return " AND ".join(_inner(one) for one in conditions)
        case Any(conditions):
            return " OR ".join(_inner(one) for one in conditions)
        case Not(Exists(field)):
            return f"{field_text(field)} IS NULL"
        case Not(inner):
            return f"NOT {_inner(inner)}"
        case Exists(field):
            return f"{field_text(field)} IS NOT NULL"
        case Mentions(text):
            return quoted(text)
        case OneOf(field, _):
            return f"{field_text(field)} IN {_list_text(condition)}"
        case Comparison(field, operator, value):
            return f"{field_text(field)} {operator} {_value_text(value)}"


def _inner(condition: Condition) -> str:
    """The text of a part, in parentheses when it has parts itself."""
    match condition:
        case All((one,)) | Any((one,)):
            return _inner(one)
        case All((_, *_)) | Any((_, *_)):
            return f"({to_text(condition)})"
    return to_text(condition)


def _list_text(condition: OneOf) -> str:
    return f"({', '.join(_value_text(value) for value in condition.values)})"


def field_text(field: Field) -> str:
    """The field as a text names it."""
    if field.area is Area.ATTRIBUTE:
        return field.key
    name = f"{fields.AREAS[field.area][0]}.{quoted_key(field.key)}"
    return name if field.stat is Stat.LAST else f"{field.stat.lower()}({name})"


def quoted_key(key: str) -> str:
    """The key as it stands after a dot, in quotes when it must be."""
    return key if PLAIN_KEY.fullmatch(key) else '"' + key.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """The text in quotes."""
    return "'" + text.replace("'", "''") + "'"


def _value_text(value: Literal) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float() if math.isfinite(value):
            return repr(value)
        case float():
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case datetime():
            return quoted(value.isoformat())
    return quoted(str(value))
