"""Series: reading the points of many runs and keys as columns, whole or summed up."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np

from db import chunks, packing
from db.access import Scope
from db.errors import Invalid
from db.packing import Floats, Ints
from db.pool import Conn

SERIES_MAX: Final = 10_000  # of one request
POINTS_READ_MAX: Final = 10_000_000  # of one request that is summed up
POINTS_ANSWERED_MAX: Final = 2_000_000  # of one request that is answered whole
POINTS_AT_ONCE: Final = 1_000_000  # in memory
MAX_POINTS_MIN: Final = 5
STEP_MAX: Final = 2**63 - 1
RANGE_MAX: Final = STEP_MAX - 1
NONE: Final = np.empty(0, "<i8")
TIER_FROM: Final = 64  # a series this many times longer than what is asked for is read from its tiers


class XAxis(StrEnum):
    """What the points stand over."""

    STEP = "STEP"
    RELATIVE_TIME = "RELATIVE_TIME"
    WALL_TIME = "WALL_TIME"


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of a run's key in order of `x`; `count` is before and `is_exact` tells whether any was left out.

    Where attempts overlap, each step has the points of the newest. `x` is the step, the milliseconds since the first
    point of the point's attempt, or Unix milliseconds. `times` is empty unless it was asked for.
    """

    run_id: UUID
    key: str
    count: int
    is_exact: bool
    steps: Ints
    times: Ints
    x: Floats
    values: Floats
    attempts: Ints


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of every series: of which attempt, between which steps, and which columns it takes."""

    attempt: int | None
    low_step: int
    high_step: int
    times: bool
    arrivals: bool = False

    @property
    def is_zoom(self) -> bool:
        return self.low_step > 0 or self.high_step < STEP_MAX


@dataclass(frozen=True, slots=True)
class _Asked:
    """A series that the viewer sees; `points` is how many are to be read of its chunks.

    When it `is_long`, tiers are read instead of chunks, except between the steps that `whole` holds.
    """

    run_id: UUID
    key: str
    is_long: bool
    points: int
    whole: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Points:
    """Points of one series; `times` is empty unless it was asked for."""

    steps: Ints
    times: Ints
    values: Floats
    attempts: Ints

    def at(self, places: Any) -> "_Points":
        """Those at the places."""
        times = self.times[places] if len(self.times) else self.times
        return _Points(self.steps[places], times, self.values[places], self.attempts[places])


@dataclass(frozen=True, slots=True)
class _Part:
    """Points of one series in the order of their seqs: of a chunk, or of the blocks of one stream.

    `count` is how many there are; landmarks stand for them, five of each group. `arrivals` (when each point's block was
    received, and its seq) is None unless it was asked for.
    """

    attempt: int
    writer_id: UUID
    first_seq: int
    is_landmarks: bool
    count: int
    points: _Points
    arrivals: tuple[Ints, Ints] | None

    @property
    def low_step(self) -> int:
        return int(self.points.steps.min())

    @property
    def high_step(self) -> int:
        return int(self.points.steps.max())


async def read(
    conn: Conn,
    scope: Scope,
    run_ids: Sequence[UUID],
    keys: Sequence[str],
    *,
    x: XAxis = XAxis.STEP,
    attempt: int | None = None,
    low_step: int = 0,
    high_step: int = STEP_MAX,
    max_points: int | None = None,
    times: bool = True,
) -> list[Curve]:
    """The series that exist, in the order of `run_ids` and `keys`; what was acknowledged is in them.

    Only the points from `low_step` to `high_step`, with their `times` when asked for. With `max_points` a longer series
    is cut into equal groups of points, and of each the first, the last, the lowest, the highest and the first
    non-finite point are kept. Raises `Invalid` when it would read too much.
    """
    if max_points is not None and max_points < MAX_POINTS_MIN:
        raise Invalid(f"maxPoints is {max_points}", path="maxPoints", limit=f"at least {MAX_POINTS_MIN}")
    if low_step > high_step:
        raise Invalid(
            f"fromStep is {low_step} and toStep is {high_step}", path="toStep", hint="ask for one step or more"
        )
    question = _Question(attempt, low_step, high_step, times or x is not XAxis.STEP)
    asked = await _asked(conn, scope, run_ids, keys, question, max_points)
    curves: list[Curve] = []
    for batch in _batches(asked):
        parts = await _untangled(conn, batch, question)
        origins = await _origins(conn, batch) if x is XAxis.RELATIVE_TIME else {}
        curves += await asyncio.to_thread(_curves, batch, parts, x, origins, max_points)
    return curves


def _batches(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """The series in parts that fit into memory, or of one that is larger."""
    batch: list[_Asked] = []
    points = 0
    for series in asked:
        if batch and points + series.points > POINTS_AT_ONCE:
            yield batch
            batch, points = [], 0
        batch.append(series)
        points += series.points
    if batch:
        yield batch


# Of a part of the steps, the points of the chunks that have any of them.
SIZES = """
    select run.id, asked.key, coalesce(sum(stored.count), 0)::bigint as count
    from run
    join run_keyset on run_keyset.run_id = run.id
    join keyset on keyset.id = run_keyset.keyset_id
    join unnest($5::text[]) as asked (key) on asked.key = any (keyset.keys)
    cross join lateral (
        select case when $6 then (
            select sum(n)
            from chunk
            where chunk.run_id = run.id and chunk.keyset_id = keyset.id
                and chunk.low_step <= $8 and chunk.high_step >= $7
        ) else (
            select count from tally where tally.run_id = run.id and tally.keyset_id = keyset.id
        ) end as count
    ) as stored
    where run.id = any ($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
    group by run.id, asked.key
"""


async def _asked(
    conn: Conn,
    scope: Scope,
    run_ids: Sequence[UUID],
    keys: Sequence[str],
    question: _Question,
    max_points: int | None,
) -> list[_Asked]:
    """What to read and how."""
    rows = await conn.fetch(
        SIZES,
        run_ids,
        *scope.sight,
        list(dict.fromkeys(keys)),
        question.is_zoom,
        question.low_step,
        question.high_step,
    )
    if len(rows) > SERIES_MAX:
        raise Invalid(f"that are {len(rows)} series", limit=f"{SERIES_MAX} series", hint="ask for fewer runs or keys")
    run_places = {run_id: place for place, run_id in enumerate(run_ids)}
    key_places = {key: place for place, key in enumerate(keys)}
    rows.sort(key=lambda row: (run_places[row["id"]], key_places[row["key"]]))
    asked = []
    for row in rows:
        is_long = max_points is not None and row["count"] >= TIER_FROM * max_points
        points = row["count"] * packing.LANDMARKS // packing.TIER_GROUP if is_long else row["count"]
        asked.append(_Asked(row["id"], row["key"], is_long, points))
    if max_points is None:
        _require_at_most(POINTS_ANSWERED_MAX, asked, "ask for fewer runs, keys or steps, or set maxPoints")
    else:
        _require_at_most(POINTS_READ_MAX, asked, "ask for fewer runs, keys or steps, or set maxPoints lower")
    return asked


def _require_at_most(limit: int, series: Sequence[_Asked], hint: str) -> None:
    total = sum(one.points for one in series)
    if total > limit:
        raise Invalid(f"that would read {total} points", limit=f"{limit} points", hint=hint)


async def _untangled(conn: Conn, asked: Sequence[_Asked], question: _Question) -> dict[tuple[UUID, str], list[_Part]]:
    """The parts of each series: landmarks only where nothing else has points between them, else with `arrivals`."""
    parts = await _parts(conn, asked, question)
    for is_last in (False, False, True):
        tangled = []
        for series in asked:
            knots = [knot for knot in _clusters(parts[series.run_id, series.key]) if _is_knot(knot)]
            if knots:
                tangled.append(_with_whole(series, knots, is_long=series.is_long and not is_last))
        if not tangled:
            break
        _require_at_most(POINTS_READ_MAX, tangled, "ask for fewer runs or keys, for an attempt, or for fewer steps")
        parts |= await _parts(conn, tangled, replace(question, arrivals=True))
    return parts


def _with_whole(series: _Asked, knots: Sequence[Sequence[_Part]], *, is_long: bool) -> _Asked:
    """The series, with every point between the steps of the knots."""
    whole = [(min(part.low_step for part in knot), max(part.high_step for part in knot)) for knot in knots]
    points = sum(part.count for knot in knots for part in knot)
    return replace(series, is_long=is_long, points=points, whole=(*series.whole, *whole))


def _clusters(parts: Sequence[_Part]) -> list[list[_Part]]:
    """The parts by step; those whose steps overlap are together."""
    if len(parts) == 1:
        return [list(parts)]
    clusters: list[list[_Part]] = []
    high_step = -1
    for part in sorted(parts, key=lambda part: part.low_step):
        if part.low_step > high_step:
            clusters.append([])
        clusters[-1].append(part)
        high_step = max(high_step, part.high_step)
    return clusters


def _is_knot(cluster: Sequence[_Part]) -> bool:
    """Whether the order of its points needs more than what was read."""
    if len(cluster) == 1 and (cluster[0].is_landmarks or _increases(cluster[0].points.steps)):
        return False
    return any(part.arrivals is None for part in cluster)


# Both tiers in one snapshot. A chunk gives the bytes of the asked keys only; of a long series its tier, if it has one
# and all its steps are asked for. Blocks come as one row a stream and key.
PARTS = """
    with asked as (
        select given.run_id, run_keyset.keyset_id, given.is_long, given.whole::int8multirange as whole, keyset.size,
            array_agg(given.key) as keys, array_agg(array_position(keyset.keys, given.key) - 1) as places
        from unnest($1::uuid[], $2::text[], $3::boolean[], $9::text[]) as given (run_id, key, is_long, whole)
        join run_keyset on run_keyset.run_id = given.run_id
        join keyset on keyset.id = run_keyset.keyset_id and given.key = any (keyset.keys)
        group by given.run_id, run_keyset.keyset_id, given.is_long, given.whole, keyset.size
    )
    select asked.run_id, asked.keys, chunk.attempt, chunk.writer_id, chunk.first_seq, chunk.n,
        true as is_chunk, is_tier,
        case when not is_tier then chunk.steps end as steps,
        case when not is_tier and $7 then chunk.times end as times,
        case when $8 then chunk.seqs end as seqs,
        case when $8 then chunk.sizes end as sizes,
        case when $8 then chunk.received end as received,
        null::bytea as block_seqs,
        array(select get_byte(chunk.narrow, place) from unnest(asked.places) as place) as narrow,
        case when is_tier then array(
            select substring(chunk.tier from place * tier.bytes + 1 for tier.bytes)
            from unnest(asked.places) as place, (select length(chunk.tier) / asked.size as bytes) as tier
        ) else array(
            select substring(
                chunk.vals
                from (chunk.n * (8 * place - 4 * bit_count(substring(chunk.narrow from 1 for place))))::integer + 1
                for chunk.n * (8 - 4 * get_byte(chunk.narrow, place))
            )
            from unnest(asked.places) as place
        ) end as vals
    from asked
    join chunk on chunk.run_id = asked.run_id and chunk.keyset_id = asked.keyset_id
        and chunk.low_step <= $6 and chunk.high_step >= $5
    cross join lateral (
        select asked.is_long and chunk.tier is not null and chunk.low_step >= $5 and chunk.high_step <= $6
            and not asked.whole && int8range(least(chunk.low_step, $10), least(chunk.high_step, $10), '[]') as is_tier
    ) as way
    where $4::integer is null or chunk.attempt = $4
    union all
    select asked.run_id, array[key], block.attempt, block.writer_id, min(block.seq), sum(block.n), false, false,
        string_agg(block.steps, '' order by block.seq),
        case when $7 then string_agg(block.times, '' order by block.seq) end,
        null,
        case when $8 then string_agg(int4send(block.n), '' order by block.seq) end,
        case when $8 then string_agg(int8send(block.received_ms), '' order by block.seq) end,
        case when $8 then string_agg(int8send(block.seq), '' order by block.seq) end,
        null,
        array[string_agg(substring(block.vals from place * block.n * 8 + 1 for block.n * 8), '' order by block.seq)]
    from asked
    join block on block.run_id = asked.run_id and block.keyset_id = asked.keyset_id
    cross join unnest(asked.keys, asked.places) as each (key, place)
    where $4::integer is null or block.attempt = $4
    group by asked.run_id, block.keyset_id, key, block.attempt, block.writer_id
"""


async def _parts(conn: Conn, asked: Sequence[_Asked], question: _Question) -> dict[tuple[UUID, str], list[_Part]]:
    """What is stored of each series, by run and key, with points between the steps that are asked for."""
    parts: dict[tuple[UUID, str], list[_Part]] = {(series.run_id, series.key): [] for series in asked}
    if not asked:
        return parts
    rows = await conn.fetch(
        PARTS,
        [series.run_id for series in asked],
        [series.key for series in asked],
        [series.is_long for series in asked],
        question.attempt,
        question.low_step,
        question.high_step,
        question.times,
        question.arrivals,
        [_multirange(series.whole) for series in asked],
        RANGE_MAX,
    )
    for row in rows:
        for key, part in zip(row["keys"], _parts_of(row, question), strict=True):
            found = _between(part, question) if question.is_zoom else part
            if found.count:
                parts[row["run_id"], key].append(found)
    return parts


def _multirange(ranges: Sequence[tuple[int, int]]) -> str:
    """An int8multirange, as text; the highest step of all falls on the one below it, which a range can still hold."""
    return "{" + ",".join(f"[{min(low, RANGE_MAX)},{min(high, RANGE_MAX)}]" for low, high in ranges) + "}"


def _parts_of(row: asyncpg.Record, question: _Question) -> Iterator[_Part]:
    """A part for each asked key of a chunk, or of the blocks of a stream."""
    count = row["n"]
    arrivals = None if row["received"] is None or row["is_tier"] else _arrivals(row)
    for steps, times, values in _columns_of(row):
        times = times if question.times else NONE
        attempts = np.broadcast_to(np.int64(row["attempt"]), steps.shape)
        points = _Points(steps, times, values, attempts)
        yield _Part(row["attempt"], row["writer_id"], row["first_seq"], row["is_tier"], count, points, arrivals)


def _columns_of(row: asyncpg.Record) -> Iterator[tuple[Ints, Ints, Floats]]:
    """The steps, times and values of each asked key."""
    if row["is_tier"]:
        yield from map(packing.unpack_tier, row["vals"])
    elif row["is_chunk"]:
        steps = packing.unpack(row["steps"], row["n"])
        times = NONE if row["times"] is None else packing.unpack(row["times"], row["n"])
        for narrow, values in zip(row["narrow"], row["vals"], strict=True):
            yield steps, times, packing.unpack_row(values, narrow)
    else:
        times = np.frombuffer(row["times"] or b"", "<i8")
        yield np.frombuffer(row["steps"], "<i8"), times, np.frombuffer(row["vals"][0], "<f8")


def _arrivals(row: asyncpg.Record) -> tuple[Ints, Ints]:
    """For each point when its block was received, and the block's seq."""
    if row["is_chunk"]:
        seqs = chunks.seqs_of(row["seqs"])
        received = packing.unpack(row["received"], len(seqs))
        sizes = packing.unpack(row["sizes"], len(seqs))
    else:
        seqs = packing.sent(row["block_seqs"], 8)
        received = packing.sent(row["received"], 8)
        sizes = packing.sent(row["sizes"], 4)
    return np.repeat(received, sizes), np.repeat(seqs, sizes)


def _between(part: _Part, question: _Question) -> _Part:
    """The points of the part that are between the steps."""
    steps = part.points.steps
    inside = (steps >= question.low_step) & (steps <= question.high_step)
    if inside.all():
        return part
    arrivals = None if part.arrivals is None else (part.arrivals[0][inside], part.arrivals[1][inside])
    return replace(part, count=int(inside.sum()), points=part.points.at(inside), arrivals=arrivals)


ORIGINS = """
    select run_id, attempt, min(first_ms) as first_ms
    from (
        select run_id, attempt, first_ms from chunk where run_id = any ($1::uuid[])
        union all
        select run_id, attempt, first_ms from block where run_id = any ($1::uuid[])
    ) as stored
    group by run_id, attempt
"""


async def _origins(conn: Conn, asked: Sequence[_Asked]) -> dict[tuple[UUID, int], int]:
    """The time of the first point of each attempt of the runs, of any key."""
    rows = await conn.fetch(ORIGINS, list({series.run_id for series in asked}))
    return {(row["run_id"], row["attempt"]): row["first_ms"] for row in rows}


def _increases(numbers: Ints) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def _curves(
    asked: Sequence[_Asked],
    parts: dict[tuple[UUID, str], list[_Part]],
    x: XAxis,
    origins: dict[tuple[UUID, int], int],
    max_points: int | None,
) -> list[Curve]:
    """The curves of the series that have points. All of it is computing."""
    return [
        _curve(series, found, x, origins, max_points) for series in asked if (found := parts[series.run_id, series.key])
    ]


def _curve(
    series: _Asked, parts: list[_Part], x: XAxis, origins: dict[tuple[UUID, int], int], max_points: int | None
) -> Curve:
    """The points of the parts, in order, at most `max_points`."""
    axis_of = partial(_axis, x, origins, series.run_id)
    if any(part.is_landmarks for part in parts):
        assert max_points is not None
        count, points = _summed_up(parts, max_points)
        points = points.at(np.argsort(axis_of(points), kind="stable"))
    else:
        points = _ordered(parts, axis_of)
        count = len(points.steps)
        if max_points is not None and count > max_points:
            points = points.at(_kept(points.values, max_points))
    return Curve(
        series.run_id,
        series.key,
        count,
        len(points.steps) == count,
        points.steps,
        points.times,
        axis_of(points).astype("<f8"),
        points.values,
        points.attempts,
    )


def _ordered(parts: Sequence[_Part], axis_of: Callable[[_Points], Ints]) -> _Points:
    """All points by x, then step, attempt and order of receipt; of a step only those of its newest attempt."""
    parts = sorted(parts, key=lambda part: (part.low_step, part.attempt, part.writer_id, part.first_seq))
    points = _joined([part.points for part in parts])
    axis = axis_of(points)
    in_order = _increases(points.steps)
    if in_order and _increases(axis):
        return points
    if in_order:
        return points.at(np.lexsort((points.steps, axis)))
    arrivals = [part.arrivals for part in parts if part.arrivals is not None]
    ranks = {writer_id: rank for rank, writer_id in enumerate(sorted({part.writer_id for part in parts}))}
    writers = np.repeat([ranks[part.writer_id] for part in parts], [part.count for part in parts])
    received = np.concatenate([received for received, _ in arrivals])
    seqs = np.concatenate([seqs for _, seqs in arrivals])
    order = np.lexsort((seqs, writers, received, points.attempts, points.steps, axis))
    return points.at(order[_is_newest(points.steps[order], points.attempts[order])])


def _joined(parts: Sequence[_Points]) -> _Points:
    """The points of one part after those of the other."""
    return _Points(
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.attempts for part in parts]),
    )


