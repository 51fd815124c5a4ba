"""Series: reading the points of many runs and keys as columns, whole or summed up."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial
from itertools import accumulate, groupby
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg
import numpy as np

from db import chunks, curves, packing
from db.access import Scope
from db.curves import Arrivals, Bools, Parts, Points, Tangled
from db.errors import Invalid, NotFound
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
TIERS_FROM: Final = 64  # a series this many times longer than what is asked for is read from its tiers
COARSE_FROM: Final = TIERS_FROM * packing.COARSE // packing.FINE  # and this many times, from its coarse tiers

Name: TypeAlias = tuple[UUID, str]  # of a series: its run and key


class XAxis(StrEnum):
    """What the points stand over."""

    STEP = "STEP"
    RELATIVE_TIME = "RELATIVE_TIME"
    WALL_TIME = "WALL_TIME"


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of a run's key in order of `x`; `count` is before and `is_exact` tells whether any was left out.

    Where attempts overlap, each step has the points of the newest. `axis` is the step, the milliseconds since the first
    point of the point's attempt, or Unix milliseconds. `times` is empty unless it was asked for.
    """

    run_id: UUID
    key: str
    count: int
    is_exact: bool
    steps: Ints
    times: Ints
    axis: Ints
    values: Floats
    attempts: Ints

    @property
    def x(self) -> Floats:
        """The axis as floats."""
        return self.axis.astype("<f8")


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of every series: of which attempt, between which steps, over what, how many and which columns."""

    attempt: int | None
    low_step: int
    high_step: int
    x: XAxis
    max_points: int | None
    times: bool
    tiers_from: int = TIERS_FROM
    arrivals: bool = False

    @property
    def is_zoom(self) -> bool:
        return self.low_step > 0 or self.high_step < STEP_MAX


@dataclass(frozen=True, slots=True)
class _Home:
    """A keyset of a run that has the key of a series, at this place of so many."""

    keyset_id: int
    keys: int
    place: int
    count: int  # points of each key that are to be read of its chunks


@dataclass(frozen=True, slots=True)
class _Asked:
    """A series that the viewer sees; `points` is how many are to be read of its chunks.

    Tiers with groups of `group` points are read instead of chunks, except between the steps that `whole` holds; none
    when it is 0.
    """

    run_id: UUID
    key: str
    homes: Sequence[_Home]
    group: int
    points: int
    whole: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> Name:
        return self.run_id, self.key


@dataclass(frozen=True, slots=True)
class _Group:
    """Series that are read together, as their keys are in one keyset of a run, from tiers with groups of that size."""

    run_id: UUID
    keyset_id: int
    keys: int
    size: int
    whole: tuple[tuple[int, int], ...]


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
    tiers_from: int = TIERS_FROM,
    strict: bool = False,
) -> list[Curve]:
    """The series that exist, in the order of `run_ids` and `keys`; what was acknowledged is in them.

    Only the points from `low_step` to `high_step`, with their `times` when asked for. With `max_points` a longer series
    is cut into equal groups of points, and of each the first, the last, the lowest, the highest and the first
    non-finite point are kept; of one `tiers_from` times as long no more is read than needed. Raises `Invalid` when it
    would read too much; `NotFound` when it is `strict` and the viewer does not see one of the runs.
    """
    if max_points is not None and max_points < MAX_POINTS_MIN:
        raise Invalid(f"maxPoints is {max_points}", path="maxPoints", limit=f"at least {MAX_POINTS_MIN}")
    if low_step > high_step:
        raise Invalid(
            f"fromStep is {low_step} and toStep is {high_step}", path="toStep", hint="ask for one step or more"
        )
    question = _Question(attempt, low_step, high_step, x, max_points, times or x is not XAxis.STEP, tiers_from)
    asked = await _asked(conn, scope, run_ids, keys, question, strict=strict)
    found: list[Curve] = []
    for batch in _batches(asked):
        found += await _curves(conn, batch, question)
    return found


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


# Of a part of the steps, the points of the chunks that have any of them. Each run that the viewer sees is there, with
# its keysets that have asked keys.
SIZES = """
    with seen as materialized (
        select id as run_id
        from run
        where id = any ($1::uuid[]) and is_visible(project_id, created_by, $2, $3, $4)
    )
    select seen.run_id, keyset.id as keyset_id, keyset.size, found.keys, found.places, coalesce(
        case when $6 then (
            select sum(n)
            from chunk
            where chunk.run_id = seen.run_id and chunk.keyset_id = keyset.id
                and chunk.low_step <= $8 and chunk.high_step >= $7
        ) else (
            select count from tally where tally.run_id = seen.run_id and tally.keyset_id = keyset.id
        ) end, 0
    )::bigint as count
    from seen
    join run_keyset on run_keyset.run_id = seen.run_id
    join keyset on keyset.id = run_keyset.keyset_id
    cross join lateral (
        select array_agg(asked.key) as keys, array_agg(place - 1) as places
        from unnest($5::text[]) as asked (key)
        cross join lateral array_position(keyset.keys, asked.key) as place
        where place is not null
    ) as found
    where found.keys is not null
    union all
    select run_id, null, null, '{}', '{}', null from seen
