"""Metrics: what a run measured, step by step; this is where points come in and what they amount to."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, cast
from uuid import UUID

import strawberry

from api.auth import mutation
from api.columns import Float64Column, Int64Column
from api.connections import Connection, page
from api.context import Info
from api.errors import Forbidden, NotFound, RunSealed, SeqConflict, Unavailable
from api.errors import Invalid as InvalidError
from api.scalars import Int64, MetricValue
from db import ids, metrics, summaries, texts
from db.errors import Invalid
from db.metrics import Appended, Columns, Point
from db.summaries import Summary

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@strawberry.type(description="A series of a run, summed up; every point counts, also those of earlier attempts.")
class Metric:
    key: str = strawberry.field(description="Its name.")
    count: Int64 = strawberry.field(description="How many points.")
    first: MetricValue = strawberry.field(description="The value at the lowest step.")
    last: MetricValue = strawberry.field(
        description="The value at the highest step; of several there the newest attempt's, received last."
    )
    last_step: Int64 = strawberry.field(description="The highest step.")
    min: MetricValue | None = strawberry.field(description="The lowest finite value; null when there is none.")
    min_step: Int64 | None = strawberry.field(description="The lowest step that has `min`.")
    max: MetricValue | None = strawberry.field(description="The highest finite value; null when there is none.")
    max_step: Int64 | None = strawberry.field(description="The lowest step that has `max`.")
    non_finite: Int64 = strawberry.field(description="How many values are NaN or infinite.")

    @classmethod
    def from_row(cls, row: Summary) -> "Metric":
        """The row as it is: it has these fields, and a request has thousands of them."""
        return cast("Metric", row)


async def metric_page(info: Info, run_id: UUID, prefix: str, first: int, after: str | None) -> Connection[Metric]:
    """The metrics of a run, by key. Raises `Invalid`."""
    context = info.context
    texts.storable(prefix, "prefix")

    async def fetch(start: list[Any] | None, limit: int) -> list[Summary]:
        key = start[0] if start else None
        return await context.loaders.metric_pages.load((run_id, (prefix, key, limit)))

    async def count() -> int:
        return await summaries.count(context.pool, context.scope, run_id, prefix)

    return await page(
        context,
        "metrics",
        [run_id, prefix],
        first,
        after,
        fetch=fetch,
        position=lambda row: [row.key],
        node=Metric.from_row,
        count=count,
    )


@strawberry.input(description="Points as columns: every key has a value at every step.")
class MetricBlockInput:
    seq: Int64 = strawberry.field(description="Counts the blocks of the writer from 0, without gaps.")
    keys: list[str] = strawberry.field(description="The metrics, each once.")
    steps: Int64Column = strawberry.field(description="The steps, 0 to 2^63-1, in any order.")
    times: Int64Column = strawberry.field(description="When each step was, as Unix milliseconds by your clock.")
    values: Float64Column = strawberry.field(
        description="The values at all steps of the first key, then those of the second, and so on."
    )

    def columns(self) -> Columns:
        """The block in the database's words."""
        return Columns(
            seq=self.seq,
            keys=tuple(self.keys),
            steps=cast(bytes, self.steps),
            times=cast(bytes, self.times),
            values=cast(bytes, self.values),
        )


@strawberry.input(description="One value of a metric.")
class PointInput:
    key: str = strawberry.field(description="The metric, 1 to 250 characters.")
    value: MetricValue = strawberry.field(description="Its value.")
    step: Int64 = strawberry.field(default=Int64(0), description="The step, 0 to 2^63-1.")
    time: datetime | None = strawberry.field(default=None, description="When it was; absent: now, by our clock.")

    def point(self, now: datetime) -> Point:
        """The point in the database's words."""
        time_ms = ((self.time or now) - EPOCH) // timedelta(milliseconds=1)
        return Point(self.key, self.step, time_ms, self.value)


@strawberry.input(description="Points of a run, at most 10,000: `blocks` of a writer, for programs, or `points`.")
class LogMetricsInput:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    writer_id: strawberry.ID | None = strawberry.field(
        default=None, description="A UUID that you make for each process that logs; needed with `blocks`."
    )
    blocks: list[MetricBlockInput] | None = strawberry.field(
        default=None, description="Consecutive blocks. Sending them again is safe: each is stored once."
    )
    points: list[PointInput] | None = strawberry.field(
        default=None, description="For people. Sending them again stores them again."
    )


@strawberry.type(description="The points are stored and stay.")
class LogMetricsPayload:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    writer_id: strawberry.ID = strawberry.field(description="The writer that stored them.")
    next_seq: Int64 = strawberry.field(description="The seq of the writer's next block.")
    points: int = strawberry.field(description="How many points the request had.")
    stop_requested: bool = strawberry.field(
        description="Whether somebody wants the attempt of the writer to end; the heartbeat says more."
    )

    @classmethod
    def from_appended(cls, run_id: strawberry.ID, appended: Appended) -> "LogMetricsPayload":
        return cls(
            run_id=run_id,
            writer_id=strawberry.ID(str(appended.writer_id)),
            next_seq=Int64(appended.next_seq),
            points=appended.points,
            stop_requested=appended.stop_requested,
        )


LogMetricsResult = Annotated[
    LogMetricsPayload | NotFound | Forbidden | InvalidError | SeqConflict | RunSealed | Unavailable,
    strawberry.union("LogMetricsResult", description="What logMetrics answers."),
]


@strawberry.type
class MetricMutation:
    @mutation("Store points, all or none; when this answers, they survive any crash.", is_event=False)
    async def log_metrics(
        self, info: Info, input: Annotated[LogMetricsInput, strawberry.argument(description="The run and its points.")]
    ) -> LogMetricsResult:
        run_id = ids.parse(input.run_id, "input.runId")
        recorder, scope = info.context.deps.recorder, info.context.scope
        if input.blocks is not None and input.points is None:
            writer_id = parse_writer(input)
            appended = await recorder.append(scope, run_id, writer_id, [block.columns() for block in input.blocks])
        elif input.points is not None and input.blocks is None and input.writer_id is None:
            appended = await recorder.log(scope, run_id, _points(input.points))
        else:
            raise Invalid("send either writerId and blocks, or points", path="input")
        return LogMetricsPayload.from_appended(input.run_id, appended)


def parse_writer(input: LogMetricsInput) -> UUID:
    """The writer of the blocks. Raises `Invalid`."""
    if input.writer_id is None:
        raise Invalid("blocks need a writerId", path="input.writerId", hint="make a UUID for each process that logs")
    return ids.parse(input.writer_id, "input.writerId")


def _points(given: Sequence[PointInput]) -> list[metrics.Point]:
    now = datetime.now(UTC)
    return [point.point(now) for point in given]
