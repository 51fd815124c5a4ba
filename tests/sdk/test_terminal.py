"""Tables at a terminal: they fit, nothing is cut, and nobody's text does anything to it."""

from datetime import UTC, datetime

import pytest

from runstone import tables
from runstone.records import RunSummary
from runstone.terminal import Styled, Table


def table() -> Table:
    return Table(("NAME", "VALUE"), "A title", [("lr", Styled("0.1", "red")), ("notes", "x" * 40), ("名前", "é")])


def test_a_table_is_as_wide_as_it_needs() -> None:
    assert str(table()).splitlines() == ["A title", "NAME   VALUE", "lr     0.1", f"notes  {'x' * 40}", "名前   é"]


@pytest.mark.parametrize("width", [20, 30, 60])
def test_what_is_too_wide_is_folded_and_never_cut(width: int) -> None:
    lines = table().text(width, colour=False).splitlines()

    assert max(map(len, lines)) <= width
    assert "".join(lines).count("x") == 40


def test_colours_do_not_move_columns() -> None:
    shown = table().text(None, colour=True)

    assert "\033[31m0.1\033[0m" in shown
    assert "NAME\033[0m   \033[1mVALUE" in shown


def summary(name: str) -> RunSummary:
    now = datetime.now(UTC)
    run_id = "01a1fb9d-3997-7c3b-a61a-3098589f0ecb"
    return RunSummary(run_id, name, "FINISHED", 1, "default", "digits", "ada", now, now, now, 1.5, None)


def test_a_narrow_terminal_keeps_the_id_and_the_name_whole() -> None:
    lines = tables.runs([summary("a-name-of-20-letters")], 80).text(80, colour=False).splitlines()

    assert lines[1].split() == [summary("").id, "a-name-of-20-letters", "FINISHED", "just", "now"]
    assert "digits" in str(tables.runs([summary("x")]))


def test_a_name_does_nothing_to_the_terminal() -> None:
    assert "\033" not in str(tables.runs([summary("\033[2J\033]0;title\a")]))