"""


async def _asked(
    conn: Conn, scope: Scope, run_ids: Sequence[UUID], keys: Sequence[str], question: _Question, *, strict: bool
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
    if strict:
        seen = {row["run_id"] for row in rows}
        missing = [run_id for run_id in run_ids if run_id not in seen]
        if missing:
            raise NotFound(f"there is no run {missing[0]} in the selection", path="select.runIds")
    homes: dict[Name, list[_Home]] = {}
    for row in rows:
        for key, place in zip(row["keys"], row["places"], strict=True):
            home = _Home(row["keyset_id"], row["size"], place, row["count"])
            homes.setdefault((row["run_id"], key), []).append(home)
    if len(homes) > SERIES_MAX:
        raise Invalid(f"that are {len(homes)} series", limit=f"{SERIES_MAX} series", hint="ask for fewer runs or keys")
    run_places = {run_id: place for place, run_id in enumerate(run_ids)}
    key_places = {key: place for place, key in enumerate(keys)}
    names = sorted(homes, key=lambda name: (run_places[name[0]], key_places[name[1]]))
    asked = [_one_asked(name, homes[name], question) for name in names]
    if question.max_points is None:
        _require_at_most(POINTS_ANSWERED_MAX, asked, "ask for fewer runs, keys or steps, or set maxPoints")
    else:
        _require_at_most(POINTS_READ_MAX, asked, "ask for fewer runs, keys or steps, or set maxPoints lower")
    return asked


def _one_asked(name: Name, homes: Sequence[_Home], question: _Question) -> _Asked:
    count = sum(home.count for home in homes)
    most, group = question.max_points, 0
    if most is not None and count >= question.tiers_from * most:
        group = packing.COARSE if count >= COARSE_FROM * most else packing.FINE
    return _Asked(*name, homes, group, count * packing.LANDMARKS // group if group else count)


def _require_at_most(limit: int, series: Sequence[_Asked], hint: str) -> None:
    total = sum(one.points for one in series)
    if total > limit:
        raise Invalid(f"that would read {total} points", limit=f"{limit} points", hint=hint)


async def _curves(conn: Conn, asked: Sequence[_Asked], question: _Question) -> list[Curve]:
    """The curves of the series that have points.

    Of those that turn out to be tangled more is read; in the end all, should the worker make new parts all the time.
    """
    origins = await _origins(conn, asked) if question.x is XAxis.RELATIVE_TIME else {}
    found: dict[Name, Curve] = {}
    left = asked
    for is_last in (False, False, True, True):
        groups = _groups(left)
        rows = await _stored(conn, groups, question)
        more, tangled = await asyncio.to_thread(_arranged, left, groups, rows, question, origins)
        found |= more
        if not tangled:
            break
        left = [_with_whole(series, tangled[series.name], is_last) for series in left if series.name in tangled]
        _require_at_most(POINTS_READ_MAX, left, "ask for fewer runs or keys, for an attempt, or for fewer steps")
        question = replace(question, arrivals=True)
    return [found[series.name] for series in asked if series.name in found]


def _with_whole(series: _Asked, tangled: Tangled, is_last: bool) -> _Asked:
    """The series, with every point between the steps where it is tangled, or of all steps."""
    whole = (*series.whole, *tangled.ranges)
    return replace(series, group=0 if is_last else series.group, points=tangled.points, whole=whole)


def _groups(asked: Iterable[_Asked]) -> dict[_Group, list[tuple[int, Name]]]:
    """What to read together: of each group the series, each with the place of its key."""
    groups: dict[_Group, list[tuple[int, Name]]] = {}
    for series in asked:
        for home in series.homes:
            group = _Group(series.run_id, home.keyset_id, home.keys, series.group, series.whole)
            groups.setdefault(group, []).append((home.place, series.name))
    return groups


# Both tiers in one snapshot. A chunk gives the bytes of the asked keys only, one key after the other; of a long series
# a tier, if it has one and all its steps are asked for. Blocks come as one row a stream and key.
PARTS = """
    with asked as (
        select number, run_id, keyset_id, keys, size, whole::int8multirange as whole, places::integer[] as places
        from unnest($1::uuid[], $2::bigint[], $3::integer[], $4::integer[], $5::text[], $6::text[])
            with ordinality as given (run_id, keyset_id, keys, size, whole, places, number)
    )
    select asked.number, chunk.attempt, chunk.writer_id, chunk.first_seq, chunk.n, chunk.low_step, null::integer as key,
        is_tier, is_tier and asked.size = $13 and chunk.coarse_tier is null as is_fine,
        case when not is_tier then chunk.steps end as steps,
        case when not is_tier and $10 then chunk.times end as times,
        case when $11 and not is_tier then chunk.seqs end as seqs,
        case when $11 and not is_tier then chunk.sizes end as sizes,
        case when $11 and not is_tier then chunk.received end as received,
        null::bytea as block_seqs,
        of_keys.narrow, of_keys.vals
    from asked
    join chunk on chunk.run_id = asked.run_id and chunk.keyset_id = asked.keyset_id
        and chunk.low_step <= $9 and chunk.high_step >= $8
    cross join lateral (
        select asked.size > 0 and chunk.tier is not null and chunk.low_step >= $8 and chunk.high_step <= $9
            and not asked.whole && int8range(least(chunk.low_step, $12), least(chunk.high_step, $12), '[]') as is_tier
    ) as way
    cross join lateral (
        select case when asked.size = $13 then coalesce(chunk.coarse_tier, chunk.tier) else chunk.tier end as marks
    ) as tier
    cross join lateral (
        select string_agg(substring(chunk.narrow from place + 1 for 1), '' order by number) as narrow,
            string_agg(
                case when is_tier then
                    substring(marks from place * (length(marks) / asked.keys) + 1 for length(marks) / asked.keys)
                else
                    substring(
                        chunk.vals
                        from (chunk.n * (8 * place - 4 * bit_count(substring(chunk.narrow from 1 for place))))::integer
                            + 1
                        for chunk.n * (8 - 4 * get_byte(chunk.narrow, place))
                    )
                end,
                '' order by number
            ) as vals
        from unnest(asked.places) with ordinality as each (place, number)
    ) as of_keys
    where $7::integer is null or chunk.attempt = $7
    union all
    select asked.number, block.attempt, block.writer_id, min(block.seq), sum(block.n), null, each.number - 1,
        false, false,
        string_agg(block.steps, '' order by block.seq),
        case when $10 then string_agg(block.times, '' order by block.seq) end,
        null,
        case when $11 then string_agg(int4send(block.n), '' order by block.seq) end,
        case when $11 then string_agg(int8send(block.received_ms), '' order by block.seq) end,
        case when $11 then string_agg(int8send(block.seq), '' order by block.seq) end,
        null,
        string_agg(substring(block.vals from place * block.n * 8 + 1 for block.n * 8), '' order by block.seq)
    from asked
    join block on block.run_id = asked.run_id and block.keyset_id = asked.keyset_id
    cross join unnest(asked.places) with ordinality as each (place, number)
    where $7::integer is null or block.attempt = $7
    group by asked.number, each.number, block.attempt, block.writer_id
