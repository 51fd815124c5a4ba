"""What text may be: the checks that every name, key and value passes before it meets SQL.

Text is stored exactly as given or refused; it is never changed.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

from db.errors import Invalid

NAME_CHARACTERS_MAX: Final = 250
NAME_BYTES_MAX: Final = 1000
VALUE_BYTES_MAX: Final = 65_536

# Unicode categories that a name may not hold: control, surrogate, private use is allowed, unassigned is allowed.
CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Characters that reorder the text around them, so that a name reads as another.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def is_plain(text: str) -> bool:
    """Whether it is as most names and values are, so that nothing is wrong with it."""
    return text.isascii() and text.isprintable() and text.strip() == text and 0 < len(text) <= NAME_CHARACTERS_MAX


def are_plain(texts: list[str]) -> bool:
    """Whether each of them is, found of all at once in half of the time."""
    together = "".join(texts)
    return (
        together.isascii()
        and together.isprintable()
        and list(map(str.strip, texts)) == texts
        and all(texts)
        and max(map(len, texts), default=0) <= NAME_CHARACTERS_MAX
    )


def name(text: str, path: str) -> str:
    """`text` when it can name something: 1 to 250 visible characters on one line. Raises `Invalid`."""
    if is_plain(text):  # what follows costs ten times as much
        return text
    storable(text, path)
    if not text:
        raise Invalid(f"{path} is empty", path=path, limit=f"1 to {NAME_CHARACTERS_MAX} characters")
    if len(text) > NAME_CHARACTERS_MAX or len(text.encode()) > NAME_BYTES_MAX:
        raise Invalid(
            f"{path} has {len(text)} characters ({len(text.encode())} bytes)",
            path=path,
            limit=f"{NAME_CHARACTERS_MAX} characters, {NAME_BYTES_MAX} bytes",
        )
    if text != text.strip():
        raise Invalid(f"{path} begins or ends with white space", path=path, hint="remove it")
    if any(unicodedata.category(character) in CONTROLS for character in text):
        raise Invalid(f"{path} holds a control character or a line break", path=path, hint="use one line of text")
    if not BIDI_CONTROLS.isdisjoint(text):
        raise Invalid(f"{path} holds a character that reverses the text around it", path=path)
    if all(unicodedata.category(character) in {"Cf", "Mn", "Zs"} for character in text):
        raise Invalid(f"{path} has no visible character", path=path)
    if not unicodedata.is_normalized("NFC", text):
        raise Invalid(
            f"{path} is not in Unicode normal form C, so it could look the same as another",
            path=path,
            hint='send unicodedata.normalize("NFC", text)',
        )
    return text


def searched(text: str, path: str) -> str:
    """`text` when a name may have it in it: at most 250 characters. Raises `Invalid`."""
    storable(text, path)
    if len(text) > NAME_CHARACTERS_MAX:
        raise Invalid(f"{path} has {len(text)} characters", path=path, limit=f"{NAME_CHARACTERS_MAX} characters")
    return text


def value(text: str, path: str, bytes_max: int = VALUE_BYTES_MAX) -> str:
    """`text` when it can be stored as a value: any text without NUL, at most `bytes_max` bytes. Raises `Invalid`."""
    storable(text, path)
    size_bytes = len(text.encode())
    if size_bytes > bytes_max:
        raise Invalid(
            f"{path} has {size_bytes} bytes",
            path=path,
            limit=f"{bytes_max} bytes",
            hint="log it as an artifact",
        )
    return text


def storable(text: str, path: str) -> str:
    """`text` when Postgres can hold it. Raises `Invalid`."""
    if "\0" in text:
        raise Invalid(f"{path} holds the character NUL", path=path, hint="remove it, or log the bytes as an artifact")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid(f"{path} holds half of a surrogate pair", path=path, hint="send whole characters")
    return text


def all_storable(given: Sequence[str], path: str) -> list[str]:
    """The texts when Postgres can hold each of them. Raises `Invalid` that names the one it cannot."""
    return [storable(text, f"{path}[{place}]") for place, text in enumerate(given)]
