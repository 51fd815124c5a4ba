"""Cells: a value for each run, as JSON that is made at once and spliced into the answer as it is."""

from collections.abc import Sequence
from typing import Any, Final, NewType, TypeAlias, cast

import numpy as np
import orjson
from numpy.typing import NDArray
from strawberry import scalar
from strawberry.types.scalar import ScalarDefinition

from api.scalars import from_metric_value, refused
from db.comparisons import ParamColumn
from db.frames import FrameColumn, NumberColumn
from db.packing import Floats, Ints

Cells = NewType("Cells", object)

Spliced: TypeAlias = list[Any]  # stands where a list is answered, and is its JSON

FLAGS: Final = (None, True, False)
NON_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})  # what a FLOAT may be that JSON lacks


def texts(values: Sequence[str | None]) -> Spliced:
    """Texts, or null."""
    return _spliced(orjson.dumps(values))


def params(column: ParamColumn) -> Spliced:
    """The values of a param, or null; a param's text is its JSON, unless it is a string or a float that JSON lacks."""
    if column.kinds <= {"STRING", None}:
        return texts(column.texts)
    if "STRING" not in column.kinds:
        json = column.strung[:-1].replace(b"\0", b",")
        if b"N" not in json and b"I" not in json:  # as the names of floats that JSON lacks begin
            return _spliced(b"[%b]" % json)
    values = [
        "null" if text is None else orjson.dumps(text).decode() if type_ == "STRING" or text in NON_FINITE else text
        for text, type_ in zip(column.texts, column.types, strict=True)
    ]
    return _spliced(f"[{','.join(values)}]")


def column(of: FrameColumn) -> Spliced:
    """The values of a column of a frame, or null."""
    match of:
        case ParamColumn():
            return params(of)
        case NumberColumn():
            return numbers(of.values, of.has)
    return texts(of.texts)


def numbers(values: NDArray[Any], has: NDArray[np.bool_]) -> Spliced:
    """Numbers of either kind, or null."""
    [row] = (floats if values.dtype.kind == "f" else counts)(values[None, :], has[None, :])
    return row


def floats(values: Floats, has: NDArray[np.bool_]) -> list[Spliced]:
    """A column of metric values for each row; null where a run has none."""
    shown = np.where(has, values, np.nan)
    columns = _rows(shown)
    for row in np.flatnonzero((has & ~np.isfinite(values)).any(axis=1)).tolist():
        given = np.where(has[row], values[row], np.array(None))
        for place in np.flatnonzero(has[row] & ~np.isfinite(values[row])).tolist():
            given[place] = from_metric_value(given[place])
        columns[row] = _spliced(orjson.dumps(given.tolist()))
    return columns


def counts(values: Ints, has: NDArray[np.bool_]) -> list[Spliced]:
    """A column of whole numbers for each row; null where a run has none."""
    if has.all():
        return _rows(values)
    return [_spliced(orjson.dumps(row)) for row in np.where(has, values, np.array(None)).tolist()]


def flags(signs: Ints) -> list[Spliced]:
    """A column of true, false or null for each row of 1, -1 or 0."""
    return [_spliced(orjson.dumps([FLAGS[sign] for sign in row])) for row in signs.tolist()]


def _spliced(json: bytes | str) -> Spliced:
    return cast(Spliced, orjson.Fragment(json))


def _rows(matrix: NDArray[Any]) -> list[Spliced]:
    """The JSON of each row; of NaN it is null."""
    if not matrix.size:
        return [_spliced(b"[]") for _ in matrix]
    whole = orjson.dumps(np.ascontiguousarray(matrix), option=orjson.OPT_SERIALIZE_NUMPY)
    return [_spliced(b"[" + row + b"]") for row in whole[2:-2].split(b"],[")]


def _only_answered(_: Any) -> Any:
    raise refused("cells are only answered, not sent")


SCALARS: dict[object, ScalarDefinition] = {
    Cells: scalar(
        name="Cells",
        description="A JSON list with a value for each run or group, in the order of their ids; null for none. A float "
        'that JSON lacks is "NaN", "Infinity" or "-Infinity".',
        serialize=lambda value: value,
        parse_value=_only_answered,
    )
}