"""


async def _stored(
    conn: Conn, groups: Mapping[_Group, Sequence[tuple[int, Name]]], question: _Question
) -> list[asyncpg.Record]:
    """What is stored of the groups; `number` counts them from 1."""
    if not groups:
        return []
    return await conn.fetch(
        PARTS,
        [group.run_id for group in groups],
        [group.keyset_id for group in groups],
        [group.keys for group in groups],
        [group.size for group in groups],
        [_multirange(group.whole) for group in groups],
        ["{" + ",".join(str(place) for place, _ in members) + "}" for members in groups.values()],
        question.attempt,
        question.low_step,
        question.high_step,
        question.times,
        question.arrivals,
        RANGE_MAX,
        packing.COARSE,
    )


def _multirange(ranges: Sequence[tuple[int, int]]) -> str:
    """An int8multirange, as text; the highest step of all falls on the one below it, which a range can still hold."""
    return "{" + ",".join(f"[{min(low, RANGE_MAX)},{min(high, RANGE_MAX)}]" for low, high in ranges) + "}"


ORIGINS = """
    select run_id, attempt, min(first_ms) as first_ms
    from (
        select run_id, attempt, first_ms from chunk where run_id = any ($1::uuid[])
        union all
        select run_id, attempt, first_ms from block where run_id = any ($1::uuid[])
    ) as stored
    group by run_id, attempt
