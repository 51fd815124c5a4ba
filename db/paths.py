"""Paths of artifacts: names inside a run, the same on every system, that never lead anywhere else."""

import unicodedata
from typing import Final

from db import texts
from db.errors import Invalid

PATH_BYTES_MAX: Final = 1_024
SEGMENTS_MAX: Final = 32

# Names that Windows gives to devices, whatever follows the first dot.
DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {port + digit for port in ("COM", "LPT") for digit in "123456789\u00b9\u00b2\u00b3"}
)


def checked(text: str, path: str) -> str:
    """`text` when it can name an artifact: 'folder/file', relative, taken literally. Raises `Invalid`."""
    texts.storable(text, path)
    if not text:
        raise Invalid(f"{path} is empty", path=path, limit=f"1 to {PATH_BYTES_MAX} bytes")
    if len(text.encode()) > PATH_BYTES_MAX:
        raise Invalid(f"{path} has {len(text.encode())} bytes", path=path, limit=f"{PATH_BYTES_MAX} bytes")
    if "\\" in text or ":" in text:
        raise Invalid(f"{path} holds a backslash or a colon", path=path, hint="separate folders with /")
    if any(unicodedata.category(character) in texts.CONTROLS for character in text):
        raise Invalid(f"{path} holds a control character or a line break", path=path, hint="use one line of text")
    if not texts.BIDI_CONTROLS.isdisjoint(text):
        raise Invalid(f"{path} holds a character that reverses the text around it", path=path)
    if not unicodedata.is_normalized("NFC", text):
        raise Invalid(
            f"{path} is not in Unicode normal form C, so it could look the same as another",
            path=path,
            hint='send unicodedata.normalize("NFC", text)',
        )
    segments = text.split("/")
    if len(segments) > SEGMENTS_MAX:
        raise Invalid(f"{path} has {len(segments)} segments", path=path, limit=f"{SEGMENTS_MAX} segments")
    for segment in segments:
        _check_segment(segment, path)
    return text


def _check_segment(segment: str, path: str) -> None:
    if segment in {"", ".", ".."}:
        raise Invalid(
            f"{path} has the segment {segment!r}",
            path=path,
            hint="use a relative path without . and .., without // and without / at its ends",
        )
    if segment[-1] in {".", " "}:
        raise Invalid(f"{path} has a segment that ends with a dot or a space", path=path, hint="some systems drop it")
    if segment.split(".", 1)[0].rstrip().upper() in DEVICES:
        raise Invalid(f"{path} has the segment {segment!r}, which names a device on Windows", path=path)
