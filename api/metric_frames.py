"""Metric frames: the metrics of many runs over one grid, as charts draw them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import ceil, floor, inf, isfinite
from typing import Annotated, Final, TypeAlias
from uuid import UUID

import numpy as np
import strawberry

from api.columns import ColumnEncoding, Float32Column, Float64Column, Halves, floats, halves, narrowed
from api.context import Info
from api.frames import RunColumn, columns_of
from api.groupings import GroupValue, group_values
from api.scalars import Cursor, Int64
from api.selections import RunSelection, selected
from api.series import read_as_of, selects
from db import buckets as bucketed
from db import frames, groupings, runs, series, texts
from db.access import Scope
from db.buckets import Bands, Frame, FrameAxis, Trace
from db.errors import Invalid
from db.pool import Conn
from db.series import Curve, XAxis

METRICS_MAX: Final = 50
BUCKETS_MAX: Final = 2_000
SERIES_MAX: Final = 10_000
CELLS_MAX: Final = 5_000_000  # buckets of all series of a request
POINTS_WHOLE: Final = 4_000_000  # so many are read; of more, longer series are summed up


@strawberry.input(description="What the points stand over, and between which bounds.")
class AxisInput:
    kind: FrameAxis = strawberry.field(default=FrameAxis.STEP, description="What the points stand over.")
    metric: str | None = strawberry.field(default=None, description="Over which metric, when the kind is METRIC.")
    min: float | None = strawberry.field(default=None, description="Only points here and above.")
    max: float | None = strawberry.field(default=None, description="Only points here and below.")

    def checked(self) -> "Axis":
        """The axis. Raises `Invalid`."""
        if (self.kind is FrameAxis.METRIC) != (self.metric is not None):
            raise Invalid("x.metric goes with the kind METRIC", path="x.metric", hint="give both or neither")
        low, high = -inf if self.min is None else self.min, inf if self.max is None else self.max
        if not low <= high:
            raise Invalid(f"x.min is {low} and x.max is {high}", path="x.max", hint="give bounds in order")
        metric = None if self.metric is None else texts.storable(self.metric, "x.metric")
        return Axis(self.kind, metric, low, high)


@dataclass(frozen=True, slots=True)
class Axis:
    """What the points stand over, from `low` to `high`."""

    kind: FrameAxis
    metric: str | None
    low: float
    high: float

    @property
    def steps(self) -> tuple[int, int]:
        """The steps that have to be read."""
        if self.kind is not FrameAxis.STEP:
            return 0, series.STEP_MAX
        low = min(ceil(self.low), series.STEP_MAX) if isfinite(self.low) else 0
        return max(low, 0), min(floor(self.high), series.STEP_MAX) if isfinite(self.high) else series.STEP_MAX


@strawberry.type(description="The points of a series that are NaN or infinite.")
class NonFinite:
    count: int = strawberry.field(
        description="How many there are; of a series that is not read whole, at most one of each part is counted."
    )
    frame: strawberry.Private[Frame]
    row: strawberry.Private[int]
    encoding: strawberry.Private[ColumnEncoding]

    @strawberry.field(description="The buckets that have any, by x.")
    def x(self) -> Float64Column:
        return floats(self.frame.odd.of(self.row), self.encoding)

    @strawberry.field(description="The buckets that have a NaN, by x.")
    def nan_x(self) -> Float64Column:
        return floats(self.frame.nans.of(self.row), self.encoding)

    @strawberry.field(description="The buckets that have an infinity above zero, by x.")
    def infinity_x(self) -> Float64Column:
        return floats(self.frame.infinities.of(self.row), self.encoding)

    @strawberry.field(description="The buckets that have an infinity below zero, by x.")
    def negative_infinity_x(self) -> Float64Column:
        return floats(self.frame.negative_infinities.of(self.row), self.encoding)


@dataclass(frozen=True)  # without slots, for what is worked out once
class Matrices:
    """The columns of all lines as they are answered, a row for each line: of a frame's traces, or of groups of them."""

    of: Frame | Bands

    @cached_property
    def means(self) -> Halves:
        return narrowed(self.of.means)

    @cached_property
    def lows(self) -> Halves:
        return narrowed(self.of.lows)

    @cached_property
    def highs(self) -> Halves:
        return narrowed(self.of.highs)

    @cached_property
    def lasts(self) -> Halves | None:
        return narrowed(self.of.lasts) if isinstance(self.of, Frame) else None

    @cached_property
    def deviations(self) -> Halves | None:
        return narrowed(self.of.deviations) if isinstance(self.of, Bands) else None


