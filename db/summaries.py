"""Summaries: what is known of each series without reading its points."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray

from db import packing, tallies
from db.access import Scope
from db.packing import Floats, Ints, Matrix
from db.pool import Conn
from db.tallies import Tallies

KEYS_MAX: Final = 10_000


@dataclass(slots=True)  # not frozen, which would take three times as long: a request makes thousands
class Summary:
    """A series of a run: every point of it counts.

    `first` is the value at the lowest step, of several there the one of the oldest attempt, received first; `last` is
    that at the highest step, of the newest attempt, received last. `min` and `max` are of the finite values, None when
    there are none, each with the lowest step that has it.
    """

    key: str
    count: int
    non_finite: int
    first: float
    last: float
    last_step: int
    min: float | None
    min_step: int | None
    max: float | None
    max_step: int | None


# One snapshot: what is compacted of each keyset of a run, then of each stream of its blocks that are not, of every
# column the bytes of all blocks, then the keys of these keysets.
SUMMARIES = """
    with visible as (
        select id from run where id = any ($1::uuid[]) and is_visible(project_id, created_by, $2, $3, $4)
    ), known as materialized (
        select tally.*
        from visible
        join tally on tally.run_id = visible.id
    ), live as materialized (
        select visible.id as run_id, stream.*
        from visible
        cross join lateral (
            select keyset_id, writer_id, attempt,
                string_agg(int8send(seq), '' order by seq) as seqs,
                string_agg(int4send(n), '' order by seq) as sizes,
                string_agg(int8send(received_ms), '' order by seq) as received,
                string_agg(steps, '' order by seq) as steps,
                string_agg(vals, '' order by seq) as vals
            from block
            where block.run_id = visible.id
            group by keyset_id, writer_id, attempt
        ) as stream
    )
    select keyset_id, run_id, count, first_step, first_attempt, first_received_ms, first_writer_id, first_seq,
        last_step, last_attempt, last_received_ms, last_writer_id, last_seq, stats,
        null::text[] as keys, null::uuid as writer_id, null::integer as attempt, null::bytea as seqs,
        null::bytea as sizes, null::bytea as received, null::bytea as steps, null::bytea as vals
    from known
    union all
    select keyset_id, run_id, null, null, null, null, null, null, null, null, null, null, null, null,
        null, writer_id, attempt, seqs, sizes, received, steps, vals
    from live
    union all
    select id, null, null, null, null, null, null, null, null, null, null, null, null, null,
        keys, null, null, null, null, null, null, null
    from keyset
    where id in (select keyset_id from known union select keyset_id from live)