def _is_newest(steps: Ints, attempts: Ints) -> Any:
    """For each point whether no newer attempt has one at its step."""
    different, step_of = np.unique(steps, return_inverse=True)
    newest = np.zeros(len(different), "<i8")
    np.maximum.at(newest, step_of, attempts)
    return attempts == newest[step_of]


def _axis(x: XAxis, origins: dict[tuple[UUID, int], int], run_id: UUID, points: _Points) -> Ints:
    """What the points stand over, exactly."""
    if x is XAxis.STEP:
        return points.steps
    if x is XAxis.WALL_TIME:
        return points.times
    axis = points.times.copy()
    for attempt in np.unique(points.attempts):
        axis[points.attempts == attempt] -= origins[run_id, int(attempt)]
    return axis


def _kept(values: Floats, max_points: int) -> Ints:
    """Where the points stand that sum up the series: the landmarks of equal groups, whose size is a power of 2.

    So the groups stay where they are while a series grows, until their size doubles.
    """
    return np.unique(packing.landmarks(values, _group_size(len(values), values, max_points)))


def _group_size(count: int, values: Floats, max_points: int) -> int:
    """The least power of 2 for which the landmarks of `count` things are at most `max_points`."""
    per_group = packing.LANDMARKS - 1 if np.isfinite(values).all() else packing.LANDMARKS
    return 1 << (-(-count // (max_points // per_group)) - 1).bit_length()


def _summed_up(parts: Sequence[_Part], max_points: int) -> tuple[int, _Points]:
    """How many points there are, and the landmarks of equal numbers of groups of 256."""
    count, grouped = 0, []
    for cluster in _clusters(parts):
        if cluster[0].is_landmarks:
            count += cluster[0].count
            grouped.append(cluster[0].points)
        else:
            points = _ordered(cluster, attrgetter("steps"))
            count += len(points.steps)
            grouped.append(points.at(packing.landmarks(points.values, packing.TIER_GROUP).reshape(-1)))
    marks = _joined(grouped)
    groups = _group_size(len(marks.steps) // packing.LANDMARKS, marks.values, max_points)
    kept = np.unique(packing.landmarks(marks.values, groups * packing.LANDMARKS))
    return count, marks.at(kept[_is_another(marks.at(kept))])


def _is_another(points: _Points) -> Any:
    """For each landmark whether it is another point than the one before; a point may be several landmarks."""
    values = points.values.view("<i8")
    return (np.diff(points.steps, prepend=-1) != 0) | (np.diff(values, prepend=~values[:1]) != 0)
