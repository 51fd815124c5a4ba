"""Series: reading the points of many runs and keys as columns, whole or summed up."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
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
    point of the point's attempt, or Unix milliseconds.
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
class _Asked:
    """A series that the viewer sees; `is_long` when its tiers do. `points` is how many are to be read of its chunks."""

    run_id: UUID
    key: str
    is_long: bool
    points: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Points of one series in the order of their seqs: of a chunk, or of the blocks of one stream.

    `count` is how many points there are; with landmarks only, these stand for them.
    """

    rows: Sequence[asyncpg.Record]
    steps: Ints
    times: Ints
    values: Floats
    count: int

    @property
    def attempt(self) -> int:
        return int(self.rows[0]["attempt"])

    @property
    def is_landmarks(self) -> bool:
        return bool(self.rows[0]["is_tier"])


async def read(
    conn: Conn,
    scope: Scope,
    run_ids: Sequence[UUID],
    keys: Sequence[str],
    *,
    x: XAxis = XAxis.STEP,
    attempt: int | None = None,
    max_points: int | None = None,
) -> list[Curve]:
    """The series that exist, in the order of `run_ids` and `keys`; what was acknowledged is in them.

    With `max_points` a longer series is cut into equal groups of points, and of each the first, the last, the lowest,
    the highest and the first non-finite point are kept. Raises `Invalid` when it would read too much.
    """
    if max_points is not None and max_points < MAX_POINTS_MIN:
        raise Invalid(f"maxPoints is {max_points}", path="maxPoints", limit=f"at least {MAX_POINTS_MIN}")
    asked = await _asked(conn, scope, run_ids, keys, attempt, max_points)
    curves: list[Curve] = []
    for batch in _batches(asked):
        parts = await _parts(conn, batch, attempt)
        unordered = [one for one in batch if one.is_long and not _is_in_order(parts[one.run_id, one.key])]
        parts |= await _parts(conn, [replace(one, is_long=False) for one in unordered], attempt)
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


SIZES = """
    select run.id, run.attempt, asked.key, coalesce(sum(tally.count), 0)::bigint as count
    from run
    join run_keyset on run_keyset.run_id = run.id
    join keyset on keyset.id = run_keyset.keyset_id
    join unnest($5::text[]) as asked (key) on asked.key = any (keyset.keys)
    left join tally on tally.run_id = run.id and tally.keyset_id = keyset.id
    where run.id = any ($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
    group by run.id, run.attempt, asked.key
"""


async def _asked(
    conn: Conn,
    scope: Scope,
    run_ids: Sequence[UUID],
    keys: Sequence[str],
    attempt: int | None,
    max_points: int | None,
) -> list[_Asked]:
    """What to read and how. A run with several attempts is read whole, since only points tell where they overlap."""
    rows = await conn.fetch(SIZES, run_ids, *scope.sight, list(dict.fromkeys(keys)))
    if len(rows) > SERIES_MAX:
        raise Invalid(f"that are {len(rows)} series", limit=f"{SERIES_MAX} series", hint="ask for fewer runs or keys")
    run_places = {run_id: place for place, run_id in enumerate(run_ids)}
    key_places = {key: place for place, key in enumerate(keys)}
    rows.sort(key=lambda row: (run_places[row["id"]], key_places[row["key"]]))
    asked = []
    for row in rows:
        is_single = row["attempt"] == 1 or attempt is not None
        is_long = max_points is not None and is_single and row["count"] >= TIER_FROM * max_points
        points = row["count"] * packing.LANDMARKS // packing.TIER_GROUP if is_long else row["count"]
        asked.append(_Asked(row["id"], row["key"], is_long, points))
    total, limit = sum(one.points for one in asked), POINTS_ANSWERED_MAX if max_points is None else POINTS_READ_MAX
    if total > limit:
        raise Invalid(
            f"that would read {total} points",
            limit=f"{limit} points",
            hint="ask for fewer runs or keys, or set maxPoints" + ("" if max_points is None else " lower"),
        )
    return asked


