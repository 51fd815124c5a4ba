"""Datasets by the digest of their content: the same content has the same digest, on every machine and on every day.

    file       sha256:HEX         SHA-256 of its bytes
    folder     tree-sha256:HEX    of a line "HEX  PATH" for each file, as sha256sum prints it, in the order of the paths
    array      array-sha256:HEX   of its type, its shape and its numbers
    table      table-sha256:HEX   of the names, the kinds and the values of its columns, in their order
    a URI      uri-sha256:HEX     of its text, without a password: it says where, not what

An array and a table are digested by what they hold: byte order and memory layout do not count, and in a table neither
does the width of numbers, so that the same table has the same digest in pandas and in Polars.
"""

import hashlib
import os
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from runstone import capture, files
from runstone.errors import Invalid

URI: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
NAN: Final = struct.pack("<d", float("nan"))
TEXTS_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Described:
    """What identifies a dataset, and where it is, when that is known."""

    digest: str
    uri: str | None = None


def described(data: Any) -> Described:
    """The digest of the data. Raises `TypeError` when it is of no known kind, `Invalid`, `OSError`."""
    if isinstance(data, str) and URI.match(data):
        uri = capture.without_secrets(data)
        return Described(f"uri-sha256:{hashlib.sha256(uri.encode()).hexdigest()}", uri)
    if isinstance(data, str | os.PathLike):
        return _of_path(Path(data))
    columns = _columns(data)
    if columns is not None:
        return Described(f"table-sha256:{_of_table(columns)}")
    if hasattr(data, "__array__"):
        return Described(f"array-sha256:{_of_array(data)}")
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    raise TypeError(f"a dataset is a data frame, an array, a path or a URI, not {kind}")


def _of_path(path: Path) -> Described:
    if not path.is_dir():
        [file] = files.one(path, "file")
        return Described(f"sha256:{file.digested().sha256}")
    tree = hashlib.sha256()
    for file in sorted(files.folder(path, None), key=lambda file: file.path.encode()):
        tree.update(f"{file.digested().sha256}  {file.path}\n".encode())
    return Described(f"tree-sha256:{tree.hexdigest()}")


def _of_array(data: Any) -> str:
    import numpy as np

    array = np.asarray(data)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"an array of {array.dtype} has no digest of its content; pass a table or a digest")
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    whole = hashlib.sha256(f"{little.dtype.str.lstrip('<|')} {array.shape}\n".encode())
    whole.update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)
    return whole.hexdigest()


# --- tables: a column is a name and its values ---


Column = tuple[str, Any]


def _columns(data: Any) -> list[Column] | None:
    """The columns of a frame, or the one of a series; None when the data is neither."""
    match type(data).__module__.partition(".")[0], type(data).__name__:
        case "pandas", "DataFrame":
            return [*_index(data), *((str(name), data.iloc[:, place]) for place, name in enumerate(data.columns))]
        case "pandas", "Series":
            return [*_index(data), (str(data.name), data)]
        case "polars", "DataFrame":
            return [(series.name, series) for series in data.get_columns()]
        case "polars", "LazyFrame":
            return _columns(data.collect())
        case "polars", "Series":
            return [(data.name, data)]
    return None


def _index(data: Any) -> Iterator[Column]:
    """The index of a pandas object, unless it only counts the rows."""
    if type(data.index).__name__ != "RangeIndex":
        for level in range(data.index.nlevels):
            yield f"index:{data.index.names[level]}", data.index.get_level_values(level).to_series()


def _of_table(columns: list[Column]) -> str:
    whole = hashlib.sha256()
    for name, values in columns:
        kind, content = _content(values)
        column = hashlib.sha256()
        for part in content:
            column.update(part)
        whole.update(_sized(name.encode()))
        whole.update(_sized(f"{kind} {len(values)}".encode()))
        whole.update(column.digest())
    return whole.hexdigest()


