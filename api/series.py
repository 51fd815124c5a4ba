"""Series: the points of many runs and keys, as columns."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, TypeAlias, TypeVar
from uuid import UUID

import strawberry
from strawberry.types.nodes import SelectedField, Selection

from api.columns import ColumnEncoding, Float64Column, Int64Column, floats, ints
from api.context import Info
from api.points import encode as encode_position
from api.scalars import Cursor, Int64
from api.selections import RunSelection, selected
from db import points, series, texts
from db.points import Position
from db.pool import Conn
from db.series import Curve, XAxis

T = TypeVar("T")

Keys: TypeAlias = Annotated[list[str], strawberry.argument(description="The metrics.")]
X: TypeAlias = Annotated[XAxis, strawberry.argument(description="What the points stand over.")]
MaxPoints: TypeAlias = Annotated[
    int | None,
    strawberry.argument(
        description="At least 5. A longer series is cut into equal groups, of which the first, last, lowest, highest "
        "and first non-finite point are kept. Absent: every point."
    ),
]
FromStep: TypeAlias = Annotated[Int64 | None, strawberry.argument(description="Only points at this step and above.")]
ToStep: TypeAlias = Annotated[Int64 | None, strawberry.argument(description="Only points at this step and below.")]
Encoding: TypeAlias = Annotated[ColumnEncoding, strawberry.argument(description="How the columns are answered.")]


@strawberry.type(description="The points of a metric of a run, by `x`. Where attempts overlap, the newest counts.")
class Series:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    key: str = strawberry.field(description="The metric.")
    count: Int64 = strawberry.field(description="How many points there are, also when fewer are answered.")
    exact: bool = strawberry.field(description="Whether every point is answered.")
    curve: strawberry.Private[Curve]
    encoding: strawberry.Private[ColumnEncoding]
    position: strawberry.Private[Cursor | None] = None  # only when it is asked for

    @classmethod
    def from_curve(cls, curve: Curve, encoding: ColumnEncoding, as_of: Cursor | None = None) -> "Series":
        return cls(
            run_id=strawberry.ID(str(curve.run_id)),
            key=curve.key,
            count=Int64(curve.count),
            exact=curve.is_exact,
            curve=curve,
            encoding=encoding,
            position=as_of,
        )

    @strawberry.field(
        description="Give it as `after` to the subscription `points`, which continues exactly behind this series; the "
        "same for all series of a run that are asked for together."
    )
    def as_of(self) -> Cursor:
        assert self.position is not None, "series_of saw that it is asked for"
        return self.position

    @strawberry.field(description="The step of each point.")
    def steps(self) -> Int64Column:
        return ints(self.curve.steps, self.encoding)

    @strawberry.field(description="The time of each point, as Unix milliseconds by the client's clock.")
    def times(self) -> Int64Column:
        return ints(self.curve.times, self.encoding)

    @strawberry.field(
        description="Where each point stands: its step, the milliseconds since the first point of its attempt (of any "
        "metric), or Unix milliseconds."
    )
    def x(self) -> Float64Column:
        return floats(self.curve.x, self.encoding)

    @strawberry.field(description="The value of each point.")
    def values(self) -> Float64Column:
        return floats(self.curve.values, self.encoding)

    @strawberry.field(description="The number of the attempt that logged each point.")
    def attempts(self) -> Int64Column:
        return ints(self.curve.attempts, self.encoding)


async def series_of(
    info: Info,
    run_ids: Sequence[UUID],
    keys: Sequence[str],
    x: XAxis,
    attempt: int | None,
    from_step: int | None,
    to_step: int | None,
    max_points: int | None,
    encoding: ColumnEncoding,
) -> list[Series]:
    """The series that the runs have of these keys. Raises `Invalid`."""
    context = info.context
    texts.all_storable(keys, "keys")
    read = partial(
        series.read,
        x=x,
        attempt=attempt,
        low_step=0 if from_step is None else from_step,
        high_step=series.STEP_MAX if to_step is None else to_step,
        max_points=max_points,
        times=selects(info.selected_fields, "times"),
        strict=True,
    )
    curves, cursors = await read_as_of(info, run_ids, lambda conn: read(conn, context.scope, run_ids, keys))
    return [Series.from_curve(curve, encoding, cursors.get(curve.run_id)) for curve in curves]


async def read_as_of(
    info: Info, run_ids: Sequence[UUID], read: Callable[[Conn], Awaitable[T]]
) -> tuple[T, dict[UUID, Cursor]]:
    """What is read, and, when `asOf` is asked for, the cursor of each run behind all of it."""
    context = info.context
    if not selects(info.selected_fields, "asOf"):
        return await read(context.pool), {}
    # In one snapshot, so that nothing lies between the series and what is read behind them.
    async with context.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        position = await points.standing(conn, run_ids)
        found = await read(conn)
    return found, {
        run_id: encode_position(context.deps.cursor_key, Position({run_id: place}))
        for run_id, place in position.runs.items()
    }


def selects(selections: Iterable[Selection], name: str) -> bool:
    """Whether the field of this name is asked for, directly or in a fragment."""
    return any(
        (isinstance(one, SelectedField) and one.name == name) or selects(one.selections, name) for one in selections
    )


def _only_ids(select: RunSelection) -> list[UUID] | None:
    """The ids, when the selection says nothing else: reading finds out whether the viewer sees them all."""
    if not select.run_ids or select != RunSelection(run_ids=select.run_ids):
        return None
    return [*dict.fromkeys(select.checked().run_ids or ())]


@strawberry.type
class SeriesQuery:
    @strawberry.field(description="The points of many runs and metrics, as columns; what a run lacks is left out.")
    async def series(
        self,
        info: Info,
        select: Annotated[RunSelection, strawberry.argument(description="Which runs, 1 to 1,000.")],
        keys: Keys,
        x: X = XAxis.STEP,
        attempt: Annotated[int | None, strawberry.argument(description="Only of this attempt.")] = None,
        from_step: FromStep = None,
        to_step: ToStep = None,
        max_points: MaxPoints = None,
        encoding: Encoding = ColumnEncoding.JSON,
    ) -> list[Series]:
        run_ids = _only_ids(select) or [row.id for row in await selected(info, select)]
        return await series_of(info, run_ids, keys, x, attempt, from_step, to_step, max_points, encoding)