"""

Origins: TypeAlias = Mapping[tuple[UUID, int], int]


async def _origins(conn: Conn, asked: Sequence[_Asked]) -> Origins:
    """The time of the first point of each attempt of the runs, of any key."""
    rows = await conn.fetch(ORIGINS, list({series.run_id for series in asked}))
    return {(row["run_id"], row["attempt"]): row["first_ms"] for row in rows}


def _arranged(
    asked: Sequence[_Asked],
    groups: Mapping[_Group, Sequence[tuple[int, Name]]],
    rows: Sequence[asyncpg.Record],
    question: _Question,
    origins: Origins,
) -> tuple[dict[Name, Curve], dict[Name, Tangled]]:
    """The curves of the series that have points, and which are tangled. All of it is computing."""
    parts = _parts(groups, rows, question)
    found: dict[Name, Curve] = {}
    tangled: dict[Name, Tangled] = {}
    for series in asked:
        stored = parts.get(series.name)
        if stored is not None:
            try:
                found[series.name] = _curve(series, stored, question, origins)
            except Tangled as error:
                tangled[series.name] = error
    return found, tangled


def _curve(series: _Asked, parts: Parts, question: _Question, origins: Origins) -> Curve:
    axis_of = partial(_axis, question.x, origins, series.run_id)
    count, points = curves.arranged(parts, axis_of, question.max_points, series.group)
    is_exact, axis = len(points.steps) == count, axis_of(points)
    return Curve(
        series.run_id, series.key, count, is_exact, points.steps, points.times, axis, points.values, points.attempts
    )


def _axis(x: XAxis, origins: Origins, run_id: UUID, points: Points) -> Ints:
    """What the points stand over, exactly."""
    if x is XAxis.STEP:
        return points.steps
    if x is XAxis.WALL_TIME:
        return points.times
    axis = points.times.copy()
    for attempt in np.unique(points.attempts):
        axis[points.attempts == attempt] -= origins[run_id, int(attempt)]
    return axis


@dataclass(frozen=True, slots=True)
class _Heads:
    """What the rows say of themselves, an entry for each; `counts` are points of each key."""

    attempts: Ints
    writers: Ints
    first_seqs: Ints
    counts: Ints
    are_tiers: Bools

    def of(self, rows: slice) -> "_Heads":
        """Those of some rows."""
        return _Heads(
            self.attempts[rows], self.writers[rows], self.first_seqs[rows], self.counts[rows], self.are_tiers[rows]
        )


def _heads(rows: Sequence[asyncpg.Record]) -> _Heads:
    ranks = {writer_id: rank for rank, writer_id in enumerate(sorted({row["writer_id"] for row in rows}))}
    return _Heads(
        np.array([row["attempt"] for row in rows], "<i8"),
        np.array([ranks[row["writer_id"]] for row in rows], "<i8"),
        np.array([row["first_seq"] for row in rows], "<i8"),
        np.array([row["n"] for row in rows], "<i8"),
        np.array([row["is_tier"] for row in rows], np.bool_),
    )


def _kind(row: asyncpg.Record) -> tuple[int, bool, int]:
    """What rows have in common that are unpacked together; -1 is every key."""
    return row["number"], row["is_tier"], -1 if row["key"] is None else row["key"]


def _parts(
    groups: Mapping[_Group, Sequence[tuple[int, Name]]], rows: Sequence[asyncpg.Record], question: _Question
) -> dict[Name, Parts]:
    """The parts of each series that have points between the steps that are asked for."""
    # By step too, so that few points change their place later.
    rows = sorted(rows, key=lambda row: (_kind(row), row["low_step"] or 0))
    heads, steps_of, end = _heads(rows), cache(packing.unpack), 0  # most runs log at the same steps
    names_of = [[name for _, name in members] for members in groups.values()]
    found: dict[Name, list[Parts]] = {}
    for (number, _, key), alike in groupby(rows, _kind):
        same = list(alike)
        start, end = end, end + len(same)
        names = names_of[number - 1] if key == -1 else [names_of[number - 1][key]]
        unpacked = _unpacked(same, heads.of(slice(start, end)), len(names), steps_of, question)
        for name, parts in zip(names, unpacked, strict=True):
            inside = parts.between(question.low_step, question.high_step) if question.is_zoom else parts
            if inside is not None:
                found.setdefault(name, []).append(inside)
    return {name: curves.joined(parts) for name, parts in found.items()}


def _unpacked(
    rows: Sequence[asyncpg.Record],
    heads: _Heads,
    keys: int,
    steps_of: Callable[[bytes, int], Ints],
    question: _Question,
) -> Iterator[Parts]:
    """The parts of each key: all rows are tiers, or chunks, or blocks."""
    is_tier, is_chunk = rows[0]["is_tier"], rows[0]["key"] is None
    sizes = heads.counts
    steps = times = NONE
    if not is_tier:
        steps = _end_to_end([(steps_of if is_chunk else _plain)(row["steps"], row["n"]) for row in rows])
        unpack = packing.unpack if is_chunk else _plain
        times = _end_to_end([unpack(row["times"], row["n"]) for row in rows]) if question.times else NONE
    for key, pieces in enumerate(zip(*[_cut(row, keys) for row in rows], strict=True)):
        if is_tier:
            steps, times, values = packing.unpack_tier(b"".join(pieces))
            times = times if question.times else NONE
            sizes = np.array([len(piece) for piece in pieces], "<i8") // packing.MARK_BYTES
        else:
            values = _values(pieces, bytes(row["narrow"][key] for row in rows) if is_chunk else bytes(len(rows)))
        points = Points(steps, times, values, _of_each_point(heads.attempts, sizes))
        arrivals = _arrivals(rows, sizes) if question.arrivals else None
        yield Parts(
            heads.attempts,
            heads.writers,
            heads.first_seqs,
            heads.counts,
            sizes,
            heads.are_tiers,
            points,
            arrivals,
        )


def _cut(row: asyncpg.Record, keys: int) -> list[bytes]:
    """The bytes of each key; of a tier, in groups as large as asked for."""
    whole: bytes = packing.coarser(row["vals"], keys) if row["is_fine"] else row["vals"]
    if keys == 1:
        return [whole]
    if row["is_tier"]:
        widths = [len(whole) // keys] * keys
    else:
        widths = [row["n"] * (4 if narrow else 8) for narrow in row["narrow"]]
    return [whole[end - width : end] for width, end in zip(widths, accumulate(widths), strict=True)]


def _plain(column: bytes, count: int) -> Ints:
    return np.frombuffer(column, "<i8", count)


def _values(pieces: Sequence[bytes], narrow: bytes) -> Floats:
    if len(set(narrow)) == 1:
        return packing.unpack_row(b"".join(pieces), narrow[0])
    return np.concatenate([packing.unpack_row(piece, narrow[place]) for place, piece in enumerate(pieces)])


def _of_each_point(attempts: Ints, sizes: Ints) -> Ints:
    if len(attempts) == 1 or attempts.min() == attempts.max():
        # One entry seen as many, as `broadcast_to` makes it, in a tenth of the time.
        return np.ndarray(int(sizes.sum()), "<i8", np.ascontiguousarray(attempts), strides=0)
    return np.repeat(attempts, sizes)


def _end_to_end(columns: Sequence[Ints]) -> Ints:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _arrivals(rows: Sequence[asyncpg.Record], sizes: Ints) -> Arrivals:
    """The blocks of each row; of a tier one."""
    if rows[0]["is_tier"]:
        nothing = np.zeros(len(rows), "<i8")
        return Arrivals(np.ones(len(rows), "<i8"), sizes, nothing, nothing)
    of_rows = [_blocks_of_chunk(row) if row["key"] is None else _blocks_of_stream(row) for row in rows]
    of_each, received, seqs = (_end_to_end(columns) for columns in zip(*of_rows, strict=True))
    return Arrivals(np.array([len(column) for column, _, _ in of_rows], "<i8"), of_each, received, seqs)


def _blocks_of_chunk(row: asyncpg.Record) -> tuple[Ints, Ints, Ints]:
    """Their sizes, when they were received, and their seqs."""
    seqs = chunks.seqs_of(row["seqs"])
    return packing.unpack(row["sizes"], len(seqs)), packing.unpack(row["received"], len(seqs)), seqs


def _blocks_of_stream(row: asyncpg.Record) -> tuple[Ints, Ints, Ints]:
    return packing.sent(row["sizes"], 4), packing.sent(row["received"], 8), packing.sent(row["block_seqs"], 8)
