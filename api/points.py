"""Points as they come: a subscription that continues behind a position, without a gap and with nothing twice."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

import strawberry

from api.columns import ColumnEncoding, Float64Column, Int64Column, floats, ints
from api.connections import opened, signed, signing_key
from api.context import Info
from api.live import Step, Texts
from api.scalars import Cursor
from db import ids, points, runs, texts
from db.errors import Invalid, NotFound
from db.points import NOTHING, Part, Position, Read, Reader
from db.pool import Pool

RUNS_MAX: Final = 100
KEYS_MAX: Final = 100


@strawberry.type(
    description="New points of a metric, by writer in the order in which each stored them; also those of steps that "
    "another attempt has."
)
class FreshSeries:
    key: str = strawberry.field(description="The metric.")
    part: strawberry.Private[Part]
    encoding: strawberry.Private[ColumnEncoding]

    @strawberry.field(description="The step of each point.")
    def steps(self) -> Int64Column:
        return ints(self.part.steps, self.encoding)

    @strawberry.field(description="The time of each point, as Unix milliseconds by the client's clock.")
    def times(self) -> Int64Column:
        return ints(self.part.times, self.encoding)

    @strawberry.field(description="The value of each point.")
    def values(self) -> Float64Column:
        return floats(self.part.values, self.encoding)

    @strawberry.field(description="The number of the attempt that logged each point.")
    def attempts(self) -> Int64Column:
        return ints(self.part.attempts, self.encoding)


@strawberry.type(description="New points of a run. The first message of a subscription without `after` has no run.")
class FreshPoints:
    run_id: strawberry.ID | None = strawberry.field(description="The run; null where the subscription begins.")
    parts: strawberry.Private[Sequence[Part]]
    position: strawberry.Private[Position]
    cursor_key: strawberry.Private[bytes]
    encoding: strawberry.Private[ColumnEncoding]
    texts: strawberry.Private[Texts]

    @strawberry.field(description="Give it as `after` to continue exactly behind these points.")
    def after(self) -> Cursor:
        return encode(self.cursor_key, self.position)

    @strawberry.field(description="The metrics that have new points.")
    def series(self) -> list[FreshSeries]:
        return [FreshSeries(key=part.key, part=part, encoding=self.encoding) for part in self.parts]

    @property
    def is_same_for_all(self) -> bool:
        """Whether it looks the same for everybody who may see it."""
        return True


def encode(cursor_key: bytes, position: Position) -> Cursor:
    """The cursor of a position."""
    return signed(signing_key(cursor_key, ["points"]), position.packed)


def decode(cursor_key: bytes, cursors: Sequence[str]) -> dict[UUID, Read]:
    """How far the cursors have read which run. Raises `Invalid`, also when two differ about a run."""
    found: dict[UUID, Read] = {}
    for index, cursor in enumerate(cursors):
        packed = opened(signing_key(cursor_key, ["points"]), cursor)
        if packed is None:
            raise Invalid(
                "the cursor is not of points",
                path=f"after[{index}]",
                hint="take it from `after` of points or `asOf` of series",
            )
        for run_id, read in Position.unpacked(packed).runs.items():
            if found.setdefault(run_id, read) != read:
                raise Invalid(
                    f"two cursors stand at different points of run {run_id}",
                    path=f"after[{index}]",
                    hint="ask for the series of a run in one request",
                )
    return found


@dataclass(frozen=True, slots=True)
class _Source:
    """Reads new points for everybody who asks for the same metrics in the same encoding."""

    pool: Pool
    reader: Reader
    cursor_key: bytes
    encoding: ColumnEncoding

    async def read(self, position: Position, upto: Position | None) -> Step[Position, FreshPoints] | None:
        """The messages behind the position; None when there is nothing."""
        found = await self.reader.behind(self.pool, position, upto)
        if not found:
            return None
        messages: list[FreshPoints] = []
        for fresh in found:
            position = Position({**position.runs, fresh.run_id: fresh.read})
            if fresh.parts:
                messages.append(self.message(position, fresh.run_id, fresh.parts))
        points.check_size(position)
        return Step(messages, position, more=any(fresh.more for fresh in found))

    def message(self, position: Position, run_id: UUID | None = None, parts: Sequence[Part] = ()) -> FreshPoints:
        """What is sent of these points; without a run only where the subscription begins."""
        return FreshPoints(
            run_id=None if run_id is None else strawberry.ID(str(run_id)),
            parts=parts,
            position=position,
            cursor_key=self.cursor_key,
            encoding=self.encoding,
            texts=Texts(),
        )


async def _start(info: Info, run_ids: Sequence[UUID], after: Sequence[str] | None, from_start: bool) -> Position:
    """Where the subscription begins; of runs that `after` does not tell of, at their beginning."""
    if after is None and not from_start:
        return await points.standing(info.context.pool, run_ids)
    if after is not None and from_start:
        raise Invalid("after and fromStart are both given", path="fromStart", hint="give one of them")
    reads: Mapping[UUID, Read] = decode(info.context.deps.cursor_key, after or ())
    return Position({run_id: reads.get(run_id, NOTHING) for run_id in run_ids})


async def _visible(info: Info, run_ids: Sequence[str]) -> list[UUID]:
    """The runs, each once. Raises `Invalid`, `NotFound`."""
    if not 1 <= len(run_ids) <= RUNS_MAX:
        raise Invalid(f"runIds has {len(run_ids)} entries", path="runIds", limit=f"1 to {RUNS_MAX} runs")
    asked = sorted({ids.parse(run_id, f"runIds[{index}]") for index, run_id in enumerate(run_ids)})
    context = info.context
    for run_id, run in zip(asked, await runs.by_ids(context.pool, context.scope, asked), strict=True):
        if run is None:
            raise NotFound(f"there is no run {run_id}", path="runIds")
    return asked


@strawberry.type
class PointSubscription:
    @strawberry.subscription(
        description="New points of runs, soon after they were acknowledged: each once, those of a writer in order. "
        "It goes on when a run ends, because a run can be resumed."
    )
    async def points(
        self,
        info: Info,
        run_ids: Annotated[list[strawberry.ID], strawberry.argument(description="The runs, 1 to 100.")],
        keys: Annotated[list[str], strawberry.argument(description="The metrics, 1 to 100.")],
        after: Annotated[
            list[Cursor] | None,
            strawberry.argument(
                description="Continue behind a message, or behind what series were read `asOf`; a run that these do "
                "not tell of is answered from its beginning. Absent: from now on."
            ),
        ] = None,
        from_start: Annotated[
            bool, strawberry.argument(description="First all points that there are, then the new ones.")
        ] = False,
        encoding: Annotated[
            ColumnEncoding, strawberry.argument(description="How the columns are answered.")
        ] = ColumnEncoding.JSON,
    ) -> AsyncGenerator[FreshPoints, None]:
        if not 1 <= len(keys) <= KEYS_MAX:
            raise Invalid(f"keys has {len(keys)} entries", path="keys", limit=f"1 to {KEYS_MAX} metrics")
        texts.all_storable(keys, "keys")
        asked = await _visible(info, run_ids)
        position = await _start(info, asked, after, from_start)
        points.check_size(position)
        deps, metrics = info.context.deps, sorted(set(keys))
        source = _Source(deps.pool, Reader(metrics), deps.cursor_key, encoding)
        key = ("points", tuple(asked), tuple(metrics), encoding)
        with deps.live.line(key, asked, source.read, Position.reaches) as line:
            if after is None:
                yield source.message(position)
            while True:
                step = await line.behind(position)
                for message in step.messages:
                    yield message
                position = step.position
