"""Ids: UUID version 7 (RFC 9562, section 5.7), ordered by the millisecond they were made in."""

import functools
import secrets
import time
from typing import Final
from uuid import UUID

from asyncpg.pgproto import pgproto

from db.errors import Invalid

ID_CHARACTERS: Final = 36


def new() -> UUID:
    """A fresh UUIDv7: 48 bits of Unix milliseconds, then 74 random bits."""
    time_ms = time.time_ns() // 1_000_000
    number = (time_ms << 80) | secrets.randbits(80)
    number = number & ~(0xF << 76) | (0x7 << 76)
    return UUID(int=number & ~(0x3 << 62) | (0x2 << 62))


def parse(text: str, path: str) -> UUID:
    """The id in `text`. Raises `Invalid` that names `path`."""
    found = find(text)
    if found is None:
        raise Invalid(f"{path} is not an id", path=path, hint="an id is a UUID: 8-4-4-4-12 hexadecimal digits")
    return found


def given(text: str | None, path: str) -> UUID | None:
    """The id in `text`; None when there is no text. Raises `Invalid` that names `path`."""
    return None if text is None else parse(text, path)


def find(text: str) -> UUID | None:
    """The id in `text`, or None when it cannot name anything."""
    return _find(text) if len(text) == ID_CHARACTERS else None  # what is longer is not worth being kept


@functools.lru_cache(10_000)  # who logs sends the same two ids again and again
def _find(text: str) -> UUID | None:
    try:
        found: UUID = pgproto.UUID(text)  # as in rows: ten times as fast to write and store
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
