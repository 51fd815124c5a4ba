"""Scalars that GraphQL lacks: 64-bit integers, metric values with NaN, times, JSON."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from graphql import GraphQLError, ValueNode, value_from_ast_untyped
from graphql.language import FloatValueNode, IntValueNode, StringValueNode
from strawberry.types.scalar import ScalarDefinition

from db.params import NON_FINITE

Int64 = NewType("Int64", int)
MetricValue = NewType("MetricValue", float)
ParamValue = NewType("ParamValue", object)
Cursor = NewType("Cursor", str)


def refused(message: str, *, limit: str | None = None, hint: str | None = None) -> GraphQLError:
    """A value that the scalar does not take; graphql-core adds where it stands."""
    extensions = {"code": "VALIDATION", "limit": limit, "hint": hint, "retryable": False}
    return GraphQLError(message, extensions={name: value for name, value in extensions.items() if value is not None})


def to_int64(value: Any) -> int:
    """The integer. A string of digits is taken too, for clients whose numbers are floats."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and value.isascii() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refused("expected a whole number", limit="-2^63 to 2^63-1")
    if not -(2**63) <= value < 2**63:
        raise refused("the whole number does not fit into 64 bits", limit="-2^63 to 2^63-1")
    return value


def to_metric_value(value: Any) -> float:
    """The float. NaN and the infinities, which JSON lacks, come as their names."""
    if isinstance(value, str) and value in NON_FINITE:
        return NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refused("expected a number", hint='a number, or "NaN", "Infinity", "-Infinity"')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise refused(
            "the number overflows a 64-bit float", limit="about 1.8e308", hint='send "Infinity" if you mean it'
        )
    return number


def from_metric_value(value: float) -> float | str:
    """The number, or the name of one that JSON lacks."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def to_datetime(value: Any) -> datetime:
    """The time in UTC."""
    if not isinstance(value, str) or len(value) > 64:
        raise refused("expected a time as RFC 3339 text", hint='such as "2026-01-31T12:00:00Z"')
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise refused(
            "the time is not RFC 3339, or outside the years 1970 to 9999",
            limit="the years 1970 to 9999",
            hint='such as "2026-01-31T12:00:00Z"',
        ) from error
    if time.tzinfo is None:
        raise refused("the time has no zone", hint='add one, such as the Z in "2026-01-31T12:00:00Z"')
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise refused("the time is out of range", limit="the years 1970 to 9999") from error


def from_datetime(value: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    """The Python value of a literal; numbers keep their kind, so that 1 and 1.0 differ."""
    match node:
        case IntValueNode():
            if len(node.value) > 400:
                raise refused("the number has too many digits", limit="400 digits")
            return int(node.value)
        case FloatValueNode():
            return float(node.value)
        case StringValueNode():
            return node.value
    return value_from_ast_untyped(node, variables)


def _at_literal(parse: Callable[[Any], Any]) -> Callable[..., Any]:
    """`parse` for a literal, whose refusal says where in the document it stands."""

    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        try:
            return parse(_literal(node, variables))
        except GraphQLError as error:
            raise GraphQLError(error.message, node, extensions=error.extensions) from error

    return parse_literal


def _scalar(name: str, description: str, *, parse: Any, serialize: Any, url: str | None = None) -> ScalarDefinition:
    return strawberry.scalar(
        name=name,
        description=description,
        specified_by_url=url,
        serialize=serialize,
        parse_value=parse,
        parse_literal=_at_literal(parse),
    )


def _to_cursor(value: Any) -> str:
    if not isinstance(value, str):
        raise refused("expected a cursor", hint="take it from a pageInfo")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    Int64: _scalar(
        "Int64",
        "A whole number of 64 bits, as a JSON number. A string of digits is taken too.",
        parse=to_int64,
        serialize=int,
    ),
    MetricValue: _scalar(
        "MetricValue",
        'A 64-bit float, exactly: a JSON number, or "NaN", "Infinity", "-Infinity".',
        parse=to_metric_value,
        serialize=from_metric_value,
    ),
    ParamValue: _scalar(
        "ParamValue",
        'Any JSON value. A param of type FLOAT may also be "NaN", "Infinity" or "-Infinity".',
        parse=lambda value: value,
        serialize=lambda value: value,
    ),
    Cursor: _scalar(
        "Cursor",
        "A position in a list, opaque and signed; only good for the list and arguments that it came from.",
        parse=_to_cursor,
        serialize=str,
    ),
    datetime: _scalar(
        "DateTime",
        "A time as RFC 3339 text, answered in UTC to the microsecond.",
        parse=to_datetime,
        serialize=from_datetime,
        url="https://www.rfc-editor.org/rfc/rfc3339",
    ),
}
