"""The committer: stores batches of points, those that come at once in one statement."""

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from itertools import accumulate, chain
from typing import Any, Final
from uuid import UUID

import asyncpg

from db import blocks
from db.blocks import Batch
from db.groups import Bounds, Groups, open_groups
from db.memory import Memory
from db.pool import FEW_ROWS_PLANS, Connection, Pool, open_pool

ADMITTED_MAX: Final = 200_000
GATHER_S: Final = 0.002  # more would leave the database idle: it stores a group while the next one comes


@asynccontextmanager
async def open_committer(
    url: str,
    *,
    statement_timeout_s: int = 10,
    waiting_max: int = 4000,
    waiting_bytes_max: int = 64 * 1024 * 1024,
    group_max: int = 500,
    group_bytes_max: int = 8 * 1024 * 1024,
) -> AsyncIterator["Committer"]:
    """A committer with a connection of its own; what is waited for when the block ends is stored before it ends."""
    bounds = Bounds(GATHER_S, statement_timeout_s + 5, waiting_max, waiting_bytes_max, group_max, group_bytes_max)
    async with open_pool(
        url, size_max=1, statement_timeout_s=statement_timeout_s, name="ingest", plans=FEW_ROWS_PLANS
    ) as pool:
        desk = _Desk()
        async with open_groups(pool, desk.store, bounds, what="batches of points") as groups:
            yield Committer(pool, groups)


class Outcome(Enum):
    """What became of a batch.

    NOT_NEXT: the writer's next block is not the batch's first, or the writer is another run's, or its attempt has
    ended; nothing was stored. STORED_TO_STOP: somebody wants the writer's attempt to end.
    """

    NOT_NEXT = auto()
    STORED = auto()
    STORED_TO_STOP = auto()


class Committer:
    """Stores batches in groups, one group at a time."""

    def __init__(self, pool: Pool, groups: Groups[Batch, Outcome]) -> None:
        self._pool = pool
        self._groups = groups

    def append(self, batch: Batch) -> Coroutine[Any, Any, Outcome]:
        """What became of the batch; it is durable when this says that it is stored.

        Raises `CheckViolationError` by the name `run_keys_max` when the run would have too many keys, and
        `Unavailable` when too much waits already, or when the database does not answer: then the batch may have been
        stored, and sending it again is safe.
        """
        return self._groups.ask(batch, batch.size_bytes)


@dataclass(frozen=True, slots=True)
class _News:
    """What may come for the first time: writers, by their first batches, and (run, keyset) pairs."""

    opening: list[Batch]
    keysets: list[tuple[UUID, int]]

    def __bool__(self) -> bool:
        return bool(self.opening or self.keysets)


class _Desk:
    """Knows which runs have which keysets, and which writers there are; both stay for ever."""

    def __init__(self) -> None:
        self._writers: Memory[UUID, bool] = Memory(ADMITTED_MAX)
        self._admitted: Memory[tuple[UUID, int], bool] = Memory(ADMITTED_MAX)

    async def store(self, conn: Connection, group: list[Batch]) -> list[Outcome]:
        """What becomes of each batch."""
        lines = _lines(group)
        news = self._news(lines)
        accepted = await _append(conn, lines, news)
        stored = {
            id(batch): accepted[line[0].writer_id] for line in lines if line[0].writer_id in accepted for batch in line
        }
        if news:
            self._learn([batch for batch in group if id(batch) in stored])
        return [stored.get(id(batch), Outcome.NOT_NEXT) for batch in group]

    def _news(self, lines: list[list[Batch]]) -> _News:
        opening = [line[0] for line in lines if line[0].first_seq == 0 and self._writers.get(line[0].writer_id) is None]
        keysets = {
            (batch.run_id, block.keyset_id)
            for batch in chain.from_iterable(lines)
            for block in batch.blocks
            if self._admitted.get((batch.run_id, block.keyset_id)) is None
        }
        return _News(opening, sorted(keysets))

    def _learn(self, stored: list[Batch]) -> None:
        for batch in stored:
            if batch.first_seq == 0:
                self._writers.put(batch.writer_id, True)
            for block in batch.blocks:
                if self._admitted.get((batch.run_id, block.keyset_id)) is None:
                    self._admitted.put((batch.run_id, block.keyset_id), True)


def _lines(group: list[Batch]) -> list[list[Batch]]:
    """For each writer the batches that follow each other, in order; those that follow nothing here are left out."""
    by_writer: dict[UUID, list[Batch]] = {}
    for batch in group:
        by_writer.setdefault(batch.writer_id, []).append(batch)
    return [same_writer if len(same_writer) == 1 else _line(same_writer) for same_writer in by_writer.values()]


def _line(same_writer: list[Batch]) -> list[Batch]:
    first, *others = sorted(same_writer, key=lambda batch: batch.first_seq)
    line = [first]
    for batch in others:
        if batch.first_seq == line[-1].next_seq and batch.run_id == line[-1].run_id:
            line.append(batch)
    return line


