"""Runs and points as data frames of pandas and Polars, which are imported when they are first asked for."""

import base64
import importlib
import json
import sys
from array import array
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runstone import notebook, records
from runstone.errors import Invalid, QueryTooComplex, Unavailable
from runstone.records import RunSummary
from runstone.transport import Transport

RUNS_AT_ONCE: Final = 500
SERIES_RUNS_AT_ONCE: Final = 100

Columns = dict[str, list[Any]]


class Listing:
    """Runs that were asked for: `await` them as a list, or as a data frame with all params, metrics and tags."""

    def __init__(self, transport: Transport, ask: Callable[[], Awaitable[list[RunSummary]]]) -> None:
        self._transport = transport
        self._ask = ask

    def __await__(self) -> Generator[Any, None, list[RunSummary]]:
        return self._asked().__await__()

    async def _asked(self) -> list[RunSummary]:
        return await self._ask()

    async def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each run; see `RunList`."""
        pandas("to_pandas")
        return to_pandas(await columns(self._transport, await self._ask()))

    async def to_polars(self) -> Any:
        """A `polars.DataFrame` with a row for each run; see `RunList`."""
        polars("to_polars")
        return to_polars(await columns(self._transport, await self._ask()))


class RunList(list[RunSummary]):
    """Runs, and what they recorded as a data frame.

    A frame has a row for each run and the columns of `RunSummary`; `params.lr` for each param; `metrics.loss` with the
    last value of each metric, beside `metrics.loss.min`, `.max` and `.count`; and `tags.team` for each tag.
    """

    def __init__(self, runs: Sequence[RunSummary], columns: Callable[[Sequence[RunSummary]], Columns]) -> None:
        super().__init__(runs)
        self._columns = columns

    def _repr_html_(self) -> str:
        titles = ("id", "name", "project", "experiment", "status", "created_by", "created_at", "duration_seconds")
        return notebook.table(titles, [[getattr(run, title) for title in titles] for run in self])

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`."""
        pandas("to_pandas")
        return to_pandas(self._columns(self))

    def to_polars(self) -> Any:
        """A `polars.DataFrame`; a param that is of several types, or a list or an object, is text."""
        polars("to_polars")
        return to_polars(self._columns(self))


async def columns(transport: Transport, runs: Sequence[RunSummary]) -> Columns:
    """What the runs recorded: each column has a value for each run, None where it lacks it."""

    async def ask(run_ids: Sequence[str]) -> Any:
        return (await transport.call("Recorded", {"select": {"runIds": run_ids}}))["compareRuns"]

    recorded: dict[tuple[str, str, str], list[Any]] = {}
    for start in range(0, len(runs), RUNS_AT_ONCE):
        for first, compared in await _in_parts([run.id for run in runs[start : start + RUNS_AT_ONCE]], ask):
            for what, values in _recorded(compared):
                column = recorded.setdefault(what, [None] * len(runs))
                column[start + first : start + first + len(values)] = values
    found: Columns = {name: [getattr(run, name) for run in runs] for name in RunSummary.__dataclass_fields__}
    for area in ("params", "metrics", "tags"):
        of_area = {key: values for (one, key, stat), values in recorded.items() if one == area and not stat}
        for (one, key, stat), values in recorded.items():
            if one == area and stat:
                of_area.setdefault(f"{key}.{stat}", values)  # a metric of this very name comes first
        found |= {f"{area}.{name}": of_area[name] for name in sorted(of_area)}
    return found


async def _in_parts(
    run_ids: Sequence[str], ask: Callable[[Sequence[str]], Awaitable[Any]], first: int = 0
) -> list[tuple[int, Any]]:
    """What `ask` answers of the runs, in as many parts as the server's limits take, each with its first place."""
    if not run_ids:
        return []
    try:
        return [(first, await ask(run_ids))]
    except (Invalid, QueryTooComplex):
        if len(run_ids) == 1:
            raise
    half = len(run_ids) // 2
    return [*await _in_parts(run_ids[:half], ask, first), *await _in_parts(run_ids[half:], ask, first + half)]


def _recorded(compared: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, str], list[Any]]]:
    """The columns, each with its area and key, and of a metric what else than the last value it is."""
    for param in compared["params"]:
        values = [records.param_value(*one) for one in zip(param["types"], param["values"], strict=True)]
        yield ("params", param["key"], ""), values
    for metric in compared["metrics"]:
        yield ("metrics", metric["key"], ""), _floats(metric["last"])
        yield ("metrics", metric["key"], "min"), _floats(metric["min"])
        yield ("metrics", metric["key"], "max"), _floats(metric["max"])
        yield ("metrics", metric["key"], "count"), metric["count"]
    for tag in compared["tags"]:
        yield ("tags", tag["key"], ""), tag["values"]


def _floats(values: Sequence[Any]) -> list[float | None]:
    """Numbers, of which some come by their names."""
    return [None if value is None else float(value) for value in values]


