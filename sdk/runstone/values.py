"""What may be logged: checked at the call, so that a mistake is named where it was made.

The bounds are those of the server. A value is sent exactly or refused; it is never cut or changed.
"""

import json
import math
import operator
import secrets
import time
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from runstone.errors import Invalid

NAME_CHARACTERS_MAX: Final = 250
NAME_BYTES_MAX: Final = 1000
VALUE_BYTES_MAX: Final = 65_536
PATH_BYTES_MAX: Final = 1024
PATH_SEGMENTS_MAX: Final = 32
DEPTH_MAX: Final = 20
STEP_MAX: Final = 2**63 - 1

CONTROLS: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
INVISIBLE: Final = frozenset({"Cf", "Mn", "Zs"})
REVERSING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {device + digit for device in ("COM", "LPT") for digit in "123456789\u00b9\u00b2\u00b3"}
)


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562): made here, so that starting a run can be repeated and ids follow time."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    number = number & ~(0xF << 76) | (0x7 << 76)
    return str(uuid.UUID(int=number & ~(0x3 << 62) | (0x2 << 62)))


def now() -> str:
    """The time by this machine's clock, as the wire has it."""
    return datetime.now(UTC).isoformat()


def name(text: object, what: str) -> str:
    """`text` when it can name something: 1 to 250 visible characters on one line. Raises `Invalid`, `TypeError`."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be text, not {_kind(text)}: {text!r}")
    _storable(text, what)
    if not text:
        raise Invalid(f"{what} is empty", path=what, limit=f"1 to {NAME_CHARACTERS_MAX} characters")
    if len(text) > NAME_CHARACTERS_MAX or len(text.encode()) > NAME_BYTES_MAX:
        limit = f"{NAME_CHARACTERS_MAX} characters, {NAME_BYTES_MAX} bytes"
        raise Invalid(f"{what} {text[:40]!r}... has {len(text)} characters", path=what, limit=limit)
    if text != text.strip():
        raise Invalid(f"{what} {text!r} begins or ends with white space", path=what)
    _check_visible(text, what)
    if all(unicodedata.category(character) in INVISIBLE for character in text):
        raise Invalid(f"{what} {text!r} has no visible character", path=what)
    return text


def _check_visible(text: str, what: str) -> None:
    if any(unicodedata.category(character) in CONTROLS for character in text):
        raise Invalid(f"{what} {text!r} holds a control character or a line break", path=what)
    if not REVERSING.isdisjoint(text):
        raise Invalid(f"{what} {text!r} holds a character that reverses the text around it", path=what)
    if not unicodedata.is_normalized("NFC", text):
        hint = 'pass unicodedata.normalize("NFC", text)'
        raise Invalid(f"{what} {text!r} is not in Unicode normal form C", path=what, hint=hint)


def _storable(text: str, what: str) -> None:
    if "\0" in text:
        raise Invalid(f"{what} holds the character NUL", path=what, hint="remove it, or log the bytes as an artifact")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid(f"{what} holds half of a surrogate pair", path=what, hint="pass whole characters")


def _value(text: str, what: str) -> str:
    _storable(text, what)
    size_bytes = len(text.encode())
    if size_bytes > VALUE_BYTES_MAX:
        limit = f"{VALUE_BYTES_MAX} bytes"
        raise Invalid(f"{what} has {size_bytes} bytes", path=what, limit=limit, hint="log it as an artifact")
    return text


def path(text: str) -> str:
    """`text` when it can be an artifact's path: relative, with `/`, the same file on every system. Raises `Invalid`."""
    _storable(text, "path")
    if len(text.encode()) > PATH_BYTES_MAX:
        raise Invalid(f"the path {text[:40]!r}... is too long", path="path", limit=f"{PATH_BYTES_MAX} bytes")
    if "\\" in text or ":" in text:
        raise Invalid(f"the path {text!r} holds a backslash or a colon", path="path", hint="separate folders with /")
    _check_visible(text, "path")
    segments = text.split("/")
    if len(segments) > PATH_SEGMENTS_MAX:
        raise Invalid(f"the path {text!r} is too deep", path="path", limit=f"{PATH_SEGMENTS_MAX} segments")
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise Invalid(f"the path {text!r} must be relative, without {segment!r} parts", path="path")
        if segment[-1] in {".", " "}:
            raise Invalid(f"the path {text!r} has a part that ends with a dot or a space", path="path")
        if segment.split(".", 1)[0].rstrip().upper() in DEVICES:
            raise Invalid(f"the path {text!r} names a device on Windows", path="path")
    return text