# Locks the writers in the order of their ids and inserts only where the cursor fits; the trigger moves the cursor.
# Columns are taken from their arrays by place, since a join would compare each batch with each. The blocks of a writer
# are those behind its entry of $3, up to the next one; $4 to $8 are `blocks.columns`.
APPEND = """
    with standing as materialized (
        select id, run_id, attempt, next_seq, ended_at, stop_requested
        from writer
        where id = any ($1::uuid[])
        order by id
        for no key update
    ), accepted as materialized (
        select id, run_id, attempt, stop_requested, place
        from (select standing.*, array_position($1::uuid[], id) as place from standing) as placed
        where run_id = ($2::uuid[])[place] and next_seq = ($4::bigint[])[($3::integer[])[place] + 1]
            and ended_at is null
    ), stored as (
        insert into block (run_id, writer_id, seq, keyset_id, attempt, n, first_ms, steps, times, vals, sha256)
        select run_id, id, ($4::bigint[])[at], ($5::bigint[])[at], attempt, n, ($7::bigint[])[at],
            substring(content, 33, n * 8), substring(content, 33 + n * 8, n * 8), substring(content, 33 + n * 16),
            substring(content, 1, 32)
        from accepted
        cross join lateral generate_series(($3::integer[])[place] + 1, ($3::integer[])[place + 1]) as at
        cross join lateral (select ($6::integer[])[at] as n, ($8::bytea[])[at] as content) as sent
    )
    select id, stop_requested from accepted
"""


# The same for writers and keysets that come for the first time, in runs whose attempt is open: the writers are bound to
# it. Attempts are locked before writers, and each in the order of ids, as whoever ends an attempt does; what `standing`
# asks of `open` makes it so.
ADMIT_AND_APPEND = """
    with open as materialized (
        select attempt.run_id, attempt.number, attempt.stop_requested_at is not null as stop_requested
        from run
        join attempt on attempt.run_id = run.id and attempt.number = run.attempt
        where run.id = any ($9::uuid[] || $12::uuid[]) and attempt.finished_at is null
        order by attempt.run_id
        for share of attempt
    ), admitted as (
        insert into run_keyset (run_id, keyset_id)
        select given.run_id, given.keyset_id
        from unnest($9::uuid[], $10::bigint[]) as given (run_id, keyset_id)
        join open on open.run_id = given.run_id
        order by given.run_id, given.keyset_id
        on conflict (run_id, keyset_id) do nothing
    ), opened as (
        insert into writer (id, run_id, attempt, opened_by, stop_requested)
        select given.id, open.run_id, open.number, given.opened_by, open.stop_requested
        from unnest($11::uuid[], $12::uuid[], $13::uuid[]) as given (id, run_id, opened_by)
        join open on open.run_id = given.run_id
        order by given.id
        on conflict (id) do nothing
        returning id, run_id, attempt, stop_requested
    ), standing as materialized (
        select id, run_id, attempt, next_seq, ended_at, stop_requested
        from writer
        where id = any ($1::uuid[]) and (select count(*) from open) is not null
        order by id
        for no key update
    ), accepted as materialized (
        select id, run_id, attempt, stop_requested, place
        from (select standing.*, array_position($1::uuid[], id) as place from standing) as placed
        where run_id = ($2::uuid[])[place] and next_seq = ($4::bigint[])[($3::integer[])[place] + 1]
            and ended_at is null
        union all
        select id, run_id, attempt, stop_requested, array_position($1::uuid[], id) from opened
    ), stored as (
        insert into block (run_id, writer_id, seq, keyset_id, attempt, n, first_ms, steps, times, vals, sha256)
        select run_id, id, ($4::bigint[])[at], ($5::bigint[])[at], attempt, n, ($7::bigint[])[at],
            substring(content, 33, n * 8), substring(content, 33 + n * 8, n * 8), substring(content, 33 + n * 16),
            substring(content, 1, 32)
        from accepted
        cross join lateral generate_series(($3::integer[])[place] + 1, ($3::integer[])[place + 1]) as at
        cross join lateral (select ($6::integer[])[at] as n, ($8::bytea[])[at] as content) as sent
    )
    select id, stop_requested from accepted
"""


async def _append(conn: Connection, lines: list[list[Batch]], news: _News) -> dict[UUID, Outcome]:
    """Store what fits the writers' cursors, in one statement and so in one commit; what became of those it fitted."""
    firsts = [line[0] for line in lines]
    bounds = list(accumulate((sum(len(batch.blocks) for batch in line) for line in lines), initial=0))
    columns: list[Sequence[object]] = [
        [batch.writer_id for batch in firsts],
        [batch.run_id for batch in firsts],
        bounds,
        *blocks.columns([block for line in lines for batch in line for block in batch.blocks]),
    ]
    if not news:
        return _outcomes(await conn.fetch(APPEND, *columns))
    rows = await conn.fetch(
        ADMIT_AND_APPEND,
        *columns,
        [run_id for run_id, _ in news.keysets],
        [keyset_id for _, keyset_id in news.keysets],
        [batch.writer_id for batch in news.opening],
        [batch.run_id for batch in news.opening],
        [batch.account_id for batch in news.opening],
    )
    return _outcomes(rows)


def _outcomes(rows: list[asyncpg.Record]) -> dict[UUID, Outcome]:
    return {row[0]: Outcome.STORED_TO_STOP if row[1] else Outcome.STORED for row in rows}