def pandas(method: str) -> Any:
    """The module. Raises `Unavailable` when it is not installed."""
    return _module("pandas", method)


def polars(method: str) -> Any:
    """The module. Raises `Unavailable` when it is not installed."""
    return _module("polars", method)


def _module(name: str, method: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise Unavailable(f"{method} needs {name}", hint=f"pip install {name}") from None


def to_pandas(columns: Columns) -> Any:
    """The columns as a `pandas.DataFrame`: whole numbers and flags stay what they are where some are missing."""
    pd = pandas("to_pandas")
    nullable = {frozenset({int}): "Int64", frozenset({bool}): "boolean"}
    series = {}
    for name, values in columns.items():
        kinds = _kinds(values)
        if kinds == {datetime}:
            series[name] = pd.Series(pd.to_datetime(pd.Series(values, dtype=object), utc=True))
        else:
            dtype = nullable.get(kinds) or ("float64" if kinds and kinds <= {int, float} else None)
            series[name] = pd.Series(values, dtype=dtype or ("object" if not kinds <= {str} else None))
    return pd.DataFrame(series)


def to_polars(columns: Columns) -> Any:
    """The columns as a `polars.DataFrame`."""
    pl = polars("to_polars")
    types = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean, datetime: pl.Datetime("us", "UTC")}
    series = []
    for name, values in columns.items():
        kinds = _kinds(values)
        if kinds == {int, float}:
            series.append(pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64))
        elif len(kinds) == 1 and (kind := next(iter(kinds))) in types:
            series.append(pl.Series(name, values, types[kind]))
        else:
            series.append(pl.Series(name, [_text(value) for value in values], pl.String))
    return pl.DataFrame(series)


def _kinds(values: Sequence[Any]) -> frozenset[type]:
    return frozenset(type(value) for value in values if value is not None)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of a run, point by point: `values` has a float for each step, also -0.0, NaN and infinities, exactly.

    `times` are Unix milliseconds. When not `exact`, only some of `count` points are here: the extremes among them.
    """

    run_id: str
    key: str
    count: int
    exact: bool
    steps: "array[int]"
    times: "array[int]"
    values: "array[float]"
    attempts: "array[int]"


class SeriesList(list[Series]):
    """Series; as a data frame with a row for each point: run_id, key, step, time, value, attempt."""

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`."""
        pd, np = pandas("to_pandas"), importlib.import_module("numpy")
        frame = pd.DataFrame(
            {"run_id": self._repeated("run_id"), "key": self._repeated("key")}
            | {name: np.frombuffer(column, column.typecode) for name, column in self._numbers().items()}
        )
        frame["time"] = frame["time"].astype("datetime64[ms]").dt.tz_localize("UTC")
        return frame

    def to_polars(self) -> Any:
        """A `polars.DataFrame`."""
        pl = polars("to_polars")
        types = {"q": pl.Int64, "d": pl.Float64}
        texts = [pl.Series(name, self._repeated(name), pl.String) for name in ("run_id", "key")]
        numbers = [pl.Series(name, column.tolist(), types[column.typecode]) for name, column in self._numbers().items()]
        return pl.DataFrame([*texts, *numbers]).with_columns(pl.col("time").cast(pl.Datetime("ms", "UTC")))

    def _repeated(self, name: str) -> list[str]:
        return [getattr(series, name) for series in self for _ in series.steps]

    def _numbers(self) -> dict[str, "array[Any]"]:
        found: dict[str, array[Any]] = {
            "step": array("q"),
            "time": array("q"),
            "value": array("d"),
            "attempt": array("q"),
        }
        for series in self:
            for name, column in found.items():
                column.extend(getattr(series, f"{name}s"))
        return found


async def series(
    transport: Transport, run_ids: Sequence[str], keys: Sequence[str], max_points: int | None
) -> SeriesList:
    """The series that there are of these runs and keys."""

    async def ask(some: Sequence[str]) -> Any:
        variables = {"select": {"runIds": some}, "keys": keys, "maxPoints": max_points}
        return (await transport.call("Series", variables))["series"]

    found = SeriesList()
    for start in range(0, len(run_ids), SERIES_RUNS_AT_ONCE):
        for _, answers in await _in_parts(run_ids[start : start + SERIES_RUNS_AT_ONCE], ask):
            found += map(_series, answers)
    return found


def _series(answer: Mapping[str, Any]) -> Series:
    types = {"steps": "q", "times": "q", "values": "d", "attempts": "q"}
    columns = [_unpacked(typecode, answer[name]) for name, typecode in types.items()]
    return Series(answer["runId"], answer["key"], answer["count"], answer["exact"], *columns)


def _unpacked(typecode: str, column: str) -> "array[Any]":
    """The numbers in base64 of 8 little-endian bytes each."""
    numbers = array(typecode, base64.b64decode(column))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