def number(key: str, value: object) -> float:
    """`value` as the float64 nearest to it, NaN and infinities included.

    Takes what holds one number: int, float, Decimal, Fraction, and scalars or 0-dimensional arrays of NumPy, PyTorch,
    JAX and their like. Raises `TypeError` that names the key for all else, `Invalid` when it is out of range.
    """
    plain = value if type(value) is float else plain_scalar(value)
    if type(plain) is float:
        return plain
    if isinstance(plain, bool) or not hasattr(type(plain), "__float__") or _is_array(plain):
        raise TypeError(f"metric {key!r} must be one number, not {_kind(value)}: {_shown(value)}")
    return _nearest(plain, f"metric {key!r}", key)


def _nearest(value: Any, what: str, key: str) -> float:
    """The float64 nearest to it. Raises `Invalid`, also where Python would make an infinity of a finite number."""
    try:
        nearest = float(value)
        if not math.isinf(nearest) or value == nearest:
            return nearest
    except OverflowError:
        pass
    except ValueError as error:
        raise Invalid(f"{what} cannot be stored: {error}", path=key) from error
    raise Invalid(f"{what} is too large for a float64", path=key, limit="about 1.8e308")


def plain_scalar(value: object) -> object:
    """The Python value in a scalar or 0-dimensional array; anything else as it is."""
    item = getattr(value, "item", None)
    if not callable(item):
        return value
    shape = getattr(value, "shape", None)
    return item() if shape is not None and len(shape) == 0 else value


def _is_array(value: object) -> bool:
    return bool(getattr(value, "shape", None))


def step(value: object) -> int:
    """`value` as a step: a whole number from 0 to 2^63-1. Raises `TypeError`, `Invalid`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        whole = operator.index(value)  # type: ignore[arg-type]  # this is the test
    except TypeError:
        raise TypeError(f"step must be a whole number, not {_kind(value)}: {_shown(value)}") from None
    if not 0 <= whole <= STEP_MAX:
        raise Invalid(f"step {whole} is out of range", path="step", limit="0 to 2^63-1")
    return whole


def mapping(given: object, what: str) -> Mapping[Any, Any]:
    """`given` when it is one. Raises `TypeError`."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping such as a dict, not {_kind(given)}: {_shown(given)}")
    return given