"""


async def page(
    conn: Conn,
    scope: Scope,
    run_ids: Sequence[UUID],
    *,
    prefix: str = "",
    after: str | None = None,
    limit: int = KEYS_MAX,
) -> dict[UUID, list[Summary]]:
    """For each run the series whose keys begin with `prefix`, by key, strictly after the key `after`.

    One statement for any number of runs; what was acknowledged is in it.
    """
    rows = await conn.fetch(SUMMARIES, run_ids, *scope.sight)
    keys = _keys_of(rows)
    parts: dict[UUID, list[_Part]] = {run_id: [] for run_id in run_ids}
    for owners, whole in _wholes(rows, keys):
        for (run_id, keyset_id), columns in zip(owners, _columns(whole), strict=True):
            parts[run_id].append(_Part(keys[keyset_id], *columns))
    return {run_id: _page(of_run, prefix, after, limit) for run_id, of_run in parts.items()}


Owner = tuple[UUID, int]  # a run and a keyset


def _wholes(rows: Iterable[asyncpg.Record], keys: Mapping[int, list[str]]) -> Iterator[tuple[list[Owner], Tallies]]:
    """For each size of keyset what is known of all that have it, and whose each part is.

    Those that log right now come apart: of them much more has to be worked out.
    """
    stored = [row for row in rows if row["run_id"] is not None]
    live = {(row["run_id"], row["keyset_id"]) for row in stored if row["count"] is None}
    alike: dict[tuple[int, bool], list[asyncpg.Record]] = {}
    for row in stored:
        keyset_id = row["keyset_id"]
        alike.setdefault((len(keys[keyset_id]), (row["run_id"], keyset_id) in live), []).append(row)
    for (size, _), same in alike.items():
        yield _whole(size, same)


def _whole(keys: int, rows: Sequence[asyncpg.Record]) -> tuple[list[Owner], Tallies]:
    """What is known of keysets with so many keys, together with their blocks, and whose each part is."""
    numbers: dict[Owner, int] = {}
    for row in rows:
        numbers.setdefault((row["run_id"], row["keyset_id"]), len(numbers))
    known = [row for row in rows if row["count"] is not None]
    live = [row for row in rows if row["count"] is None]
    whole = tallies.unpacked([tally_of(row) for row in known]) if known else None
    if live:
        groups = np.array([numbers[row["run_id"], row["keyset_id"]] for row in live])
        points = tallies.of_points([(_matrix(keys, row), row["attempt"], row["writer_id"]) for row in live])
        recent = tallies.summed(points, np.repeat(groups, [len(row["steps"]) // 8 for row in live]))
        if whole is None:
            return list(numbers), recent
        before = [numbers[row["run_id"], row["keyset_id"]] for row in known]
        whole = tallies.summed(tallies.joined(whole, recent), np.array([*before, *np.unique(groups)]))
    assert whole is not None
    return list(numbers), whole


def _matrix(keys: int, row: asyncpg.Record) -> Matrix:
    """The blocks of a stream, without their times."""
    return packing.of_blocks(
        keys, row["seqs"], row["sizes"], row["received"], row["steps"], bytes(len(row["steps"])), row["vals"]
    )


def tally_of(row: asyncpg.Record) -> tuple[Any, ...]:
    """What a row that begins like `tally` says, as `tallies.unpacked` takes it."""
    return tuple(row)[2:14]


@dataclass(frozen=True, slots=True)
class _Part:
    """What a run's keyset tells: columns with an entry for each key, and where the first and last points stand."""

    keys: list[str]
    count: int
    first: list[int]
    last: list[int]
    columns: tuple[list[Any], ...]

    def summaries(self) -> Iterable[Summary]:
        """A summary of each key."""
        non_finite, firsts, lasts, *extremes = self.columns
        steps = repeat(self.last[0])
        return map(Summary, self.keys, repeat(self.count), non_finite, firsts, lasts, steps, *extremes)


def _columns(whole: Tallies) -> Iterator[tuple[int, list[int], list[int], tuple[list[Any], ...]]]:
    """Of each part what `_Part` has behind the keys."""
    has = ~np.isnan(whole.lows)
    columns: list[NDArray[Any]] = [whole.non_finite, whole.first_values, whole.last_values]
    extremes: list[NDArray[Any]] = [whole.lows, whole.low_steps, whole.highs, whole.high_steps]
    columns += extremes if has.all() else [np.where(has, column, np.array(None)) for column in extremes]
    return zip(
        whole.counts.tolist(),
        whole.firsts.T.tolist(),
        whole.lasts.T.tolist(),
        zip(*(column.T.tolist() for column in columns), strict=True),
        strict=True,
    )


def _page(parts: Sequence[_Part], prefix: str, after: str | None, limit: int) -> list[Summary]:
    """The summaries of a run's keys, by key."""
    found: dict[str, Summary] = {}
    if len(parts) == 1:
        found = {summary.key: summary for summary in parts[0].summaries()}
    else:
        stands: dict[str, tuple[list[int], list[int]]] = {}
        for part in parts:
            for summary in part.summaries():
                key = summary.key
                found[key] = summary if key not in found else _merged(found[key], stands[key], summary, part)
                first, last = stands.get(key, (part.first, part.last))
                stands[key] = (min(first, part.first), max(last, part.last))
    keys = sorted(key for key in found if key.startswith(prefix) and (after is None or key > after))
    return [found[key] for key in keys[:limit]]


