"""Summaries: what is known of each series without reading its points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple
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
    """A series of a run: every point of it counts."""

    key: str
    count: int
    non_finite: int
    first_place: Place
    last_place: Place
    min_place: Extreme | None
    max_place: Extreme | None

    @property
    def first(self) -> float:
        return self.first_place.value

    @property
    def last(self) -> float:
        """The value at the highest step; of several there the newest attempt's, received last."""
        return self.last_place.value

    @property
    def last_step(self) -> int:
        return self.last_place.step

    @property
    def min(self) -> float | None:
        """The lowest finite value; None when there is none."""
        return self.min_place.value if self.min_place else None

    @property
    def max(self) -> float | None:
        """The highest finite value; None when there is none."""
        return self.max_place.value if self.max_place else None

    @property
    def min_step(self) -> int | None:
        """The lowest step that has the lowest value."""
        return self.min_place.step if self.min_place else None

    @property
    def max_step(self) -> int | None:
        """The lowest step that has the highest value."""
        return self.max_place.step if self.max_place else None


def merged(one: Summary | None, other: Summary) -> Summary:
    """The summary of the points of both."""
    if one is None:
        return other
    return Summary(
        one.key,
        one.count + other.count,
        one.non_finite + other.non_finite,
        min(one.first_place, other.first_place),
        max(one.last_place, other.last_place),
        min((place for place in (one.min_place, other.min_place) if place), default=None),
        min(
            (place for place in (one.max_place, other.max_place) if place),
            key=lambda place: (-place.value, place.step),
            default=None,
        ),
    )


def of_matrix(keys: Sequence[str], matrix: Matrix, attempt: int, writer_id: UUID) -> list[Summary]:
    """A summary of each key's points."""
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
        Summary(
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


# Compacted series and the blocks that are not yet compacted, as one snapshot: a series row, a block or a keyset each.
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
        select found.*
        from visible
        cross join lateral (
            select *
            from series
            where series.run_id = visible.id and series.key > $5 and starts_with(series.key, $6)
                and (
                    series.count > 0
                    or exists (select from live_key where live_key.run_id = visible.id and live_key.key = series.key)
                )
            order by series.key
            limit $7
        ) as found
    )
    select run_id, key, count, non_finite,
        first_step, first_attempt, first_received_ms, first_writer_id, first_seq, first_value,
        last_step, last_attempt, last_received_ms, last_writer_id, last_seq, last_value,
        min_value, min_step, max_value, max_step,
        null::bigint as keyset_id, null::text[] as keys, null::uuid as writer_id, null::bigint as seq,
        null::integer as attempt, null::integer as n, null::bigint as received_ms,
        null::bytea as steps, null::bytea as times, null::bytea as vals
    from page
    union all
    select run_id, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null,
        keyset_id, null, writer_id, seq, attempt, n, received_ms, steps, times, vals
    from live
    union all
    select null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null,
        id, keys, null, null, null, null, null, null, null, null
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
    keys = {row["keyset_id"]: row["keys"] for row in rows if row["keys"] is not None}
    found: dict[UUID, dict[str, Summary | None]] = {run_id: {} for run_id in run_ids}
    for row in rows:
        if row["key"] is not None:
            found[row["run_id"]][row["key"]] = compacted(row)
    for row_id, summary in _live((row for row in rows if row["seq"] is not None), keys):
        if summary.key in found[row_id]:
            found[row_id][summary.key] = merged(found[row_id][summary.key], summary)
    return {run_id: [summary for summary in by_key.values() if summary] for run_id, by_key in found.items()}


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


def compacted(row: asyncpg.Record) -> Summary | None:
    """The summary in a row of `series`; None when all its points are in blocks."""
    if not row["count"]:
        return None
    return Summary(
        row["key"],
        row["count"],
        row["non_finite"],
        Place(*row[4:10]),
        Place(*row[10:16]),
        Extreme(*row[16:18]) if row["min_step"] is not None else None,
        Extreme(*row[18:20]) if row["max_step"] is not None else None,
    )


STREAM = itemgetter("run_id", "writer_id", "keyset_id", "attempt")


def _live(rows: Iterable[asyncpg.Record], keys: dict[int, list[str]]) -> Iterable[tuple[UUID, Summary]]:
    """A summary of each key of each stream of blocks."""
    ordered = sorted(rows, key=lambda row: (*STREAM(row), row["seq"]))
    for (run_id, writer_id, keyset_id, attempt), same in groupby(ordered, key=STREAM):
        matrix = matrix_of(len(keys[keyset_id]), list(same))
        for summary in of_matrix(keys[keyset_id], matrix, attempt, writer_id):
            yield run_id, summary


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
