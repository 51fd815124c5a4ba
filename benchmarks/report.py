"""What was measured, as Markdown for people and JSON for programs."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One contender: its figures by column, each with one sample for each repetition."""

    name: str
    figures: dict[str, list[float]]
    note: str = ""

    def median(self, column: str) -> float:
        """The middle sample."""
        return median(self.figures[column])


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must reach; `measured` is None when there was nothing to compare with."""

    text: str
    measured: float | None
    least: float | None = None
    most: float | None = None
    unit: str = "x"

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        met = (self.least is None or self.measured >= self.least) and (self.most is None or self.measured <= self.most)
        return "met" if met else "missed"

    @property
    def figure(self) -> str:
        return "" if self.measured is None else f"{shown(self.measured)} {self.unit}".strip()


@dataclass(slots=True)
class Section:
    """One subject: its contenders and its goals."""

    title: str
    how: str
    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def add(self, name: str, note: str = "", /, **figures: Sequence[float] | float) -> Row:
        """Add a contender; the underlines of a column's name are spaces, `per_` is a stroke."""
        columns = {_column(name): _listed(values) for name, values in figures.items()}
        row = Row(name, columns, note)
        self.rows.append(row)
        return row

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """A contender that fails inside is reported with its error, and the others go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a contender does, it is reported
            self.add(name, f"failed: {in_a_line(error)}")

    def at_least(self, text: str, measured: float | None, bound: float, unit: str = "x") -> None:
        """Add a goal."""
        self.goals.append(Goal(text, measured, least=bound, unit=unit))

    def at_most(self, text: str, measured: float | None, bound: float, unit: str = "x") -> None:
        """Add a goal."""
        self.goals.append(Goal(text, measured, most=bound, unit=unit))

    def median(self, column: str, name: str) -> float | None:
        """The median of a contender; None when it has no such figure."""
        found = next((row for row in self.rows if row.name == name and column in row.figures), None)
        return found.median(column) if found else None

    def ratio(self, column: str, name: str, base: str) -> float | None:
        """The median of one contender as a multiple of another's; None when one of them has no figure."""
        ours, theirs = self.median(column, name), self.median(column, base)
        return ours / theirs if ours is not None and theirs else None


def _column(name: str) -> str:
    return name.replace("_per_", "/").replace("_", " ")


def _listed(values: Sequence[float] | float) -> list[float]:
    return [values] if isinstance(values, int | float) else list(values)


def shown(value: float) -> str:
    """Three digits that count, or all of a large number."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def in_a_line(error: Exception) -> str:
    """The error for a cell of a table: its beginning and, where that is long, its end."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).replace("|", "/")
    return text if len(text) <= 300 else f"{text[:100]} ... {text[-200:]}"


def markdown(sections: Sequence[Section], about: dict[str, Any]) -> str:
    """The whole report."""
    lines = [", ".join(f"{key} {value}" for key, value in about.items()), ""]
    lines += ["| work | goal | measured | |", "| --- | --- | ---: | --- |"]
    lines += [
        f"| {section.title} | {goal.text} | {goal.figure} | {goal.verdict} |"
        for section in sections
        for goal in section.goals
    ]
    for section in sections:
        lines += ["", *of_section(section)]
    return "\n".join(lines) + "\n"


def of_section(section: Section) -> list[str]:
    """Its table, with medians and, where there were several repetitions, the least and the greatest."""
    columns = list(dict.fromkeys(column for row in section.rows for column in row.figures))
    lines = [f"### {section.title}", "", section.how, ""]
    lines += ["| | " + " | ".join(columns) + " | |", "| --- |" + " ---: |" * len(columns) + " --- |"]
    for row in section.rows:
        cells = [_cell(row.figures.get(column)) for column in columns]
        lines.append(f"| {row.name} | " + " | ".join(cells) + f" | {row.note} |")
    return lines


def _cell(samples: list[float] | None) -> str:
    if not samples:
        return ""
    if len(samples) == 1:
        return shown(samples[0])
    return f"{shown(median(samples))} ({shown(min(samples))} to {shown(max(samples))})"


def about(form: str) -> dict[str, Any]:
    """When and on what it was measured."""
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "form": form,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def save(sections: Sequence[Section], about: dict[str, Any], folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.md and NAME.json into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text, data = folder / f"{name}.md", folder / f"{name}.json"
    text.write_text(markdown(sections, about))
    content = {
        "about": about,
        "sections": [
            {
                **asdict(section),
                "goals": [{**asdict(goal), "verdict": goal.verdict} for goal in section.goals],
                "rows": [
                    {**asdict(row), "medians": {column: row.median(column) for column in row.figures}}
                    for row in section.rows
                ],
            }
            for section in sections
        ],
    }
    data.write_text(json.dumps(content, indent=2) + "\n")
    return text, data