# Both tiers in one snapshot. A chunk gives the bytes of the asked keys only; of a long series its tier, if it has one.
PARTS = """
    with asked as (
        select given.run_id, run_keyset.keyset_id, given.is_long, keyset.size,
            array_agg(given.key) as keys, array_agg(array_position(keyset.keys, given.key) - 1) as places
        from unnest($1::uuid[], $2::text[], $3::boolean[]) as given (run_id, key, is_long)
        join run_keyset on run_keyset.run_id = given.run_id
        join keyset on keyset.id = run_keyset.keyset_id and given.key = any (keyset.keys)
        group by given.run_id, run_keyset.keyset_id, given.is_long, keyset.size
    )
    select asked.run_id, asked.keyset_id, asked.is_long, asked.keys, chunk.attempt, chunk.writer_id,
        chunk.first_seq, chunk.n, true as is_chunk, asked.is_long and chunk.tier is not null as is_tier,
        chunk.seqs, chunk.sizes, chunk.received, null::bigint as received_ms,
        case when asked.is_long and chunk.tier is not null then null else chunk.steps end as steps,
        case when asked.is_long and chunk.tier is not null then null else chunk.times end as times,
        array(select get_byte(chunk.narrow, place) from unnest(asked.places) as place) as narrow,
        case when asked.is_long and chunk.tier is not null then array(
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
    where $4::integer is null or chunk.attempt = $4
    union all
    select asked.run_id, asked.keyset_id, asked.is_long, asked.keys, block.attempt, block.writer_id,
        block.seq, block.n, false, false,
        null, null, null, block.received_ms,
        block.steps, block.times, null,
        array(
            select substring(block.vals from place * block.n * 8 + 1 for block.n * 8)
            from unnest(asked.places) as place
        )
    from asked
    join block on block.run_id = asked.run_id and block.keyset_id = asked.keyset_id
    where $4::integer is null or block.attempt = $4
"""

SOURCE = itemgetter("is_chunk", "run_id", "keyset_id", "is_long", "writer_id", "attempt")


async def _parts(conn: Conn, asked: Sequence[_Asked], attempt: int | None) -> dict[tuple[UUID, str], list[_Part]]:
    """What is stored of each series, by run and key."""
    parts: dict[tuple[UUID, str], list[_Part]] = {(series.run_id, series.key): [] for series in asked}
    if not asked:
        return parts
    rows = await conn.fetch(
        PARTS,
        [series.run_id for series in asked],
        [series.key for series in asked],
        [series.is_long for series in asked],
        attempt,
    )
    rows.sort(key=lambda row: (*SOURCE(row), row["first_seq"]))
    for (is_chunk, run_id, *_), group in groupby(rows, key=SOURCE):
        same = list(group)
        for of_part in [[row] for row in same] if is_chunk else [same]:
            for key, part in zip(same[0]["keys"], _parts_of(of_part), strict=True):
                parts[run_id, key].append(part)
    return parts


def _parts_of(rows: Sequence[asyncpg.Record]) -> Iterator[_Part]:
    """A part for each asked key of a chunk, or of the blocks of a stream."""
    first = rows[0]
    count = sum(row["n"] for row in rows)
    if first["is_tier"]:
        for tier in first["vals"]:
            yield _Part(rows, *packing.unpack_tier(tier), count)
    elif first["is_chunk"]:
        steps, times = packing.unpack(first["steps"], count), packing.unpack(first["times"], count)
        for narrow, values in zip(first["narrow"], first["vals"], strict=True):
            yield _Part(rows, steps, times, packing.unpack_row(values, narrow), count)
    else:
        steps = np.frombuffer(b"".join(row["steps"] for row in rows), "<i8")
        times = np.frombuffer(b"".join(row["times"] for row in rows), "<i8")
        for place in range(len(first["keys"])):
            values = np.frombuffer(b"".join(row["vals"][place] for row in rows), "<f8")
            yield _Part(rows, steps, times, values, count)


def _arrivals(part: _Part) -> tuple[Ints, Ints]:
    """For each point of a whole part when its block was received, and the block's seq."""
    first = part.rows[0]
    if first["is_chunk"]:
        seqs = chunks.seqs_of(first["seqs"])
        received = packing.unpack(first["received"], len(seqs))
        sizes = packing.unpack(first["sizes"], len(seqs))
    else:
        seqs = np.array([row["first_seq"] for row in part.rows], "<i8")
        received = np.array([row["received_ms"] for row in part.rows], "<i8")
        sizes = np.array([row["n"] for row in part.rows], "<i8")
    return np.repeat(received, sizes), np.repeat(seqs, sizes)


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


