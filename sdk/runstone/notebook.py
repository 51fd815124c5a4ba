"""What notebooks show. Everything that people named is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

ROWS_MAX: Final = 100


def link(text: str, url: str) -> str:
    """The text as a link, where the address is one of the web."""
    if not url.startswith(("http://", "https://")):
        return escape(text)
    return f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """A table of the first `ROWS_MAX` rows, as text; a None is a dash."""
    left = len(rows) - ROWS_MAX
    more = f"<p>and {left} more</p>" if left > 0 else ""
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows[:ROWS_MAX])
    head = f"<caption>{escape(caption)}</caption><thead><tr>{_cells('th', titles)}</tr></thead>"
    return f"<table>{head}<tbody>{body}</tbody></table>{more}"


def _cells(tag: str, values: Iterable[object]) -> str:
    return "".join(f"<{tag}>{escape('-' if value is None else str(value))}</{tag}>" for value in values)
