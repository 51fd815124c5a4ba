"""What people see of runs in a terminal."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from rich.table import Table
from rich.text import Text

from runstone.records import Artifact, Comparison, RunRecord, RunSummary

Row: TypeAlias = tuple[str, bool, Sequence[object]]  # key, whether it differs, a value per run

DIGEST = re.compile(r"(sha256:)?([0-9a-f]{40,64})")
COLOURS = {"RUNNING": "cyan", "FINISHED": "green", "FAILED": "red", "KILLED": "yellow", "LOST": "magenta"}


def runs(found: Sequence[RunSummary]) -> Table:
    """One line per run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("RUN", "NAME", "EXPERIMENT", "STATUS", "BY", "STARTED", "TOOK"):
        table.add_column(title, no_wrap=title in {"RUN", "STATUS", "STARTED", "TOOK"})
    for run in found:
        table.add_row(
            run.id,
            Text(run.name),
            Text(run.experiment),
            _status(run.status),
            Text(run.created_by),
            _ago(run.started_at or run.created_at),
            _duration(run.duration_seconds),
        )
    return table


def record(run: RunRecord) -> Iterator[Table | Text]:
    """All of a run, part by part."""
    head = Text.assemble((run.name, "bold"), "  ", _status(run.status), f"  {run.id}")
    yield head
    facts: list[tuple[str, object]] = [
        ("experiment", f"{run.project} / {run.experiment}"),
        ("by", run.created_by),
        ("started", (run.started_at or run.created_at).isoformat(" ", "seconds")),
        ("took", _duration(run.duration_seconds)),
        ("attempt", run.attempt),
    ]
    if run.group is not None:
        facts.append(("group", run.group))
    if run.source is not None:
        changed = " (with uncommitted changes)" if run.source.dirty else ""
        facts.append(("source", f"{run.source.entry_point or ''} {_brief(run.source.commit or '')}{changed}".strip()))
    if run.environment is not None:
        facts.append(("environment", f"Python {run.environment.python}, {run.environment.platform}"))
    parts: dict[str, list[tuple[str, object]]] = {
        "": facts,
        "Params": list(run.params.items()),
        "Metrics": [(metric.key, _number(metric.last)) for metric in run.metrics.values()],
        "Tags": list(run.tags.items()),
        "Inputs": [(f"{one.name} {one.context or ''}".strip(), one.digest) for one in run.inputs],
        "Artifacts": [(one.path, f"{one.size_bytes:,} bytes  {_state(one)}") for one in run.artifacts],
    }
    for title, rows in parts.items():
        if rows:
            yield _facts(title, rows)


def _facts(title: str, facts: Iterable[tuple[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, title=title or None, title_justify="left")
    table.title_style = "bold"
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, fact in facts:
        table.add_row(Text(f"  {name}" if title else name), fact if isinstance(fact, Text) else Text(_shown(fact)))
    return table


def _state(artifact: Artifact) -> str:
    if artifact.failure is not None:
        return f"{artifact.state}: {artifact.failure.reason}, {artifact.failure.message}"
    return artifact.state if artifact.state != "READY" else _brief(artifact.digest)


def comparison(compared: Comparison) -> Table:
    """Runs as columns, keys as rows: what differs is marked, what is equal is dimmed. Equal packages are one row."""
    table = Table(
        title=f"{compared.differing_keys} of {compared.total_keys} keys differ",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("")
    table.add_column("")
    for run in compared.runs:
        table.add_column(Text(run.name), overflow="fold")
    table.add_row("", "", *(_status(run.status) for run in compared.runs))
    parts: list[tuple[str, list[Row]]] = [
        ("params", [(row.key, row.differs, row.values) for row in compared.params]),
        ("metrics", [(row.key, row.differs, [_number(value) for value in row.last]) for row in compared.metrics]),
        ("tags", [(row.key, row.differs, row.values) for row in compared.tags]),
        ("source", [(row.key, row.differs, row.values) for row in compared.source]),
        ("environment", _packages_folded(compared)),
        ("inputs", [(row.key, row.differs, row.values) for row in compared.inputs]),
        ("artifacts", [(row.path, row.differs, row.digests) for row in compared.artifacts]),
    ]
    for title, rows in parts:
        if rows:
            table.add_row("", Text(title, "bold"))
        for key, differs, values in rows:
            style = "bold yellow" if differs else "dim"
            cells = (Text(_brief(_shown(value)), style) for value in values)
            table.add_row(Text("≠" if differs else "=", style), Text(f"  {key}", style), *cells)
    return table


def _packages_folded(compared: Comparison) -> list[Row]:
    rows: list[Row] = []
    equal = 0
    for row in compared.environment:
        if row.differs or not row.key.startswith("package "):
            rows.append((row.key, row.differs, row.values))
        else:
            equal += 1
    if equal:
        rows.append(("packages", False, [f"{equal} the same"] * len(compared.runs)))
    return rows


def _status(status: str) -> Text:
    return Text(status, COLOURS.get(status, ""))


def _brief(text: str) -> str:
    """Digests and commits by their first digits."""
    digest = DIGEST.fullmatch(text)
    return f"{digest[1] or ''}{digest[2][:12]}" if digest else text


def _number(value: float | None) -> str | None:
    """The shortest text that is exactly this number."""
    if value is None:
        return None
    return f"{value:g}" if math.isfinite(value) and float(f"{value:g}") == value else repr(value)


def _shown(value: object) -> str:
    """One line, as it is; control characters of other people's text do nothing to the terminal."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else repr(value)
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def _ago(then: datetime) -> str:
    seconds = (datetime.now(UTC) - then).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"
