"""Tables for people at a terminal: columns that fit its width, in colours where it has them."""

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

STYLES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
    "bold red": "1;31",
    "bold yellow": "1;33",
}
GAP: Final = 2
NARROWEST: Final = 6


@dataclass(frozen=True, slots=True)
class Styled:
    """A text in a style of `STYLES`."""

    text: str
    style: str = ""


Cell: TypeAlias = str | Styled


@dataclass(slots=True)
class Table:
    """Rows of cells, below `titles` when there are some. What is too wide for the terminal is folded, never cut."""

    titles: Sequence[str] = ()
    title: str = ""
    rows: list[Sequence[Cell]] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """A row."""
        self.rows.append(cells)

    def __str__(self) -> str:
        return self.text(None, colour=False)

    def text(self, width: int | None, *, colour: bool) -> str:
        """The table, at most so wide; None is as wide as it needs."""
        head = [[Styled(title, "bold") for title in self.titles]] if self.titles else []
        rows = [[cell if isinstance(cell, Styled) else Styled(cell) for cell in row] for row in (*head, *self.rows)]
        widths = _fitting([max(map(_width, column)) for column in zip(*_texts(rows), strict=True)], width)
        title = [painted(Styled(self.title, "bold"), colour)] if self.title else []
        return "\n".join([*title, *(line for row in rows for line in _lines(row, widths, colour))])


def show(*parts: Cell | Table) -> None:
    """Print each on lines of its own."""
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None
    colour = is_terminal and not os.environ.get("NO_COLOR")
    for part in parts:
        print(part.text(width, colour=colour) if isinstance(part, Table) else painted(part, colour))


def painted(cell: Cell, colour: bool) -> str:
    """The text with the codes of its style."""
    if isinstance(cell, str):
        return cell
    return f"\033[{STYLES[cell.style]}m{cell.text}\033[0m" if colour and cell.style and cell.text else cell.text


def printable(text: str) -> str:
    """On one line; control characters of other people's text do nothing to the terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _texts(rows: Sequence[Sequence[Styled]]) -> list[list[str]]:
    return [[cell.text for cell in row] for row in rows]


def _fitting(widths: list[int], width: int | None) -> list[int]:
    """The widths of the columns; the widest give way until all fit."""
    while width is not None and sum(widths) + GAP * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _lines(row: Sequence[Styled], widths: Sequence[int], colour: bool) -> Iterator[str]:
    folded = [list(_folded(cell.text, width)) for cell, width in zip(row, widths, strict=True)]
    for place in range(max(map(len, folded))):
        line = ""
        for cell, width, parts in zip(row, widths, folded, strict=True):
            part = parts[place] if place < len(parts) else ""
            line += painted(Styled(part, cell.style), colour) + " " * (width - _width(part) + GAP)
        yield line.rstrip()


def _folded(text: str, width: int) -> Iterator[str]:
    part, used = "", 0
    for character in text:
        if used + _width(character) > width and part:
            yield part
            part, used = "", 0
        part += character
        used += _width(character)
    yield part


def _width(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )
