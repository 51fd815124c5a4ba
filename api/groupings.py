"""Groups of runs, such as those that differ only in their seed, with means, deviations and confidence intervals."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, Any, Final, cast

import numpy as np
import strawberry

from api import cells
from api.cells import Cells
from api.connections import After, PageInfo, decode_cursor, encode_cursor, list_key
from api.context import Info
from api.frames import RunColumn, Shown, columns_of
from api.scalars import MetricValue, ParamValue, from_metric_value
from api.selections import RunSelection
from db import comparisons, frames, groupings, runs, texts
from db.conditions import Area, Field, Stat
from db.errors import Invalid
from db.groupings import Groups, Statistics, Values
from db.packing import Floats
from db.params import Param, ParamType

RUNS_MAX: Final = 10_000
GROUPS_MAX: Final = 1_000  # in one page
METRICS_MAX: Final = 100


@strawberry.input(description="A number of a metric.")
class MetricColumn:
    key: str = strawberry.field(description="The metric's key.")
    stat: Stat = strawberry.field(default=Stat.LAST, description="Which number of it.")


@strawberry.type(description="A value that the runs of a group have in common.")
class GroupValue:
    area: Area = strawberry.field(description="Where it lies.")
    key: str = strawberry.field(description="Its key.")
    type: ParamType | None = strawberry.field(description="The kind of the value; null where they have none.")
    value: ParamValue | None = strawberry.field(description="The value; null where they have none.")


@strawberry.type(description="A number of a metric over the runs of a group. What there are too few runs for is null.")
class GroupMetric:
    key: str = strawberry.field(description="The metric's key.")
    stat: Stat = strawberry.field(description="Which number of it.")
    count: int = strawberry.field(description="How many of the runs have a finite one; the rest is about these.")
    non_finite: int = strawberry.field(description="How many have one that is NaN or infinite; these are left out.")
    mean: MetricValue | None = strawberry.field(description="The mean.")
    standard_deviation: MetricValue | None = strawberry.field(description="The sample standard deviation.")
    confidence_low: MetricValue | None = strawberry.field(
        description="Where the 95 % confidence interval of the mean begins, by Student's t."
    )
    confidence_high: MetricValue | None = strawberry.field(description="Where it ends.")
    min: MetricValue | None = strawberry.field(description="The smallest.")
    max: MetricValue | None = strawberry.field(description="The largest.")

    @classmethod
    def of(cls, field: Field, found: Statistics, place: int) -> "GroupMetric":
        def number(values: Floats) -> MetricValue | None:
            return None if np.isnan(values[place]) else MetricValue(float(values[place]))

        return cls(
            key=field.key,
            stat=field.stat,
            count=int(found.counts[place]),
            non_finite=int(found.non_finite[place]),
            mean=number(found.means),
            standard_deviation=number(found.deviations),
            confidence_low=number(found.lows),
            confidence_high=number(found.highs),
            min=number(found.mins),
            max=number(found.maxs),
        )


@strawberry.type(description="The same as columns: each has one entry for each group, null for too few runs.")
class GroupColumn:
    key: str = strawberry.field(description="The metric's key.")
    stat: Stat = strawberry.field(description="Which number of it.")
    found: strawberry.Private[Statistics]

    @strawberry.field(description="How many runs have a finite one; the rest is about these.")
    def count(self) -> Cells:
        return cast(Cells, cells.numbers(self.found.counts, np.ones(len(self.found.counts), np.bool_)))

    @strawberry.field(description="How many have one that is NaN or infinite; these are left out.")
    def non_finite(self) -> Cells:
        return cast(Cells, cells.numbers(self.found.non_finite, np.ones(len(self.found.counts), np.bool_)))

    @strawberry.field(description="The means.")
    def mean(self) -> Cells:
        return _cells(self.found.means)

    @strawberry.field(description="The sample standard deviations.")
    def standard_deviation(self) -> Cells:
        return _cells(self.found.deviations)

    @strawberry.field(description="Where the 95 % confidence intervals of the means begin, by Student's t.")
    def confidence_low(self) -> Cells:
        return _cells(self.found.lows)

    @strawberry.field(description="Where they end.")
    def confidence_high(self) -> Cells:
        return _cells(self.found.highs)

    @strawberry.field(description="The smallest.")
    def min(self) -> Cells:
        return _cells(self.found.mins)

    @strawberry.field(description="The largest.")
    def max(self) -> Cells:
        return _cells(self.found.maxs)


def _cells(values: Floats) -> Cells:
    return cast(Cells, cells.numbers(values, ~np.isnan(values)))


@strawberry.type(description="Runs that have the same values.")
class RunGroup:
    values: list[GroupValue] = strawberry.field(description="The values, in the order of the keys.")
    run_ids: list[strawberry.ID] = strawberry.field(description="The runs, in the order of the selection.")
    metrics: list[GroupMetric] = strawberry.field(description="The metrics that were asked for.")

    @strawberry.field(description="How many runs it has.")
    def run_count(self) -> int:
        return len(self.run_ids)


@strawberry.type(
    description="Groups of runs, for people as `groups`, for pages as columns. They are in the order of their values, "
    "key by key: numbers, then NaN, then texts, then none."
)
class RunGroups:
    page_info: PageInfo = strawberry.field(description="Where this page lies in the list of groups.")
    total_count: int = strawberry.field(description="How many groups there are.")
    run_count: int = strawberry.field(description="How many runs were grouped.")
    by: strawberry.Private[list[Field]]
    page: strawberry.Private[Groups]
    ids: strawberry.Private[list[str]]
    metrics: strawberry.Private[list[Field]]
    found: strawberry.Private[list[Statistics]]

    @strawberry.field(description="What they are grouped by: columns with an entry for each group.")
    def keys(self) -> list[Shown]:
        return [Shown.of(field, column) for field, column in zip(self.by, self.page.keys, strict=True)]

    @strawberry.field(description="How many runs each group has.")
    def run_counts(self) -> Cells:
        return cast(Cells, [len(members) for members in self.page.members])

    @strawberry.field(description="The ids of the runs of each group, as lists.")
    def run_ids(self) -> Cells:
        return cast(Cells, [self._ids(place) for place in range(len(self.page.members))])

    @strawberry.field(description="The metrics that were asked for: columns with an entry for each group.")
    def columns(self) -> list[GroupColumn]:
        return [
            GroupColumn(key=field.key, stat=field.stat, found=found)
            for field, found in zip(self.metrics, self.found, strict=True)
        ]

    @strawberry.field(description="The groups.")
    def groups(self) -> list[RunGroup]:
        return [
            RunGroup(
                values=group_values(self.by, self.page.values[place]),
                run_ids=[strawberry.ID(run_id) for run_id in self._ids(place)],
                metrics=[
                    GroupMetric.of(field, found, place) for field, found in zip(self.metrics, self.found, strict=True)
                ],
            )
            for place in range(len(self.page.members))
        ]

    def _ids(self, place: int) -> list[str]:
        return [self.ids[member] for member in self.page.members[place].tolist()]


def group_values(by: Sequence[Field], values: Values) -> list[GroupValue]:
    """What the runs of a group share, in the order of `by`."""
    return [_value(field, *told) for field, told in zip(by, values, strict=True)]


def _value(field: Field, type_: str | None, text: str | None) -> GroupValue:
    if text is None or type_ is None:
        return GroupValue(area=field.area, key=field.key, type=None, value=None)
    if field.area is Area.PARAM:
        value = Param(field.key, ParamType(type_), text, None).value
    else:
        value = from_metric_value(float(text)) if type_ == ParamType.FLOAT else text
    return GroupValue(area=field.area, key=field.key, type=ParamType(type_), value=cast(ParamValue, value))


@strawberry.type
class GroupQuery:
    @strawberry.field(
        description="Runs in groups that have the same values, with the statistics of metrics over each: the mean over "
        "seeds. Runs that all lack a value are alike. At most 10,000 runs."
    )
    async def group_runs(
        self,
        info: Info,
        select: Annotated[RunSelection | None, strawberry.argument(description="Which; absent: all of yours.")] = None,
        by: Annotated[
            list[RunColumn] | None, strawberry.argument(description="By these params, tags or attributes.")
        ] = None,
        all_params_but: Annotated[
            list[str] | None,
            strawberry.argument(description='By all params that any run has except these, such as ["seed"].'),
        ] = None,
        metrics: Annotated[
            list[MetricColumn] | None, strawberry.argument(description="Which to sum up, at most 100.")
        ] = None,
        first: Annotated[int, strawberry.argument(description="How many groups at most, 1 to 1,000.")] = 200,
        after: After = None,
    ) -> RunGroups:
        if not 1 <= first <= GROUPS_MAX:
            raise Invalid(f"first is {first}", path="first", limit=f"1 to {GROUPS_MAX}")
        context = info.context
        given, summed_up = columns_of(by or [], "by"), _metrics(metrics or [])
        selection = select.checked() if select else runs.Selection()
        key = list_key(context, "groupRuns", [str((select, by, all_params_but))])
        start = None if after is None else decode_cursor(key, after)
        run_ids = await runs.first_ids(context.pool, context.scope, selection, limit=RUNS_MAX + 1)
        if len(run_ids) > RUNS_MAX:
            raise Invalid("the selection has too many runs", path="select", limit=f"{RUNS_MAX} runs")
        read = await frames.read(context.pool, context.scope, run_ids, [*given, *summed_up])
        columns, numbers = read[: len(given)], read[len(given) :]
        if all_params_but is not None:
            left = await comparisons.params(context.pool, context.scope, run_ids)
            left = [column for column in left if column.key not in all_params_but]
            given, columns = [*given, *(Field(Area.PARAM, column.key) for column in left)], [*columns, *left]
        groups = groupings.grouped(len(run_ids), columns)
        begin = _behind(groups, start)
        page = groupings.part(groups, begin, begin + first)
        return RunGroups(
            page_info=PageInfo(
                has_next_page=begin + first < len(groups.values),
                has_previous_page=begin > 0,
                start_cursor=encode_cursor(key, list(page.values[0])) if page.values else None,
                end_cursor=encode_cursor(key, list(page.values[-1])) if page.values else None,
            ),
            total_count=len(groups.values),
            run_count=len(run_ids),
            by=given,
            page=page,
            ids=[str(run_id) for run_id in run_ids],
            metrics=summed_up,
            found=[groupings.statistics(column, page.members) for column in numbers],
        )


def _metrics(given: Sequence[MetricColumn]) -> list[Field]:
    if len(given) > METRICS_MAX:
        raise Invalid(f"metrics has {len(given)} columns", path="metrics", limit=f"{METRICS_MAX} columns")
    return [
        Field(Area.METRIC, texts.storable(column.key, f"metrics[{index}].key"), column.stat)
        for index, column in enumerate(given)
    ]


def _behind(groups: Groups, position: list[Any] | None) -> int:
    """How many groups stand up to this position."""
    if position is None:
        return 0
    values = tuple((type_, text) for type_, text in position)
    return bisect_right(groups.values, groupings.order(values), key=groupings.order)