@strawberry.type(
    description="A line: a metric of a run, or of a group of runs. Each column has an entry for each bucket; NaN where "
    "there is none. Of a run they tell of the finite values in the bucket, of a group of the means of its runs."
)
class MetricSeries:
    run_id: strawberry.ID | None = strawberry.field(description="The run; null for a group.")
    group: list[GroupValue] | None = strawberry.field(
        description="The values that the runs of the group share, as `groupBy` asks; null for a run."
    )
    run_count: int = strawberry.field(description="How many runs have points in it: 1 for a run.")
    as_of: Cursor | None = strawberry.field(
        description="Give it as `after` to the subscription `points`, which continues exactly behind this; null for a "
        "group."
    )
    matrices: strawberry.Private[Matrices]
    place: strawberry.Private[int]
    encoding: strawberry.Private[ColumnEncoding]

    @strawberry.field(description="The mean.")
    def mean(self) -> Float32Column:
        return halves(self.matrices.means[self.place], self.encoding)

    @strawberry.field(description="The lowest.")
    def min(self) -> Float32Column:
        return halves(self.matrices.lows[self.place], self.encoding)

    @strawberry.field(description="The highest.")
    def max(self) -> Float32Column:
        return halves(self.matrices.highs[self.place], self.encoding)

    @strawberry.field(description="The last; null for a group.")
    def last(self) -> Float32Column | None:
        lasts = self.matrices.lasts
        return None if lasts is None else halves(lasts[self.place], self.encoding)

    @strawberry.field(description="The sample standard deviation over two runs and more; null for a run.")
    def std(self) -> Float32Column | None:
        deviations = self.matrices.deviations
        return None if deviations is None else halves(deviations[self.place], self.encoding)

    @strawberry.field(description="The points that are NaN or infinite, which no column tells of; null for a group.")
    def non_finite(self) -> NonFinite | None:
        frame = self.matrices.of
        if isinstance(frame, Bands):
            return None
        return NonFinite(count=int(frame.odd_counts[self.place]), frame=frame, row=self.place, encoding=self.encoding)


@strawberry.type(
    description="A metric of many runs over one grid of x. When there are few enough different x, each is a bucket; "
    "else the buckets are of a round width, with edges at its multiples, whatever is asked for."
)
class MetricFrame:
    metric: str = strawberry.field(description="The metric.")
    truncated_series: int = strawberry.field(
        description="How many runs of the selection were left out, because `maxSeries` are less; the newest are in."
    )
    series: list[MetricSeries] = strawberry.field(
        description="The runs that have points, in the order of the selection, or the groups in that of their values."
    )
    frame: strawberry.Private[Frame]
    encoding: strawberry.Private[ColumnEncoding]

    @strawberry.field(description="Where each bucket begins; time in milliseconds, of the day in Unix milliseconds.")
    def x(self) -> Float64Column:
        return floats(self.frame.grid.edges.astype("<f8"), self.encoding)

    @strawberry.field(description="How many buckets there are, at most as many as were asked for.")
    def bucket_count(self) -> int:
        return len(self.frame.grid.edges)

    @strawberry.field(description="How wide each is; null when each has one x for itself.")
    def bucket_width(self) -> float | None:
        return None if self.frame.grid.width is None else float(self.frame.grid.width)

    @strawberry.field(description="Whether every point has a bucket for itself, so that nothing is left out.")
    def exact(self) -> bool:
        return self.frame.is_exact

    @strawberry.field(
        description="Whether some series are so long that of groups of points only the first, last, lowest, highest "
        "and first non-finite one were read: no extreme is lost, but `mean` is that of these points."
    )
    def sampled(self) -> bool:
        return not all(trace.is_whole for trace in self.frame.traces)

    @strawberry.field(description="How many points it stands for.")
    def total_points(self) -> Int64:
        return Int64(sum(trace.count for trace in self.frame.traces))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The runs of a frame, and how many others the selection has."""

    rows: list[runs.Run]
    left_out: int


@dataclass(frozen=True, slots=True)
class Grouping:
    """Runs in groups: what each group shares, and the place of each run's group."""

    values: list[list[GroupValue]]
    places: dict[UUID, int]