def _is_in_order(parts: list[_Part]) -> bool:
    """Whether the parts, put in the order of their first steps, are one attempt with ever higher steps."""
    parts.sort(key=lambda part: int(part.steps[0]))
    return len({part.attempt for part in parts}) <= 1 and all(
        (part.is_landmarks or _increases(part.steps))
        and (index == 0 or int(parts[index - 1].steps[-1]) < int(part.steps[0]))
        for index, part in enumerate(parts)
    )


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
    count = sum(part.count for part in parts)
    if any(part.is_landmarks for part in parts):
        assert max_points is not None
        steps, times, values = _summed_up(parts, max_points)
        attempts = np.full(len(steps), parts[0].attempt, "<i8")
        if x is not XAxis.STEP:
            order = np.argsort(times, kind="stable")
            steps, times, values = steps[order], times[order], values[order]
    else:
        steps, times, values, attempts = _ordered(parts, x, origins, series.run_id)
        count = len(steps)
        if max_points is not None and count > max_points:
            kept = _kept(values, max_points)
            steps, times, values, attempts = steps[kept], times[kept], values[kept], attempts[kept]
    axis = _axis(x, steps, times, attempts, origins, series.run_id).astype("<f8")
    return Curve(series.run_id, series.key, count, len(steps) == count, steps, times, axis, values, attempts)


def _ordered(
    parts: list[_Part], x: XAxis, origins: dict[tuple[UUID, int], int], run_id: UUID
) -> tuple[Ints, Ints, Floats, Ints]:
    """All points by x, then step, attempt and order of receipt; of a step only those of its newest attempt."""
    parts.sort(key=lambda part: (part.attempt, part.rows[0]["writer_id"], part.rows[0]["first_seq"]))
    steps = np.concatenate([part.steps for part in parts])
    times = np.concatenate([part.times for part in parts])
    values = np.concatenate([part.values for part in parts])
    attempts = np.repeat([part.attempt for part in parts], [part.count for part in parts])
    axis = _axis(x, steps, times, attempts, origins, run_id)
    if not (_increases(axis) and parts[0].attempt == parts[-1].attempt):
        arrivals = [_arrivals(part) for part in parts]
        ranks = {
            writer_id: rank for rank, writer_id in enumerate(sorted({part.rows[0]["writer_id"] for part in parts}))
        }
        writers = np.repeat([ranks[part.rows[0]["writer_id"]] for part in parts], [part.count for part in parts])
        received = np.concatenate([received for received, _ in arrivals])
        seqs = np.concatenate([seqs for _, seqs in arrivals])
        order = np.lexsort((seqs, writers, received, attempts, steps, axis))
        order = order[_is_newest(steps[order], attempts[order])]
        steps, times, values, attempts = steps[order], times[order], values[order], attempts[order]
    return steps, times, values, attempts


def _is_newest(steps: Ints, attempts: Ints) -> Any:
    """For each point whether no newer attempt has one at its step."""
    different, step_of = np.unique(steps, return_inverse=True)
    newest = np.zeros(len(different), "<i8")
    np.maximum.at(newest, step_of, attempts)
    return attempts == newest[step_of]


def _axis(
    x: XAxis, steps: Ints, times: Ints, attempts: Ints, origins: dict[tuple[UUID, int], int], run_id: UUID
) -> Ints:
    """What the points stand over, exactly."""
    if x is XAxis.STEP:
        return steps
    if x is XAxis.WALL_TIME:
        return times
    axis = times.copy()
    for attempt in np.unique(attempts):
        axis[attempts == attempt] -= origins[run_id, int(attempt)]
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


def _summed_up(parts: Sequence[_Part], max_points: int) -> tuple[Ints, Ints, Floats]:
    """The landmarks of equal numbers of tier groups; parts without a tier are grouped here in the same way."""
    grouped = [_grouped(part) for part in parts]
    steps = np.concatenate([steps for steps, _, _ in grouped])
    times = np.concatenate([times for _, times, _ in grouped])
    values = np.concatenate([values for _, _, values in grouped])
    groups = _group_size(len(values) // packing.LANDMARKS, values, max_points)
    kept = np.unique(packing.landmarks(values, groups * packing.LANDMARKS))
    kept = kept[np.diff(steps[kept], prepend=-1) > 0]  # a point may be several landmarks
    return steps[kept], times[kept], values[kept]


def _grouped(part: _Part) -> tuple[Ints, Ints, Floats]:
    """The five landmarks of each 256 points."""
    if part.is_landmarks:
        return part.steps, part.times, part.values
    places = packing.landmarks(part.values, packing.TIER_GROUP).reshape(-1)
    return part.steps[places], part.times[places], part.values[places]
