"""Columns: many numbers as one value: a JSON list, base64 of little-endian bytes, or the smallest form there is."""

import base64
import binascii
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NewType, TypeAlias

import numpy as np
from graphql import ValueNode, value_from_ast_untyped
from graphql.language import StringValueNode
from numpy.typing import NDArray
from strawberry import scalar
from strawberry.types.scalar import ScalarDefinition

from api.scalars import from_metric_value, refused, to_int64, to_metric_value
from db.packing import Floats, Ints

# In: the little-endian bytes. Out: a list, a text or an object, as `encoded` makes it.
Int64Column = NewType("Int64Column", object)
Float64Column = NewType("Float64Column", object)
Float32Column = NewType("Float32Column", object)  # only answered

Halves: TypeAlias = NDArray[np.float32]

EXACT_INT_MAX: Final = 2**53  # up to here each whole number is a float64
NARROW: Final = ("<u1", "<u2", "<u4")


class ColumnEncoding(Enum):
    """How columns are answered."""

    JSON = "JSON"
    BASE64 = "BASE64"
    COMPACT = "COMPACT"


def to_int64_column(value: Any) -> bytes:
    """The numbers as little-endian int64."""
    if isinstance(value, str):
        return _decoded(value)
    numbers = _listed(value)
    if set(map(type, numbers)) <= {int}:
        try:
            return np.array(numbers, "<i8").tobytes()
        except OverflowError:
            pass  # the slow way finds out which
    return np.array([_entry(to_int64, place, number) for place, number in enumerate(numbers)], "<i8").tobytes()


def to_float64_column(value: Any) -> bytes:
    """The numbers as little-endian float64, each exactly."""
    if isinstance(value, str):
        return _decoded(value)
    numbers = _listed(value)
    if set(map(type, numbers)) <= {float}:
        column = np.array(numbers, "<f8")
        if np.isfinite(column).all():
            return column.tobytes()
    return np.array([_entry(_to_float64, place, number) for place, number in enumerate(numbers)], "<f8").tobytes()


def _to_float64(value: Any) -> float:
    """The float, when it is what was sent and not a neighbour of it."""
    number = to_metric_value(value)
    if isinstance(value, int) and abs(value) > EXACT_INT_MAX and int(number) != value:
        raise refused("the whole number is not a 64-bit float", hint="send it as a float, such as 9007199254740992.0")
    return number


def _entry(parse: Any, place: int, value: Any) -> Any:
    """The entry, or a refusal that says which one it is."""
    try:
        return parse(value)
    except Exception as error:
        raise _at(place, error) from error


def _at(place: int, error: Exception) -> Exception:
    extensions = getattr(error, "extensions", None) or {}
    return refused(f"entry {place}: {error}", limit=extensions.get("limit"), hint=extensions.get("hint"))


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise refused("expected a list of numbers", hint="or base64 text of 8 little-endian bytes a number")
    return value


def _decoded(text: str) -> bytes:
    try:
        column = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise refused("the text is not base64", hint="send a list of numbers, or base64 of 8 bytes a number") from error
    if len(column) % 8:
        raise refused(f"the base64 text holds {len(column)} bytes", limit="8 little-endian bytes a number")
    return column


def encoded(column: NDArray[Any], encoding: ColumnEncoding) -> list[Any] | str | dict[str, Any]:
    """The column as it is answered."""
    if encoding is ColumnEncoding.COMPACT:
        return _compact(column)
    if encoding is ColumnEncoding.BASE64:
        return _text(column)
    numbers: list[Any] = column.tolist()
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        return [from_metric_value(number) for number in numbers]
    return numbers


def _text(column: NDArray[Any]) -> str:
    """The bytes in base64."""
    if not len(column):
        return ""
    return base64.b64encode(np.ascontiguousarray(column).data).decode()


def _compact(column: NDArray[Any]) -> dict[str, Any]:
    """The smallest of the forms that give back the same bits."""
    is_float = column.dtype.kind == "f"
    even = _even_floats(column) if is_float else _even(column)
    return even or (_floats(column) if is_float else _offsets(column))


