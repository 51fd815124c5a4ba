"""Runs as columns, a list of values for each thing that is asked for, and groups of runs that have the same values."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from runstone import frames, notebook
from runstone.errors import Invalid
from runstone.transport import Transport

RUNS_AT_ONCE: Final = 1000
GROUPS_AT_ONCE: Final = 1000
AREAS: Final = {"params": "PARAM", "metrics": "METRIC", "tags": "TAG", "source": "SOURCE"}
NAMES: Final = {area: name for name, area in AREAS.items()}
STAT: Final = re.compile(r"(first|last|min|max|best|count)\((.*)\)", re.DOTALL)


class _Table(ABC):
    """What is a data frame when that is asked for, and a table in a notebook."""

    __slots__ = ()

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`."""
        return frames.to_pandas(self._columns())

    def to_polars(self) -> Any:
        """A `polars.DataFrame`."""
        return frames.to_polars(self._columns())

    def _repr_html_(self) -> str:
        table = self._columns()
        return notebook.table(tuple(table), [list(row) for row in zip(*table.values(), strict=True)])

    @abstractmethod
    def _columns(self) -> frames.Columns:
        """A list of values for each column, by its name."""


@dataclass(frozen=True, slots=True)
class RunFrame(_Table):
    """Runs in columns: each has a value for each of `run_ids`, None where a run has none.

    As a data frame with a row for each run, its id first.
    """

    run_ids: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.run_ids)

    def _columns(self) -> frames.Columns:
        return {"id": list(self.run_ids)} | {name: list(cells) for name, cells in self.columns.items()}


@dataclass(frozen=True, slots=True)
class GroupMetric:
    """A metric over the runs of a group that have a finite value; None for what these are too few for.

    `confidence_low` and `confidence_high` bound the mean with 95 % confidence, by Student's t.
    """

    count: int
    non_finite: int
    mean: float | None
    standard_deviation: float | None
    confidence_low: float | None
    confidence_high: float | None
    min: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that have the same `values`, and their metrics, both by the names that were asked for."""

    values: Mapping[str, Any]
    run_ids: tuple[str, ...]
    metrics: Mapping[str, GroupMetric]


class RunGroupList(list[RunGroup], _Table):
    """Groups of runs; as a data frame with a row for each: its values, run_count, and metrics.loss.mean and so on."""

    def _columns(self) -> frames.Columns:
        rows = [
            {
                **group.values,
                "run_count": len(group.run_ids),
                **{
                    f"{name}.{statistic}": value
                    for name, metric in group.metrics.items()
                    for statistic, value in asdict(metric).items()
                },
            }
            for group in self
        ]
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def column(text: str) -> dict[str, str]:
    """The column as it is asked for: params.lr, metrics.loss, min(metrics.loss), tags.team, source.commit or status."""
    found = STAT.fullmatch(text)
    stat, field = (found[1], found[2]) if found else (None, text)
    area, dot, key = field.partition(".")
    asked = {"area": AREAS[area], "key": key} if dot and area in AREAS else {"area": "ATTRIBUTE", "key": field}
    if stat is None:
        return asked
    if asked["area"] != "METRIC":
        raise Invalid(f"{text!r} is no metric", hint=f"as in {stat}(metrics.loss)")
    return {**asked, "stat": stat.upper()}


async def frame(
    transport: Transport, names: Sequence[str], select: Mapping[str, Any], order: Sequence[Any] | None, limit: int
) -> RunFrame:
    """The columns of the first runs of a selection."""
    asked = {name: column(name) for name in names}
    run_ids: list[str] = []
    columns: dict[str, list[Any]] = {name: [] for name in asked}
    after = None
    while len(run_ids) < limit:
        variables = {"columns": list(asked.values()), "select": select, "orderBy": order, "after": after}
        page = (await transport.call("RunFrame", {**variables, "first": min(RUNS_AT_ONCE, limit - len(run_ids))}))[
            "runFrame"
        ]
        run_ids += page["ids"]
        for name, found in zip(asked, page["columns"], strict=True):
            columns[name] += _cells(found)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    return RunFrame(tuple(run_ids), columns)


async def groups(
    transport: Transport,
    by: Sequence[str],
    metrics: Sequence[str],
    all_params_but: Sequence[str] | None,
    select: Mapping[str, Any],
) -> RunGroupList:
    """All groups of a selection, in the order of their values."""
    asked = {name: _metric(name) for name in metrics}
    variables = {
        "select": select,
        "by": [column(name) for name in by],
        "allParamsBut": None if all_params_but is None else list(all_params_but),
        "metrics": list(asked.values()),
        "first": GROUPS_AT_ONCE,
    }
    found = RunGroupList()
    after = None
    while True:
        page = (await transport.call("RunGroups", {**variables, "after": after}))["groupRuns"]
        values = {_name(key): _cells(key) for key in page["keys"]}
        statistics = {name: _statistics(cells) for name, cells in zip(asked, page["columns"], strict=True)}
        for place, run_ids in enumerate(page["runIds"]):
            shared = {name: cells[place] for name, cells in values.items()}
            found.append(RunGroup(shared, tuple(run_ids), {name: of[place] for name, of in statistics.items()}))
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


def _metric(name: str) -> dict[str, str]:
    asked = column(name)
    if asked.pop("area") != "METRIC":
        raise Invalid(f"{name!r} is no metric", hint="as in metrics.loss or min(metrics.loss)")
    return asked


def _name(key: Mapping[str, Any]) -> str:
    return key["key"] if key["area"] == "ATTRIBUTE" else f"{NAMES[key['area']]}.{key['key']}"


def _cells(found: Mapping[str, Any]) -> list[Any]:
    """The values; of a column of numbers those that JSON lacks come by their names."""
    cells: list[Any] = found["cells"]
    return [float(cell) if isinstance(cell, str) else cell for cell in cells] if found["numeric"] else cells


def _statistics(found: Mapping[str, Any]) -> list[GroupMetric]:
    floats = [
        [None if cell is None else float(cell) for cell in found[name]]
        for name in ("mean", "standardDeviation", "confidenceLow", "confidenceHigh", "min", "max")
    ]
    return [GroupMetric(*row) for row in zip(found["count"], found["nonFinite"], *floats, strict=True)]