def flatten(
    params: Mapping[Any, Any], prefix: str = "", depth: int = 1, *, what: str = "params"
) -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, with the keys joined by dots: {"a": {"b": 1}} is a.b = 1. Raises `Invalid`."""
    if depth > DEPTH_MAX:
        raise Invalid(f"{what} are nested deeper than {DEPTH_MAX} under {prefix[:60]!r}", limit=f"{DEPTH_MAX} levels")
    for key, value in mapping(params, what).items():
        if not isinstance(key, str) and (isinstance(key, bool) or not isinstance(key, int)):
            raise TypeError(f"{what} {prefix!r} have the key {key!r}; a key must be text or a whole number")
        full = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{full}.", depth + 1, what=what)
        else:
            yield full, value


def numbers(metrics: Mapping[Any, Any]) -> dict[Any, float]:
    """The numbers of metrics; in nested mappings with the keys joined by dots. Raises `TypeError`, `Invalid`."""
    if any(issubclass(kind, Mapping) for kind in set(map(type, metrics.values()))):
        return _flat_metrics(metrics)
    return {key: number(key, value) for key, value in metrics.items()}


def _flat_metrics(metrics: Mapping[Any, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in flatten(metrics, what="metrics"):
        if key in flat:
            raise Invalid(f"metric {key!r} is given twice", path=key)
        flat[key] = number(key, value)
    return flat


def param(key: str, value: object) -> dict[str, Any]:
    """The param as it is sent: key, type and value. Raises `TypeError`, `Invalid`; both name the key."""
    name(key, "param key")
    what = f"param {key!r}"
    plain = _plain(value, key)
    match plain:
        case None:
            kind = "NULL"
        case bool():
            kind = "BOOL"
        case int():
            kind = "INT"
            if not -(2**63) <= plain < 2**63:
                raise Invalid(f"{what} is too large", path=key, limit="-2^63 to 2^63-1", hint="log it as text: str(x)")
        case float():
            kind, plain = "FLOAT", _float(plain)
        case str():
            kind, plain = "STRING", _value(plain, what)
        case list() | tuple() | Mapping():
            kind, plain = "JSON", _json(key, plain)
            _value(json.dumps(plain, ensure_ascii=False, separators=(",", ":")), what)
        case _:
            raise TypeError(f"{what} cannot be {_kind(value)}: {_shown(value)}; pass text, a number or a list")
    return {"key": key, "type": kind, "value": plain}


def _plain(value: object, key: str) -> object:
    value = plain_scalar(value)
    match value:
        case Enum():
            return _plain(value.value, key)
        case PurePath():
            return str(value)
        case datetime():
            return value.isoformat()
        case bool() | None:
            return value
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            return float(value)
    if hasattr(type(value), "__float__") and not _is_array(value):  # Decimal, Fraction and such
        return _nearest(value, repr(key), key)
    return value


def _float(value: float) -> float | str:
    """JSON has no names for these three."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _json(key: str, value: object, depth: int = 1) -> Any:
    what = f"param {key!r}"
    if depth > DEPTH_MAX:
        raise Invalid(f"{what} is nested deeper than {DEPTH_MAX}", limit=f"{DEPTH_MAX} levels")
    plain = _plain(value, key)
    match plain:
        case None | bool() | int():
            return plain
        case str():
            _storable(plain, what)
            return plain
        case float():
            if not math.isfinite(plain):
                raise Invalid(f"{what} holds {plain} in a list", hint='JSON has no such number; use None or "nan"')
            return plain
        case list() | tuple():
            return [_json(key, element, depth + 1) for element in plain]
        case Mapping():
            return {str(name): _json(key, element, depth + 1) for name, element in plain.items()}
    raise TypeError(f"{what} cannot hold {_kind(value)}: {_shown(value)}")


def tag(key: str, value: object) -> dict[str, Any]:
    """The tag as it is sent; the value None removes it. Raises `TypeError`, `Invalid`; both name the key."""
    name(key, "tag key")
    if value is None:
        return {"key": key, "value": None}
    plain = _plain(value, key)
    if not isinstance(plain, str | int | float):
        raise TypeError(f"tag {key!r} must be text, not {_kind(value)}: {_shown(value)}")
    return {"key": key, "value": _value(str(plain), f"tag {key!r}")}


def dataset(dataset_name: str, digest: str, context: str | None, uri: str | None) -> dict[str, Any]:
    """The input as it is sent. Raises `Invalid`."""
    return {
        "name": name(dataset_name, "dataset name"),
        "digest": name(digest, f"digest of {dataset_name!r}"),
        "context": None if context is None else _value(context, f"context of {dataset_name!r}"),
        "uri": None if uri is None else _value(uri, f"uri of {dataset_name!r}"),
    }


def _kind(value: object) -> str:
    shape = getattr(value, "shape", None)
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"{kind} of shape {tuple(shape)}" if shape else kind


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # what is refused is told even where it cannot be shown
        text = object.__repr__(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
