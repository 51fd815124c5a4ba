"""Summaries: what is known of each series without reading its points."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import numpy as np

from db import packing
from db.access import Scope
from db.packing import Matrix
from db.pool import Conn

KEYS_MAX: Final = 10_000
INT64_MAX: Final = 2**63 - 1


class Place(NamedTuple):
    """A point and where it stands in its series: by step, then the newer attempt, then the later received."""

    step: int
    attempt: int
    received_ms: int
    writer_id: UUID
    seq: int
    value: float


class Extreme(NamedTuple):
    """The lowest or highest finite value, and the lowest step that has it."""

    value: float
    step: int


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Tally:
    """A summary that can be merged with another of the same series."""

    key: str
    count: int
    non_finite: int
    first: Place
    last: Place
    min: Extreme | None
    max: Extreme | None

    def summary(self) -> Summary:
        """What it says of the series."""
        return Summary(
            self.key,
            self.count,
            self.non_finite,
            self.first.value,
            self.last.value,
            self.last.step,
            *(self.min or (None, None)),
            *(self.max or (None, None)),
        )


def merged(one: Tally | None, other: Tally) -> Tally:
    """The tally of the points of both."""
    if one is None:
        return other
    return Tally(
        one.key,
        one.count + other.count,
        one.non_finite + other.non_finite,
        min(one.first, other.first),
        max(one.last, other.last),
        min((place for place in (one.min, other.min) if place), default=None),
        min(
            (place for place in (one.max, other.max) if place),
            key=lambda place: (-place.value, place.step),
            default=None,
        ),
    )


def of_matrix(keys: Sequence[str], matrix: Matrix, attempt: int, writer_id: UUID) -> list[Tally]:
    """A tally of each key's points."""
    received_ms = np.repeat(matrix.received_ms, matrix.sizes)
    seqs = np.repeat(matrix.seqs, matrix.sizes)
    order = np.lexsort((seqs, received_ms, matrix.steps))
    first, last = int(order[0]), int(order[-1])
    ends = [
        (int(matrix.steps[end]), attempt, int(received_ms[end]), writer_id, int(seqs[end])) for end in (first, last)
    ]
    finite = np.isfinite(matrix.values)
    counts = finite.sum(axis=1)
    lows = np.where(finite, matrix.values, np.inf).min(axis=1)
    highs = np.where(finite, matrix.values, -np.inf).max(axis=1)
    low_steps = np.where(matrix.values == lows[:, np.newaxis], matrix.steps, INT64_MAX).min(axis=1)
    high_steps = np.where(matrix.values == highs[:, np.newaxis], matrix.steps, INT64_MAX).min(axis=1)
    columns = zip(
        keys,
        counts.tolist(),
        matrix.values[:, first].tolist(),
        matrix.values[:, last].tolist(),
        lows.tolist(),
        low_steps.tolist(),
        highs.tolist(),
        high_steps.tolist(),
        strict=True,
    )
    return [
        Tally(
            key,
            matrix.n,
            matrix.n - count,
            Place(*ends[0], first_value),
            Place(*ends[1], last_value),
            Extreme(low, low_step) if count else None,
            Extreme(high, high_step) if count else None,
        )
        for key, count, first_value, last_value, low, low_step, high, high_step in columns
    ]