def _content(values: Any) -> tuple[str, Iterable[Any]]:
    """What a column holds: its kind, and the bytes of its values. A number that is missing makes them floats."""
    import numpy as np

    number = _kind(values)
    missing = bool(values.isnull().any()) if hasattr(values, "isnull") else bool(values.null_count())
    if number == "bool" and not missing:
        return "bool", [np.asarray(values.to_numpy(), dtype="<u1")]
    if number == "int" and not missing:
        array = values.to_numpy()
        return ("uint", [array.astype("<u8")]) if _is_beyond_int64(array) else ("int", [array.astype("<i8")])
    if number == "float" or (number == "int" and missing):
        return "float", [_floats(values)]
    return "values", _encoded(values.to_list())


def _kind(values: Any) -> str:
    """bool, int, float or other; of both libraries."""
    name = str(values.dtype).lower()
    if name.startswith("bool"):
        return "bool"
    if re.fullmatch(r"u?int(8|16|32|64)(\[pyarrow\])?", name):
        return "int"
    return "float" if re.fullmatch(r"(float(16|32|64)|double)(\[pyarrow\])?", name) else "other"


def _is_beyond_int64(array: Any) -> bool:
    return bool(array.dtype.kind == "u" and array.size and array.max() > 2**63 - 1)


def _floats(values: Any) -> Any:
    """Float64 with one NaN for all that is missing or is no number."""
    import numpy as np

    if hasattr(values, "isnull"):
        numbers = values.to_numpy(dtype="float64", na_value=np.nan).astype("<f8")
    else:
        numbers = values.cast(sys.modules["polars"].Float64).fill_null(float("nan")).to_numpy().astype("<f8")
    numbers[np.isnan(numbers)] = np.frombuffer(NAN, "<f8")[0]
    return numbers


def _encoded(values: list[Any]) -> Iterator[bytes]:
    """Each value with its kind and its length."""
    for start in range(0, len(values), TEXTS_AT_ONCE):
        yield b"".join(map(_one, values[start : start + TEXTS_AT_ONCE]))


def _one(value: Any) -> bytes:
    if type(value) is str:
        return b"t" + _sized(value.encode("utf-8", "surrogatepass"))
    for kinds, encode in ENCODINGS:
        if isinstance(value, kinds):
            return encode(value)
    if value is None or _is_missing(value):
        return b"n"
    item = getattr(value, "item", None)
    if callable(item):
        return _one(item())
    raise Invalid(
        f"a column holds a {type(value).__name__}, which has no digest of its content",
        path="data",
        hint="leave the column out, or pass a digest of your own",
    )


def _is_missing(value: Any) -> bool:
    """pandas.NA, pandas.NaT."""
    return type(value).__name__ in {"NAType", "NaTType"}


def _time(value: datetime) -> bytes:
    """Nanoseconds since 1970, of a time without a zone as if it were in UTC."""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    since = aware.astimezone(UTC).replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)
    whole_s = since.days * 86_400 + since.seconds
    nanoseconds = whole_s * 1_000_000_000 + value.microsecond * 1000 + getattr(value, "nanosecond", 0)
    return (b"z" if value.tzinfo else b"T") + str(nanoseconds).encode() + b";"


def _float(value: float) -> bytes:
    return b"n" if value != value else b"f" + struct.pack("<d", value)


def _list(value: Iterable[Any]) -> bytes:
    return b"l" + _sized(b"".join(map(_one, value)))


def _mapping(value: dict[Any, Any]) -> bytes:
    return b"m" + _sized(b"".join(_one(key) + _one(element) for key, element in value.items()))


def _sized(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


ENCODINGS: Final[list[tuple[type | tuple[type, ...], Callable[[Any], bytes]]]] = [
    (str, lambda value: b"t" + _sized(value.encode("utf-8", "surrogatepass"))),
    (bool, lambda value: b"b1" if value else b"b0"),
    (int, lambda value: b"i" + str(value).encode() + b";"),
    (float, _float),
    (bytes, lambda value: b"y" + _sized(value)),
    (datetime, lambda value: b"n" if _is_missing(value) else _time(value)),
    (date, lambda value: b"d" + value.isoformat().encode() + b";"),
    (timedelta, lambda value: b"D" + str(value / timedelta(microseconds=1)).encode() + b";"),
    (Decimal, lambda value: b"e" + str(value).encode() + b";"),
    ((list, tuple), _list),
    (dict, _mapping),
]
