"""What the server answers, as frozen dataclasses named as in the schema."""

import types
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from runstone import notebook

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Metric:
    """A series in one line; min and max are those of finite values."""

    key: str
    count: int
    first: float
    last: float
    last_step: int
    min: float | None
    max: float | None
    min_step: int | None
    max_step: int | None
    non_finite: int


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that a run read."""

    name: str
    digest: str
    context: str | None
    uri: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """The code that ran."""

    commit: str | None
    branch: str | None
    remote: str | None
    dirty: bool | None
    entry_point: str | None
    argv: tuple[str, ...] | None
    patch_digest: str | None


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Environment:
    """What the code ran on."""

    python: str | None
    platform: str | None
    hostname: str | None
    cpu_count: int | None
    memory_bytes: int | None
    gpus: tuple[str, ...]
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class ArtifactFailure:
    """Why a file is not there."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a run: PENDING, VALIDATING, READY or FAILED."""

    id: str
    path: str
    state: str
    digest: str
    size_bytes: int
    media_type: str | None
    failure: ArtifactFailure | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list: RUNNING, FINISHED, FAILED, KILLED or LOST. `started_at` is by the clock of who ran it."""

    id: str
    name: str
    status: str
    attempt: int
    project: str
    experiment: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None
    group: str | None


@dataclass(frozen=True, slots=True)
class RunRecord(RunSummary):
    """All that a run recorded, except the points of its series."""

    params: dict[str, Any]
    metrics: dict[str, Metric]
    tags: dict[str, str]
    source: Source | None
    environment: Environment | None
    inputs: tuple[DatasetInput, ...]
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class ComparedParam:
    """A param in each run; the value and type are None where a run lacks it."""

    key: str
    differs: bool
    values: tuple[Any, ...]
    types: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class ComparedText:
    """A text in each run, None where a run lacks it."""

    key: str
    differs: bool
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """A series in each run; `delta` is the last value less that of the baseline.

    `best` is the `min` or `max` of each run, as the `goal` says that the projects declare, and `better` whether its
    last value is better than the baseline's, None where it is neither. Without a goal all four are None.
    """

    key: str
    differs: bool
    last: tuple[float | None, ...]
    min: tuple[float | None, ...]
    max: tuple[float | None, ...]
    count: tuple[int | None, ...]
    delta: tuple[float | None, ...]
    relative_delta: tuple[float | None, ...]
    highest_run_id: str | None
    lowest_run_id: str | None
    goal: str | None
    best: tuple[float | None, ...] | None
    best_run_id: str | None
    better: tuple[bool | None, ...] | None


@dataclass(frozen=True, slots=True)
class ComparedArtifact:
    """A file in each run, by digest; None where a run lacks it."""

    path: str
    differs: bool
    digests: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side: each part has a row per key with a value per run, in the order of `runs`.

    Printed, and in a notebook, it is a table. As a data frame it has a row for each key, with the columns
    area, key, differs, and one for each run: under its name, or its id when others have that name.
    """

    runs: tuple[RunSummary, ...]
    baseline_id: str | None
    total_keys: int
    differing_keys: int
    params: tuple[ComparedParam, ...]
    metrics: tuple[ComparedMetric, ...]
    tags: tuple[ComparedText, ...]
    source: tuple[ComparedText, ...]
    environment: tuple[ComparedText, ...]
    inputs: tuple[ComparedText, ...]
    artifacts: tuple[ComparedArtifact, ...]

    def __str__(self) -> str:
        from runstone.tables import comparison

        return str(comparison(self))

    def _repr_html_(self) -> str:
        return notebook.table(
            ("", "", "differs", *(run.name for run in self.runs)),
            [(area, key, "≠" if differs else "=", *values) for area, key, differs, values in self.rows()],
            f"{self.differing_keys} of {self.total_keys} keys differ",
        )

    def rows(self) -> Iterator[tuple[str, str, bool, tuple[Any, ...]]]:
        """(area, key, whether it differs, a value per run) of all parts; a metric by its last value."""
        for area in ("params", "tags", "source", "environment", "inputs"):
            yield from ((area, row.key, row.differs, row.values) for row in getattr(self, area))
        yield from (("metrics", row.key, row.differs, row.last) for row in self.metrics)
        yield from (("artifacts", row.path, row.differs, row.digests) for row in self.artifacts)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`."""
        from runstone import frames

        return frames.to_pandas(self._columns())

    def to_polars(self) -> Any:
        """A `polars.DataFrame`; the values of runs are text where they are of several types."""
        from runstone import frames

        return frames.to_polars(self._columns())

    def _columns(self) -> dict[str, list[Any]]:
        found = list(self.rows())
        names = [run.name for run in self.runs]
        columns: dict[str, list[Any]] = {
            "area": [row[0] for row in found],
            "key": [row[1] for row in found],
            "differs": [row[2] for row in found],
        }
        for place, run in enumerate(self.runs):
            taken = names.count(run.name) > 1 or run.name in columns
            columns[run.id if taken else run.name] = [row[3][place] for row in found]
        return columns


def read(kind: type[T], answer: Mapping[str, Any]) -> T:
    """The answer as `kind`: fields by their names in camel case, {name} objects as text, "NaN" as a float."""
    hints = _hints(cast(Hashable, kind))
    return kind(**{name: _value(hint, answer[camel]) for name, (camel, hint) in hints.items()})


@cache
def _hints(kind: Any) -> dict[str, tuple[str, Any]]:
    hints = get_type_hints(kind)
    return {field.name: (_camel(field.name), hints[field.name]) for field in fields(kind)}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(hint) in {Union, types.UnionType}:
        [hint] = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], element) for element in value)
    if is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    if hint is float:
        return float(value)  # also "NaN", "Infinity" and "-Infinity"
    if hint is str and isinstance(value, dict):
        return value["name"]  # of a project, an experiment, an account
    return value


def param_value(type_: str | None, value: Any) -> Any:
    """The Python value of a param."""
    return float(value) if type_ == "FLOAT" and value is not None else value