# One snapshot: for each run the compacted series as columns, then its blocks that are not yet compacted, then their
# keys. The places that a merge needs are only fetched for runs that have such blocks.
SUMMARIES = """
    with visible as (
        select id from run where id = any ($1::uuid[]) and is_visible(project_id, created_by, $2, $3, $4)
    ), live as materialized (
        select block.run_id, block.writer_id, block.seq, block.keyset_id, block.attempt, block.n, block.received_ms,
            block.steps, block.times, block.vals
        from visible
        join block on block.run_id = visible.id
    ), live_key as materialized (
        select distinct used.run_id, key collate "C" as key
        from (select distinct run_id, keyset_id from live) as used
        join keyset on keyset.id = used.keyset_id
        cross join unnest(keyset.keys) as key
    ), page as (
        select visible.id as run_id, columns.*
        from visible
        cross join lateral (select exists (select from live where live.run_id = visible.id) as is_live) as has
        cross join lateral (
            select array_agg(key) as keys, array_agg(count) as counts, array_agg(non_finite) as non_finites,
                array_agg(first_value) as first_values, array_agg(last_value) as last_values,
                array_agg(last_step) as last_steps, array_agg(min_value) as min_values,
                array_agg(min_step) as min_steps, array_agg(max_value) as max_values,
                array_agg(max_step) as max_steps,
                array_agg(first_step) filter (where has.is_live) as first_steps,
                array_agg(first_attempt) filter (where has.is_live) as first_attempts,
                array_agg(first_received_ms) filter (where has.is_live) as first_received,
                array_agg(first_writer_id) filter (where has.is_live) as first_writer_ids,
                array_agg(first_seq) filter (where has.is_live) as first_seqs,
                array_agg(last_attempt) filter (where has.is_live) as last_attempts,
                array_agg(last_received_ms) filter (where has.is_live) as last_received,
                array_agg(last_writer_id) filter (where has.is_live) as last_writer_ids,
                array_agg(last_seq) filter (where has.is_live) as last_seqs
            from (
                select *
                from series
                where series.run_id = visible.id and series.key > $5 and starts_with(series.key, $6)
                    and (
                        series.count > 0
                        or exists (
                            select from live_key where live_key.run_id = visible.id and live_key.key = series.key
                        )
                    )
                order by series.key
                limit $7
            ) as found
        ) as columns
        where columns.keys is not null
    )
    select *,
        null::bigint as keyset_id, null::uuid as writer_id, null::bigint as seq, null::integer as attempt,
        null::integer as n, null::bigint as received_ms, null::bytea as steps, null::bytea as times, null::bytea as vals
    from page
    union all
    select run_id, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, null, null, null,
        keyset_id, writer_id, seq, attempt, n, received_ms, steps, times, vals
    from live
    union all
    select null, keys, null, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, null, null, null,
        id, null, null, null, null, null, null, null, null
    from keyset
    where id in (select keyset_id from live)
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
    rows = await conn.fetch(SUMMARIES, run_ids, *scope.sight, after or "", prefix, limit)
    blocks = [row for row in rows if row["seq"] is not None]
    keys = {row["keyset_id"]: row["keys"] for row in rows if row["run_id"] is None}
    found: dict[UUID, list[Summary]] = {run_id: [] for run_id in run_ids}
    live: dict[UUID, dict[str, Tally | None]] = {}
    for row in rows:
        if row["counts"] is not None and row["first_steps"] is None:
            found[row["run_id"]] = [Summary(*columns) for columns in zip(*row[1:11], strict=True)]
        elif row["counts"] is not None:
            live[row["run_id"]] = {columns[0]: tally_of(columns) for columns in zip(*row[1:20], strict=True)}
    for run_id, tally in _live(blocks, keys):
        if run_id in live and tally.key in live[run_id]:
            live[run_id][tally.key] = merged(live[run_id][tally.key], tally)
    for run_id, tallies in live.items():
        found[run_id] = [tally.summary() for tally in tallies.values() if tally]
    return found


async def latest(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[UUID, dict[str, Summary]]:
    """All series of each run, by key."""
    found = await page(conn, scope, run_ids)
    return {run_id: {summary.key: summary for summary in summaries} for run_id, summaries in found.items()}


COUNT = """
    select count(*)
    from run
    join series on series.run_id = run.id
    where run.id = $4 and is_visible(run.project_id, run.created_by, $1, $2, $3)
        and starts_with(series.key, $5)
        and (
            series.count > 0
            or exists (
                select from block
                join keyset on keyset.id = block.keyset_id
                where block.run_id = run.id and series.key = any (keyset.keys)
            )
        )
"""


async def count(conn: Conn, scope: Scope, run_id: UUID, prefix: str) -> int:
    """How many series there are to page through."""
    return int(await conn.fetchval(COUNT, *scope.sight, run_id, prefix))


def tally_of(columns: Sequence[Any]) -> Tally | None:
    """What a row of `series` tells, in the order of `SUMMARIES`; None when all its points are in blocks."""
    key, count, non_finite, first_value, last_value, last_step, min_value, min_step, max_value, max_step = columns[:10]
    first_step, first_attempt, first_received_ms, first_writer_id, first_seq = columns[10:15]
    last_attempt, last_received_ms, last_writer_id, last_seq = columns[15:]
    if not count:
        return None
    return Tally(
        key,
        count,
        non_finite,
        Place(first_step, first_attempt, first_received_ms, first_writer_id, first_seq, first_value),
        Place(last_step, last_attempt, last_received_ms, last_writer_id, last_seq, last_value),
        Extreme(min_value, min_step) if min_step is not None else None,
        Extreme(max_value, max_step) if max_step is not None else None,
    )


STREAM = itemgetter("run_id", "writer_id", "keyset_id", "attempt")


def _live(rows: Iterable[asyncpg.Record], keys: dict[int, list[str]]) -> Iterator[tuple[UUID, Tally]]:
    """A tally of each key of each stream of blocks."""
    ordered = sorted(rows, key=lambda row: (*STREAM(row), row["seq"]))
    for (run_id, writer_id, keyset_id, attempt), same in groupby(ordered, key=STREAM):
        matrix = matrix_of(len(keys[keyset_id]), list(same))
        for tally in of_matrix(keys[keyset_id], matrix, attempt, writer_id):
            yield run_id, tally


def matrix_of(keys: int, rows: Sequence[asyncpg.Record]) -> Matrix:
    """The matrix of rows of `block` of one stream, in the order of their seqs."""
    return packing.of_blocks(
        keys,
        [row["seq"] for row in rows],
        [row["n"] for row in rows],
        [row["received_ms"] for row in rows],
        [row["steps"] for row in rows],
        [row["times"] for row in rows],
        [row["vals"] for row in rows],
    )
