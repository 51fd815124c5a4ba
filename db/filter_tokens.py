"""The parts of a filter text: names, quoted texts, numbers and signs, each with its position.

One pass from left to right, in linear time.
"""

import math
import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple


class Mistake(Exception):
    """Where a text is wrong, counted from 0, and why; `suggestions` could stand there instead."""

    def __init__(
        self, message: str, position: int, *, suggestions: Sequence[str] = (), limit: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.suggestions = tuple(suggestions)
        self.limit = limit


class Is(Enum):
    """What kind of part it is."""

    NAME = auto()
    TEXT = auto()
    NUMBER = auto()
    SIGN = auto()
    END = auto()


class Token(NamedTuple):
    """A part of the text; `word` is what a name without quotes is in capitals, or a sign."""

    kind: Is
    position: int
    source: str
    word: str = ""
    text: str = ""
    area: str | None = None  # of a name with a dot
    number: int | float = 0


BLANK: Final = re.compile(r"\s+")
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+|[+-](?i:inf(?:inity)?)\b")
BARE: Final = re.compile(r"[^\W\d][\w\-/:@$]*+")
BARE_KEY: Final = re.compile(r"[\w\-/:@$]++")
SIGN: Final = re.compile(r"<=|>=|!=|<>|==|[=<>(),]")
MEANT: Final = {"&": "AND", "|": "OR", "!": "NOT"}


def tokens(text: str) -> Iterator[Token]:
    """The parts of the text, and an end."""
    position = 0
    while position < len(text):
        character = text[position]
        if blank := BLANK.match(text, position):
            position = blank.end()
            continue
        if character in "'\"":
            content, end = _quoted(text, position)
            token = Token(Is.TEXT, position, text[position:end], text=content)
        elif character == "`" or BARE.match(text, position):
            token = _name(text, position)
        elif number := NUMBER.match(text, position):
            token = _number(text, position, number[0])
        elif sign := SIGN.match(text, position):
            token = Token(Is.SIGN, position, sign[0], word=sign[0])
        else:
            meant = [MEANT[character]] if character in MEANT else []
            raise Mistake(f"{character!r} has no meaning here", position, suggestions=meant)
        yield token
        position = token.position + len(token.source)
    yield Token(Is.END, len(text), "")


def _quoted(text: str, start: int) -> tuple[str, int]:
    """The content of the quotes that open at `start`, where a doubled quote is one, and where they end."""
    quote, position = text[start], start + 1
    parts = []
    while True:
        end = text.find(quote, position)
        if end < 0:
            raise Mistake(f"the quote {quote} is never closed", start)
        parts.append(text[position:end])
        if not text.startswith(quote, end + 1):
            return quote.join(parts), end + 1
        position = end + 2


def _name(text: str, start: int) -> Token:
    """A field: bare or quoted parts with dots between them. The first of several is the area."""
    parts: list[str] = []
    position = start
    while True:
        if text.startswith(("`", '"'), position):
            part, position = _quoted(text, position)
        else:
            bare = BARE_KEY.match(text, position)
            if bare is None:
                raise Mistake("expected a key after the dot, perhaps in quotes", position)
            part, position = bare[0], bare.end()
        parts.append(part)
        if not text.startswith(".", position):
            break
        position += 1
    source = text[start:position]
    word = source.upper() if len(parts) == 1 and source[0] != "`" and source.isascii() else ""
    area = parts[0] if len(parts) > 1 else None
    return Token(Is.NAME, start, source, word=word, text=".".join(parts[1:] or parts), area=area)


def _number(text: str, start: int, source: str) -> Token:
    end = start + len(source)
    if BARE_KEY.match(text, end) or text.startswith(".", end):
        raise Mistake("the number goes on with what is none; put a text in quotes", end)
    is_whole = source.lstrip("+-").isdecimal() and len(source) < 20
    number = int(source) if is_whole else float(source)
    if math.isinf(number) and source[-1].isdecimal():
        raise Mistake("the number overflows a 64-bit float", start, suggestions=["Infinity"], limit="about 1.8e308")
    return Token(Is.NUMBER, start, source, number=number)


def quoted(text: str) -> str:
    """The text in quotes, as it stands in a filter."""
    return "'" + text.replace("'", "''") + "'"
