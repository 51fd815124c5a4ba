"""Filters as texts: MLflow's search grammar with OR, NOT, parentheses, IN and more; see docs/filters.md.

    condition   = conjunction { OR conjunction }
    conjunction = negation { AND negation }
    negation    = NOT negation | "(" condition ")" | TRUE | FALSE | text | comparison
    comparison  = field ( operator value | [NOT] ( LIKE text | ILIKE text | IN "(" values ")" ) | IS [NOT] NULL )
    field       = name | stat "(" name ")"

One pass over the text and one over its tokens, each in linear time.
"""

import math
import re
from collections.abc import Set
from datetime import datetime
from difflib import get_close_matches
from typing import Final

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
from db.filter_tokens import Is, Mistake, Token, quoted, tokens
from db.filter_values import read_value

CHARACTERS_MAX: Final = 65_536
TERMS_MAX: Final = 1_000
WORDS_MAX: Final = 20  # of a text that is searched for: names and notes are read for each of them
DEPTH_MAX: Final = 50


def parse(text: str, path: str) -> Condition:
    """What the text asks; an empty one asks nothing. Raises `Invalid` with the position of the mistake.

    Times such as '-7d' are counted from now, so the same text gives another condition later: a cursor goes by the text.
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
PLAIN_KEY: Final = re.compile(r"[\w\-/:@$]++(?:\.[\w\-/:@$]++)*")


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
            found: Condition = OneOf(field, self._values(field, at))
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
        words = len(text.text.split())
        if words > WORDS_MAX:
            raise Mistake(f"the text has {words} words", text.position, limit=f"{WORDS_MAX} words")
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
        value = read_value(self._step(), Kind.TEXT if operator in PATTERNS else kind, at.source)
        if operator in ORDERED and isinstance(value, bool):
            raise Mistake("true and false have no order", value_at.position)
        return Comparison(field, operator, value)

    def _values(self, field: Field, at: Token) -> tuple[Literal, ...]:
        """The values of a list in parentheses; each counts as a term."""
        kind = fields.kind(field)
        self._take("(")
        values = [read_value(self._step(), kind, at.source)]
        while self._taken(","):
            self._count()
            values.append(read_value(self._step(), kind, at.source))
        if not self._taken(")"):
            raise self._expected("a comma or a closing parenthesis", ",", ")")
        return tuple(values)

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


def _names(operators: Set[Operator]) -> list[str]:
    return [each.value for each in Operator if each in operators] + ["IN", "IS NULL"]


def to_text(condition: Condition) -> str:
    """A text that `parse` makes the same condition of, without the groups of one that a tree may have."""
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
