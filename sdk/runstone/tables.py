"""What people see of runs in a terminal."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from runstone.records import Artifact, Comparison, RunRecord, RunSummary
from runstone.terminal import Cell, Styled, Table, printable

Row: TypeAlias = tuple[str, bool, Sequence[object]]  # key, whether it differs, a value per run

DIGEST = re.compile(r"(sha256:)?([0-9a-f]{40,64})")
RUN_TITLES: Final = ("RUN", "NAME", "EXPERIMENT", "STATUS", "BY", "STARTED", "TOOK")
NARROW_TITLES: Final = ("RUN", "NAME", "STATUS", "STARTED")
COLOURS = {"RUNNING": "cyan", "FINISHED": "green", "FAILED": "red", "KILLED": "yellow", "LOST": "magenta"}


NARROW: Final = 120  # columns of a terminal that has no room for all that there is to say of a run


def runs(found: Sequence[RunSummary], width: int | None = None) -> Table:
    """One line per run; where less than `NARROW` columns are there, without experiment, user and duration."""
    is_narrow = width is not None and width < NARROW
    table = Table(RUN_TITLES if not is_narrow else NARROW_TITLES)
    for run in found:
        cells: dict[str, Cell] = {
            "RUN": run.id,
            "NAME": _shown(run.name),
            "EXPERIMENT": _shown(run.experiment),
            "STATUS": _status(run.status),
            "BY": _shown(run.created_by),
            "STARTED": _ago(run.started_at or run.created_at),
            "TOOK": _duration(run.duration_seconds),
        }
        table.add(*(cells[title] for title in table.titles))
    return table


def record(run: RunRecord) -> Iterator[Table]:
    """All of a run, part by part."""
    yield Table(rows=[(Styled(_shown(run.name), "bold"), _status(run.status), run.id)])
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
    table = Table(title=title)
    for name, fact in facts:
        table.add(Styled(f"  {_shown(name)}" if title else name, "dim"), _shown(fact))
    return table


def _state(artifact: Artifact) -> str:
    if artifact.failure is not None:
        return f"{artifact.state}: {artifact.failure.reason}, {artifact.failure.message}"
    return artifact.state if artifact.state != "READY" else _brief(artifact.digest)


def comparison(compared: Comparison) -> Table:
    """Runs as columns, keys as rows: what differs is marked, what is equal is dimmed. Equal packages are one row."""
    table = Table(
        ("", "", *(_shown(run.name) for run in compared.runs)),
        f"{compared.differing_keys} of {compared.total_keys} keys differ",
    )
    table.add("", "", *(_status(run.status) for run in compared.runs))
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
            table.add("", Styled(title, "bold"), *("" for _ in compared.runs))
        for key, differs, values in rows:
            style = "bold yellow" if differs else "dim"
            cells = (Styled(_brief(_shown(value)), style) for value in values)
            table.add(Styled("≠" if differs else "=", style), Styled(f"  {_shown(key)}", style), *cells)
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


def _status(status: str) -> Styled:
    return Styled(status, COLOURS.get(status, ""))


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
    """One line, as it is."""
    if value is None:
        return "-"
    return printable(value if isinstance(value, str) else repr(value))


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