def _merged(one: Summary, stands: tuple[list[int], list[int]], other: Summary, part: _Part) -> Summary:
    """Both summaries of a key that is in several keysets; `stands` has the ends of the first."""
    first, last = stands
    lows = [(each.min, each.min_step) for each in (one, other) if each.min is not None]
    highs = [(-each.max, each.max_step) for each in (one, other) if each.max is not None]
    low, low_step = min(lows, default=(None, None))
    high, high_step = min(highs, default=(None, None))
    return Summary(
        one.key,
        one.count + other.count,
        one.non_finite + other.non_finite,
        one.first if first < part.first else other.first,
        one.last if last > part.last else other.last,
        max(one.last_step, other.last_step),
        low,
        low_step,
        None if high is None else -high,
        high_step,
    )


async def latest(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[UUID, dict[str, Summary]]:
    """All series of each run, by key."""
    found = await page(conn, scope, run_ids)
    return {run_id: {summary.key: summary for summary in summaries} for run_id, summaries in found.items()}


@dataclass(frozen=True, slots=True)
class Matrices:
    """The series of many runs, summed up as in `Summary`: a row for each key, by key, a column for each run.

    `has` says which run has which series. `lows` and `highs` are NaN where no value is finite.
    """

    keys: list[str]
    has: NDArray[np.bool_]
    counts: Ints
    firsts: Floats
    lasts: Floats
    lows: Floats
    highs: Floats


# Rows of `Tallies.packed`.
NUMBERS: Final = {"firsts": 1, "lasts": 2, "lows": 3, "highs": 5}
RUNS_AT_ONCE: Final = 1_000  # strung together: with 10,000 keys each they stay below the gigabyte of a string

# One snapshot: of runs that do not log, what is compacted of each keyset, strung together, of what is packed the rows
# from $5 to $6; then which runs log.
STRUNG = """
    with visible as materialized (
        select run.id, int4send(given.place::integer + $7) as place
        from unnest($1::uuid[]) with ordinality as given (run_id, place)
        join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    ), live as materialized (
        select distinct run_id from block where run_id = any ($1::uuid[])
    )
    select (select keys from keyset where keyset.id = keyset_id) as keys, string_agg(place, '') as places,
        string_agg(int8send(count), '') as counts,
        string_agg(substr(stats, length(stats) / 7 * $5 + 1, length(stats) / 7 * ($6 - $5 + 1)), '') as stats
    from visible
    join tally on tally.run_id = visible.id
    where visible.id not in (select run_id from live)
    group by keyset_id
    union all
    select null, string_agg(place, ''), null, null from visible where id in (select run_id from live)
"""


async def matrices(
    conn: Conn,
    scope: Scope,
    run_ids: Sequence[UUID],
    wanted: Callable[[str], bool],
    require: Callable[[int], None],
    numbers: Collection[str] = NUMBERS.keys(),
) -> Matrices:
    """The series whose keys are `wanted`; `require` is told how many keys these are before the work begins.

    Of `NUMBERS` those that are not asked for may be NaN. Runs that do not log and have one keyset, as most, are taken
    keyset by keyset; the others are summed up.
    """
    asked = [NUMBERS[name] for name in numbers]
    first, last = min(asked, default=0), max(asked, default=-1)
    rows: list[asyncpg.Record] = []
    for start in range(0, len(run_ids), RUNS_AT_ONCE):
        some = run_ids[start : start + RUNS_AT_ONCE]
        rows += await conn.fetch(STRUNG, some, *scope.sight, first, last, start - 1)
    strung = [_Strung.of(row, range(first, last + 1)) for row in rows if row["keys"] is not None]
    is_whole = _are_whole(rows, len(run_ids))
    others = np.flatnonzero(~is_whole).tolist()
    stored = await conn.fetch(SUMMARIES, [run_ids[place] for place in others], *scope.sight) if others else []
    keys_of = _keys_of(stored)
    keys = sorted({key for known in (*keys_of.values(), *(one.keys for one in strung)) for key in known if wanted(key)})
    require(len(keys))
    found = _blank(keys, len(run_ids))
    _lay_out(found, stored, keys_of, {run_ids[place]: place for place in others})
    for one in strung:
        one.lay_out(found, is_whole)
    return found


async def live_matrices(conn: Conn, scope: Scope, run_ids: Sequence[UUID], wanted: Callable[[str], bool]) -> Matrices:
    """The same of runs that log: all are summed up."""
    stored = await conn.fetch(SUMMARIES, run_ids, *scope.sight)
    keys_of = _keys_of(stored)
    found = _blank(sorted({key for known in keys_of.values() for key in known if wanted(key)}), len(run_ids))
    _lay_out(found, stored, keys_of, {run_id: place for place, run_id in enumerate(run_ids)})
    return found


def _keys_of(rows: Iterable[asyncpg.Record]) -> dict[int, list[str]]:
    """The keys of each keyset, of what `SUMMARIES` gives."""
    return {row["keyset_id"]: row["keys"] for row in rows if row["run_id"] is None}


def _are_whole(rows: Iterable[asyncpg.Record], runs: int) -> NDArray[np.bool_]:
    """Of which runs `STRUNG` tells all there is: those that do not log and have no two keysets."""
    keysets = np.zeros(runs, "<i8")
    for row in rows:
        keysets[_places(row)] += 1 if row["keys"] is not None else 2
    are_whole: NDArray[np.bool_] = keysets < 2
    return are_whole


def _places(row: asyncpg.Record) -> NDArray[np.int32]:
    return np.frombuffer(row["places"] or b"", ">i4")


@dataclass(frozen=True, slots=True)
class _Strung:
    """What is compacted of runs that have the same keyset; `stats` is (run, row, key), of these `rows`."""

    keys: list[str]
    places: NDArray[np.int32]
    counts: Ints
    rows: range
    stats: Floats

    @classmethod
    def of(cls, row: asyncpg.Record, rows: range) -> "_Strung":
        """Of a row of `STRUNG`."""
        places = _places(row)
        stats = np.frombuffer(row["stats"], "<f8").reshape(len(places), len(rows), len(row["keys"]))
        return cls(row["keys"], places, np.frombuffer(row["counts"], ">i8"), rows, stats)

    def lay_out(self, found: Matrices, is_whole: NDArray[np.bool_]) -> None:
        """Put the keys that are wanted of the runs that are told whole into their places."""
        numbers = _numbers(found.keys, self.keys)
        is_wanted, is_taken = numbers >= 0, is_whole[self.places]
        cells = np.ix_(numbers[is_wanted], self.places[is_taken])
        found.has[cells] = True
        found.counts[cells] = self.counts[is_taken]
        for name, row in NUMBERS.items():
            if row in self.rows:
                getattr(found, name)[cells] = self.stats[is_taken, self.rows.index(row)][:, is_wanted].T


def _numbers(keys: Sequence[str], of_keyset: Sequence[str]) -> Ints:
    """The number of each key of a keyset among the keys; -1 of one that is not there."""
    numbers = {key: number for number, key in enumerate(keys)}
    return np.array([numbers.get(key, -1) for key in of_keyset], "<i8")


@dataclass(frozen=True, slots=True)
class _Entries:
    """Series in no order: the cell of each in a matrix, its numbers, and where its first and last points stand."""

    cells: Ints
    counts: Ints
    firsts: Floats
    lasts: Floats
    lows: Floats
    highs: Floats
    parts: Ints  # the columns of the next two, which have six rows
    begins: Ints
    ends: Ints


def _entries(
    owners: Sequence[Owner], whole: Tallies, numbers_of: Mapping[int, Ints], places: Mapping[UUID, int], runs: int
) -> _Entries:
    """What the parts of some keysets tell of the keys that have a number."""
    columns = {keyset: column for column, keyset in enumerate({keyset for _, keyset in owners})}
    numbers = np.stack([numbers_of[keyset] for keyset in columns], axis=1)[:, [columns[keyset] for _, keyset in owners]]
    cells = numbers * runs + np.array([places[run_id] for run_id, _ in owners])
    is_wanted = numbers >= 0
    return _Entries(
        cells[is_wanted],
        np.broadcast_to(whole.counts, cells.shape)[is_wanted],
        whole.first_values[is_wanted],
        whole.last_values[is_wanted],
        whole.lows[is_wanted],
        whole.highs[is_wanted],
        np.broadcast_to(np.arange(len(owners)), cells.shape)[is_wanted],
        whole.firsts,
        whole.lasts,
    )


def _blank(keys: list[str], runs: int) -> Matrices:
    """No run has any of these."""
    shape = (len(keys), runs)
    return Matrices(
        keys,
        np.zeros(shape, np.bool_),
        np.zeros(shape, "<i8"),
        *(np.full(shape, np.nan) for _ in range(4)),
    )


def _lay_out(
    found: Matrices, stored: Sequence[asyncpg.Record], keys_of: Mapping[int, list[str]], places: Mapping[UUID, int]
) -> None:
    """Put what `SUMMARIES` gives into its places; what a run has of one key in several keysets is merged."""
    numbers_of = {keyset: _numbers(found.keys, keys) for keyset, keys in keys_of.items()}
    runs = found.has.shape[1]
    entries = [_entries(owners, whole, numbers_of, places, runs) for owners, whole in _wholes(stored, keys_of)]
    for each in entries:
        found.has.ravel()[each.cells] = True
    if found.has.sum() < sum(len(each.cells) for each in entries):
        entries = [_merged_entries(entries)]
    for each in entries:
        found.counts.ravel()[each.cells] = each.counts
        for name in NUMBERS:
            getattr(found, name).ravel()[each.cells] = getattr(each, name)


def _merged_entries(entries: Sequence[_Entries]) -> _Entries:
    """One entry for each cell."""
    cells, counts, firsts, lasts, lows, highs = (
        np.concatenate([getattr(each, name) for each in entries])
        for name in ("cells", "counts", "firsts", "lasts", "lows", "highs")
    )
    begins = np.concatenate([each.begins[:, each.parts] for each in entries], axis=1)
    ends = np.concatenate([each.ends[:, each.parts] for each in entries], axis=1)
    by_begin, order = np.lexsort((*begins[::-1], cells)), np.lexsort((*ends[::-1], cells))
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    oldest, newest = by_begin[starts], order[np.append(starts[1:], len(order)) - 1]
    return _Entries(
        cells[newest],
        np.add.reduceat(counts[order], starts),
        firsts[oldest],
        lasts[newest],
        np.fmin.reduceat(lows[order], starts),
        np.fmax.reduceat(highs[order], starts),
        np.arange(len(newest)),
        begins[:, oldest],
        ends[:, newest],
    )


COUNT = """
    select count(distinct key)
    from run
    join run_keyset on run_keyset.run_id = run.id
    join keyset on keyset.id = run_keyset.keyset_id
    cross join unnest(keyset.keys) as key
    where run.id = $4 and is_visible(run.project_id, run.created_by, $1, $2, $3) and starts_with(key, $5)
        and (
            exists (select from tally where tally.run_id = run.id and tally.keyset_id = keyset.id)
            or exists (select from block where block.run_id = run.id and block.keyset_id = keyset.id)
        )
"""


async def count(conn: Conn, scope: Scope, run_id: UUID, prefix: str) -> int:
    """How many series there are to page through."""
    return int(await conn.fetchval(COUNT, *scope.sight, run_id, prefix))