def _even(column: Ints) -> dict[str, int] | None:
    """A start and a stride; None when not all whole numbers are as far apart."""
    count = len(column)
    if count == 0:
        return {"start": 0, "stride": 0, "count": 0}
    start, stride = int(column[0]), int(column[min(1, count - 1)]) - int(column[0])
    if int(column[-1]) != start + stride * (count - 1) or bool((np.diff(column) != stride).any()):
        return None
    return {"start": start, "stride": stride, "count": count}


def _even_floats(column: Floats) -> dict[str, int] | None:
    """The same of floats that are whole numbers, each exactly."""
    ends = column[[0, -1]] if len(column) else column
    if not bool(((np.abs(ends) <= EXACT_INT_MAX) & (ends == np.floor(ends))).all()):
        return None
    with np.errstate(invalid="ignore"):
        whole = column.astype("<i8")
    even = _even(whole)
    return even if even is not None and _same_bits(whole, column) else None


def _floats(column: Floats) -> dict[str, str]:
    """As float32 when that holds every number."""
    with np.errstate(all="ignore"):
        narrow = column.astype("<f4")
    return {"float32": _text(narrow)} if _same_bits(narrow, column) else {"float64": _text(column)}


def _same_bits(numbers: NDArray[Any], column: Floats) -> bool:
    return np.array_equal(numbers.astype("<f8").view("<i8"), np.ascontiguousarray(column).view("<i8"))


def _offsets(column: Ints) -> dict[str, Any]:
    """As small unsigned numbers above the least; as int64 when they are not small."""
    start = int(column.min())
    spread = int(column.max()) - start
    for width in NARROW:
        if spread <= np.iinfo(width).max:
            return {"start": start, np.dtype(width).name: _text((column - start).astype(width))}
    return {"int64": _text(column)}


def ints(column: Ints, encoding: ColumnEncoding) -> Int64Column:
    """A column of whole numbers, as it is answered."""
    return Int64Column(encoded(column.astype("<i8", copy=False), encoding))


def floats(column: Floats, encoding: ColumnEncoding) -> Float64Column:
    """A column of floats, as it is answered."""
    return Float64Column(encoded(column.astype("<f8", copy=False), encoding))


def narrowed(floats: Floats) -> Halves:
    """The floats to 32 bits; what these do not hold is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return floats.astype("<f4")


def halves(column: Halves, encoding: ColumnEncoding) -> Float32Column:
    """A column of floats of 32 bits, as it is answered."""
    return Float32Column(encoded(column, encoding) if encoding is ColumnEncoding.JSON else _text(column))


def _only_answered(_: Any) -> bytes:
    raise refused("this column is only answered, not sent")


def _literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    """The Python value of a literal."""
    if isinstance(node, StringValueNode):
        return node.value
    try:
        return value_from_ast_untyped(node, variables)
    except ValueError as error:  # a number of thousands of digits
        raise refused("a number has too many digits") from error


def _column(name: str, description: str, parse: Callable[[Any], bytes]) -> ScalarDefinition:
    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> bytes:
        return parse(_literal(node, variables))

    def serialize(value: Any) -> Any:
        return value

    return scalar(
        name=name, description=description, serialize=serialize, parse_value=parse, parse_literal=parse_literal
    )


SCALARS: dict[object, ScalarDefinition] = {
    Int64Column: _column(
        "Int64Column",
        "Whole numbers of 64 bits: a JSON list, or base64 text of 8 little-endian bytes each. As COMPACT they are "
        "answered as an object: `start`, `stride` and `count`; or base64 text under the name of its type, `int64`, or "
        "`uint8`, `uint16` or `uint32` to be added to `start`.",
        to_int64_column,
    ),
    Float64Column: _column(
        "Float64Column",
        'Floats of 64 bits, exactly: a JSON list of numbers, "NaN", "Infinity" and "-Infinity", or base64 text of '
        "8 little-endian bytes each. As COMPACT they are answered as an object: `start`, `stride` and `count`; or "
        "base64 text under the name of its type, `float32` or `float64`.",
        to_float64_column,
    ),
    Float32Column: _column(
        "Float32Column",
        'Floats of 32 bits: base64 text of 4 little-endian bytes each; as JSON a list of numbers, "NaN", "Infinity" '
        'and "-Infinity". Only answered, never sent.',
        _only_answered,
    ),
}