async def _chosen(info: Info, select: RunSelection | None, most: int) -> Chosen:
    """Runs in the order of the ids asked, else the newest first. Raises `Invalid`, `NotFound`."""
    if select and select.run_ids is not None:
        rows = await selected(info, select)
        return Chosen(rows[:most], max(0, len(rows) - most))
    context, selection = info.context, select.checked() if select else runs.Selection()
    rows = await runs.first(context.pool, context.scope, selection, limit=most + 1)
    if len(rows) <= most:
        return Chosen(rows, 0)
    return Chosen(rows[:most], await runs.count(context.pool, context.scope, selection) - most)


async def _grouping(info: Info, rows: Sequence[runs.Run], group_by: Sequence[RunColumn]) -> Grouping:
    context, fields = info.context, columns_of(group_by, "groupBy")
    columns = await frames.read(context.pool, context.scope, [row.id for row in rows], fields)
    groups = groupings.grouped(len(rows), columns)
    places = {rows[member].id: place for place, members in enumerate(groups.members) for member in members.tolist()}
    return Grouping([group_values(fields, values) for values in groups.values], places)


async def _curves(
    conn: Conn,
    *,
    scope: Scope,
    run_ids: Sequence[UUID],
    metrics: Sequence[str],
    axis: Axis,
    buckets: int,
) -> list[Curve]:
    """The series; over a metric all of them whole, else longer ones summed up when there are too many points."""
    low, high = axis.steps
    if low > high or not run_ids:
        return []
    read = partial(series.read, conn, scope, run_ids, low_step=low, high_step=high, times=False)
    if axis.metric is not None:
        return await read(list(dict.fromkeys([*metrics, axis.metric])))
    share = max(POINTS_WHOLE // (len(run_ids) * len(metrics)), 4 * buckets, series.MAX_POINTS_MIN)
    return await read(metrics, x=XAxis(axis.kind), max_points=share, tiers_from=1)


def _traces(curves: Sequence[Curve], metrics: Sequence[str], axis: Axis) -> dict[str, list[Trace]]:
    """The points of each metric between the bounds; series without any are left out."""
    others = {curve.run_id: curve for curve in curves if curve.key == axis.metric}
    found: dict[str, list[Trace]] = {metric: [] for metric in metrics}
    for curve in curves:
        if curve.key not in found:
            continue
        if axis.metric is None:
            trace = Trace(curve.run_id, curve.axis, curve.values, curve.count)
        elif curve.run_id in others:
            trace = bucketed.over(curve, others[curve.run_id])
        else:
            continue
        if axis.kind is not FrameAxis.STEP:
            trace = trace.between(axis.low, axis.high)
        if len(trace.x):
            found[curve.key].append(trace)
    return found


COLUMNS: Final = {"mean": "means", "min": "lows", "max": "highs", "last": "lasts"}


def _framed(traces: Sequence[Trace], buckets: int, columns: Sequence[str]) -> tuple[Frame, Matrices]:
    """The frame, with what is asked of it worked out."""
    frame = bucketed.frame(traces, buckets)
    matrices = Matrices(frame)
    for column in columns:
        getattr(matrices, column)
    return frame, matrices


def _lines_of_runs(
    frame: Frame, matrices: Matrices, cursors: dict[UUID, Cursor], encoding: ColumnEncoding
) -> list[MetricSeries]:
    return [
        MetricSeries(
            run_id=strawberry.ID(str(trace.run_id)),
            group=None,
            run_count=1,
            as_of=cursors.get(trace.run_id),
            matrices=matrices,
            place=place,
            encoding=encoding,
        )
        for place, trace in enumerate(frame.traces)
    ]


def _lines_of_groups(frame: Frame, grouping: Grouping, encoding: ColumnEncoding) -> list[MetricSeries]:
    groups = np.array([grouping.places[trace.run_id] for trace in frame.traces], "<i8")
    there = np.unique(groups).tolist()
    members = [np.flatnonzero(groups == group) for group in there]
    matrices = Matrices(bucketed.bands(frame.means, members))
    return [
        MetricSeries(
            run_id=None,
            group=grouping.values[group],
            run_count=len(members[place]),
            as_of=None,
            matrices=matrices,
            place=place,
            encoding=encoding,
        )
        for place, group in enumerate(there)
    ]


def _check(metrics: Sequence[str], buckets: int, max_series: int) -> list[str]:
    """The metrics, each once. Raises `Invalid`."""
    bounds = (
        ("metrics", len(metrics), 1, METRICS_MAX, "metrics"),
        ("buckets", buckets, 2, BUCKETS_MAX, "buckets"),
        ("maxSeries", max_series, 1, SERIES_MAX, "series"),
    )
    for path, given, least, most, what in bounds:
        if not least <= given <= most:
            raise Invalid(f"there are {given} {what}", path=path, limit=f"{least:,} to {most:,} {what}")
    return list(dict.fromkeys(texts.all_storable(metrics, "metrics")))


Metrics: TypeAlias = Annotated[list[str], strawberry.argument(description="The metrics, 1 to 50: a frame for each.")]
Buckets: TypeAlias = Annotated[
    int,
    strawberry.argument(description="How many buckets at most, 2 to 2,000: about half as many as the plot is wide."),
]
MaxSeries: TypeAlias = Annotated[
    int, strawberry.argument(description="How many runs are read at most, the newest, 1 to 10,000.")
]


@strawberry.type
class MetricFrameQuery:
    @strawberry.field(
        description="Metrics of many runs as lines over one grid, for charts: a request for a screen. Where attempts "
        "overlap, the newest counts."
    )
    async def metric_frames(
        self,
        info: Info,
        metrics: Metrics,
        select: Annotated[RunSelection | None, strawberry.argument(description="Which; absent: all of yours.")] = None,
        x: Annotated[AxisInput | None, strawberry.argument(description="Over what; absent: over steps.")] = None,
        buckets: Buckets = 500,
        group_by: Annotated[
            list[RunColumn] | None,
            strawberry.argument(description="A line for each group of runs that have the same values in these."),
        ] = None,
        max_series: MaxSeries = 1_000,
        encoding: Annotated[
            ColumnEncoding, strawberry.argument(description="How the columns are answered.")
        ] = ColumnEncoding.BASE64,
    ) -> list[MetricFrame]:
        context, keys = info.context, _check(metrics, buckets, max_series)
        axis = (x or AxisInput()).checked()
        chosen = await _chosen(info, select, max_series)
        if len(chosen.rows) * len(keys) * buckets > CELLS_MAX:
            raise Invalid(
                f"{len(chosen.rows)} runs of {len(keys)} metrics would have too many buckets",
                path="buckets",
                limit=f"{CELLS_MAX:,} buckets in all",
                hint="ask for fewer buckets, metrics or runs",
            )
        grouping = await _grouping(info, chosen.rows, group_by) if group_by else None
        run_ids = [row.id for row in chosen.rows]
        read = partial(_curves, scope=context.scope, run_ids=run_ids, metrics=keys, axis=axis, buckets=buckets)
        curves, cursors = await read_as_of(info, run_ids, read)
        columns = ["means"] if grouping else [of for name, of in COLUMNS.items() if selects(info.selected_fields, name)]
        found = []
        for metric, traces in _traces(curves, keys, axis).items():
            frame, matrices = await asyncio.to_thread(_framed, traces, buckets, columns)
            if grouping:
                lines = _lines_of_groups(frame, grouping, encoding)
            else:
                lines = _lines_of_runs(frame, matrices, cursors, encoding)
            found.append(
                MetricFrame(
                    metric=metric, truncated_series=chosen.left_out, series=lines, frame=frame, encoding=encoding
                )
            )
        return found
