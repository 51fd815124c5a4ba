"""Chunks: the blocks of a run, compacted. Compacting changes how points are stored and nothing else.

A stream is what one writer sent with one keyset. Its chunks grow like the digits of a binary counter: new blocks take
in the small chunks at the end of their stream, so each point is rewritten a few times and few chunks are small.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np

from db import packing, summaries
from db.blocks import content_sha256
from db.packing import Ints, Matrix
from db.pool import Conn, Connection, Pool
from db.summaries import Tally

CHUNK_N_MAX: Final = 8192  # points of each key
CHUNK_POINTS_MAX: Final = 1 << 20  # points of all keys
ROUND_BLOCKS_MAX: Final = 4096  # what one transaction compacts
ROUND_POINTS_MAX: Final = 1 << 20
LIVE_BLOCKS_MAX: Final = 200  # a run with more blocks than this is compacted before it ends


@dataclass(frozen=True, slots=True)
class Stream:
    """What one writer sent with one keyset, or the part of it that is compacted now."""

    run_id: UUID
    writer_id: UUID
    keyset_id: int
    attempt: int
    keys: list[str]
    is_ended: bool
    fresh: Matrix  # the blocks

    @property
    def n_max(self) -> int:
        """The size of a full chunk."""
        return max(1, min(CHUNK_N_MAX, CHUNK_POINTS_MAX // len(self.keys)))


DUE = """
    select block.run_id
    from (
        select run_id, attempt, count(*) as blocks from block group by run_id, attempt
    ) as block
    join attempt on attempt.run_id = block.run_id and attempt.number = block.attempt
    group by block.run_id
    having sum(block.blocks) > $1 or bool_or(attempt.finished_at is not null)
    order by sum(block.blocks) desc, block.run_id
    limit $2
"""


async def due(conn: Conn, limit: int = 1000) -> list[UUID]:
    """Runs with blocks to compact: many, or of an attempt that has ended; those with the most first."""
    return [row["run_id"] for row in await conn.fetch(DUE, LIVE_BLOCKS_MAX, limit)]


LOCK = """
    select pg_try_advisory_xact_lock(1668246896, hashtext($1::uuid::text))
"""


async def compact(pool: Pool, run_id: UUID) -> int:
    """How many blocks became chunks: a bounded number, so ask again until it is 0.

    One transaction; 0 too when another process compacts the run now.
    """
    async with pool.acquire() as conn, conn.transaction():
        if not await conn.fetchval(LOCK, run_id):
            return 0
        streams = await _streams(conn, run_id)
        if not streams:
            return 0
        absorbed = await _absorbed(conn, streams)
        chunks, tallies = await asyncio.to_thread(_compacted, streams, absorbed)
        await _replace(conn, run_id, streams, absorbed, chunks)
        await _add_to_series(conn, run_id, tallies)
    return sum(len(stream.fresh.seqs) for stream in streams)


def _compacted(
    streams: Sequence[Stream], absorbed: Sequence[asyncpg.Record]
) -> tuple[list[tuple[object, ...]], list[Tally]]:
    """The rows of the new chunks, and a tally of what the blocks add to each series. All of it is computing."""
    rows, tallies = [], []
    for stream in streams:
        key = (stream.keyset_id, stream.writer_id)
        earlier = [_matrix(row) for row in absorbed if (row["keyset_id"], row["writer_id"]) == key]
        whole = packing.joined([*earlier, stream.fresh])
        rows += [_row(stream, piece) for piece in packing.cut(whole, stream.n_max)]
        tallies += summaries.of_matrix(stream.keys, stream.fresh, stream.attempt, stream.writer_id)
    return rows, tallies


BLOCKS = """
    with last as (
        select writer_id, seq
        from (
            select writer_id, seq, sum(points) over (order by writer_id, seq) - points as before
            from (
                select writer_id, seq, length(vals) / 8 as points
                from block
                where run_id = $1
                order by writer_id, seq
                limit $2
            ) as first
        ) as counted
        where before < $3
        order by writer_id desc, seq desc
        limit 1
    )
    select writer_id, keyset_id, attempt,
        attempt = any (array(select number from attempt where run_id = $1 and finished_at is not null)) as is_ended,
        seq, n, received_ms, steps, times, vals
    from block
    where run_id = $1 and (writer_id, seq) <= (select writer_id, seq from last)
    order by writer_id, keyset_id, seq
"""

KEYS = """
    select id, keys from keyset where id = any ($1::bigint[])
"""


async def _streams(conn: Connection, run_id: UUID) -> list[Stream]:
    """The first blocks of a run, by stream."""
    rows = await conn.fetch(BLOCKS, run_id, ROUND_BLOCKS_MAX, ROUND_POINTS_MAX)
    keysets = await conn.fetch(KEYS, list({row["keyset_id"] for row in rows}))
    keys = {row["id"]: row["keys"] for row in keysets}
    return [
        Stream(
            run_id,
            writer_id,
            keyset_id,
            attempt,
            keys[keyset_id],
            is_ended,
            summaries.matrix_of(len(keys[keyset_id]), list(same)),
        )
        for (writer_id, keyset_id, attempt, is_ended), same in groupby(
            rows, key=itemgetter("writer_id", "keyset_id", "attempt", "is_ended")
        )
    ]


SMALL = """
    select given.ordinality - 1 as stream, chunk.n, chunk.first_seq
    from unnest($2::bigint[], $3::uuid[], $4::integer[]) with ordinality as given (keyset_id, writer_id, n_max)
    cross join lateral (
        select n, first_seq
        from chunk
        where run_id = $1 and keyset_id = given.keyset_id and writer_id = given.writer_id
        order by first_seq desc
        limit 20
    ) as chunk
    where chunk.n < given.n_max
    order by given.ordinality, chunk.first_seq desc
"""

ABSORBED = """
    select keyset_id, writer_id, first_seq, seqs, n, sizes, received, steps, times, narrow, vals
    from unnest($2::bigint[], $3::uuid[], $4::bigint[]) as given (keyset_id, writer_id, first_seq)
    join chunk using (keyset_id, writer_id, first_seq)
    where chunk.run_id = $1
    order by keyset_id, writer_id, first_seq
"""


async def _absorbed(conn: Connection, streams: Sequence[Stream]) -> list[asyncpg.Record]:
    """The chunks at the ends of the streams that go into the new ones: those no larger than what comes after them.

    All that are not full when the attempt has ended.
    """
    run_id = streams[0].run_id
    small = await conn.fetch(
        SMALL,
        run_id,
        [stream.keyset_id for stream in streams],
        [stream.writer_id for stream in streams],
        [stream.n_max for stream in streams],
    )
    if not small:
        return []
    chosen = []
    for index, same in groupby(small, key=itemgetter("stream")):
        stream = streams[index]
        after = stream.fresh.n
        for row in same:
            if row["n"] > after and not stream.is_ended:
                break
            after += row["n"]
            chosen.append((stream.keyset_id, stream.writer_id, row["first_seq"]))
    keyset_ids, writer_ids, first_seqs = zip(*chosen, strict=True) if chosen else ((), (), ())
    return await conn.fetch(ABSORBED, run_id, keyset_ids, writer_ids, first_seqs)


def _matrix(row: asyncpg.Record) -> Matrix:
    """The blocks of a row of `chunk`."""
    seqs = seqs_of(row["seqs"])
    return Matrix(
        seqs,
        packing.unpack(row["sizes"], len(seqs)),
        packing.unpack(row["received"], len(seqs)),
        packing.unpack(row["steps"], row["n"]),
        packing.unpack(row["times"], row["n"]),
        packing.unpack_values(row["narrow"], row["vals"], row["n"]),
    )


def seqs_of(ranges: Sequence[Any]) -> Ints:
    """The seqs in an int8multirange, as asyncpg reads it, in order."""
    return np.concatenate([np.arange(part.lower, part.upper, dtype="<i8") for part in ranges])


def _multirange(seqs: Ints) -> str:
    """An int8multirange of ascending seqs, as text."""
    gaps = np.flatnonzero(np.diff(seqs) != 1)
    lowers = [seqs[0], *seqs[gaps + 1]]
    uppers = [*seqs[gaps], seqs[-1]]
    return "{" + ",".join(f"[{lower},{upper}]" for lower, upper in zip(lowers, uppers, strict=True)) + "}"


def _row(stream: Stream, matrix: Matrix) -> tuple[object, ...]:
    """The columns of `chunk` behind run_id, in the order of `REPLACE`."""
    narrow, values = packing.pack_values(matrix.values)
    return (
        stream.keyset_id,
        stream.writer_id,
        int(matrix.seqs[0]),
        _multirange(matrix.seqs),
        stream.attempt,
        matrix.n,
        int(matrix.times.min()),
        packing.pack(matrix.sizes),
        packing.pack(matrix.received_ms),
        packing.pack(matrix.steps),
        packing.pack(matrix.times),
        narrow,
        values,
        packing.pack_tier(matrix),
    )


# The old chunks go before the new ones come, which may have the same first_seq; the triggers look when both are done.
REPLACE = """
    with absorbed as (
        delete from chunk
        using unnest($4::bigint[], $5::uuid[], $6::bigint[]) as given (keyset_id, writer_id, first_seq)
        where chunk.run_id = $1 and chunk.keyset_id = given.keyset_id and chunk.writer_id = given.writer_id
            and chunk.first_seq = given.first_seq
        returning 1
    ), compacted as (
        delete from block
        using unnest($2::uuid[], $3::bigint[]) as given (writer_id, seq)
        where block.run_id = $1 and block.writer_id = given.writer_id and block.seq = given.seq
        returning 1
    )
    insert into chunk (
        run_id, keyset_id, writer_id, first_seq, seqs, attempt, n, first_ms,
        sizes, received, steps, times, narrow, vals, tier
    )
    select $1, keyset_id, writer_id, first_seq, seqs::int8multirange, attempt, n, first_ms,
        sizes, received, steps, times, narrow, vals, tier
    from unnest(
        $7::bigint[], $8::uuid[], $9::bigint[], $10::text[], $11::integer[], $12::integer[], $13::bigint[],
        $14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[], $18::bytea[], $19::bytea[], $20::bytea[]
    ) as given (
        keyset_id, writer_id, first_seq, seqs, attempt, n, first_ms,
        sizes, received, steps, times, narrow, vals, tier
    )
    where (select count(*) from absorbed) + (select count(*) from compacted) > 0
"""


async def _replace(
    conn: Connection,
    run_id: UUID,
    streams: Sequence[Stream],
    absorbed: Sequence[asyncpg.Record],
    chunks: Sequence[tuple[object, ...]],
) -> None:
    """Put the chunks in the place of the streams' blocks and of the absorbed chunks."""
    await conn.execute(
        REPLACE,
        run_id,
        [stream.writer_id for stream in streams for _ in stream.fresh.seqs],
        [int(seq) for stream in streams for seq in stream.fresh.seqs],
        [row["keyset_id"] for row in absorbed],
        [row["writer_id"] for row in absorbed],
        [row["first_seq"] for row in absorbed],
        *(list(column) for column in zip(*chunks, strict=True)),
    )


SERIES = """
    select key, count, non_finite, first_value, last_value, last_step, min_value, min_step, max_value, max_step,
        first_step, first_attempt, first_received_ms, first_writer_id, first_seq,
        last_attempt, last_received_ms, last_writer_id, last_seq
    from series
    where run_id = $1 and key = any ($2::text[])
"""

UPDATE_SERIES = """
    update series
    set count = given.count, non_finite = given.non_finite,
        first_step = given.first_step, first_attempt = given.first_attempt,
        first_received_ms = given.first_received_ms, first_writer_id = given.first_writer_id,
        first_seq = given.first_seq, first_value = given.first_value,
        last_step = given.last_step, last_attempt = given.last_attempt,
        last_received_ms = given.last_received_ms, last_writer_id = given.last_writer_id,
        last_seq = given.last_seq, last_value = given.last_value,
        min_value = given.min_value, min_step = given.min_step,
        max_value = given.max_value, max_step = given.max_step
    from unnest(
        $2::text[], $3::bigint[], $4::bigint[],
        $5::bigint[], $6::integer[], $7::bigint[], $8::uuid[], $9::bigint[], $10::float8[],
        $11::bigint[], $12::integer[], $13::bigint[], $14::uuid[], $15::bigint[], $16::float8[],
        $17::float8[], $18::bigint[], $19::float8[], $20::bigint[]
    ) as given (
        key, count, non_finite,
        first_step, first_attempt, first_received_ms, first_writer_id, first_seq, first_value,
        last_step, last_attempt, last_received_ms, last_writer_id, last_seq, last_value,
        min_value, min_step, max_value, max_step
    )
    where series.run_id = $1 and series.key = given.key
"""


async def _add_to_series(conn: Connection, run_id: UUID, fresh: Sequence[Tally]) -> None:
    """Count the points among those that the series rows know; the caller's lock keeps others away."""
    rows = await conn.fetch(SERIES, run_id, list({tally.key for tally in fresh}))
    known = {row["key"]: summaries.tally_of(tuple(row)) for row in rows}
    for tally in fresh:
        known[tally.key] = summaries.merged(known[tally.key], tally)
    columns = zip(*(_series_row(tally) for tally in known.values() if tally), strict=True)
    await conn.execute(UPDATE_SERIES, run_id, *(list(column) for column in columns))


def _series_row(tally: Tally) -> tuple[object, ...]:
    """The columns of `series` behind run_id, in the order of `UPDATE_SERIES`."""
    return (
        tally.key,
        tally.count,
        tally.non_finite,
        *tally.first,
        *tally.last,
        *(tally.min or (None, None)),
        *(tally.max or (None, None)),
    )


# Both tiers in one snapshot: a block that is being compacted is in one of them.
HASHES = """
    select block.seq, block.sha256,
        null::int8multirange as seqs, null::integer as n, null::bytea as sizes, null::bytea as received,
        null::bytea as steps, null::bytea as times, null::bytea as narrow, null::bytea as vals
    from block
    where block.run_id = $1 and block.writer_id = $2 and block.seq between $3 and $4
    union all
    select null, keyset.sha256,
        chunk.seqs, chunk.n, chunk.sizes, chunk.received, chunk.steps, chunk.times, chunk.narrow, chunk.vals
    from run_keyset
    join keyset on keyset.id = run_keyset.keyset_id
    join chunk on chunk.run_id = run_keyset.run_id and chunk.keyset_id = run_keyset.keyset_id
    where run_keyset.run_id = $1 and chunk.writer_id = $2 and chunk.first_seq <= $4
        and chunk.seqs && int8range($3, $4, '[]')
"""


async def hashes(conn: Conn, run_id: UUID, writer_id: UUID, first_seq: int, last_seq: int) -> dict[int, bytes]:
    """The content hash of each stored block from `first_seq` to `last_seq`, whichever way it is stored."""
    found: dict[int, bytes] = {}
    for row in await conn.fetch(HASHES, run_id, writer_id, first_seq, last_seq):
        if row["seq"] is not None:
            found[row["seq"]] = row["sha256"]
        else:
            matrix = _matrix(row)
            for index in np.flatnonzero((matrix.seqs >= first_seq) & (matrix.seqs <= last_seq)):
                found[int(matrix.seqs[index])] = _content_sha256(row["sha256"], matrix, int(index))
    return found


def _content_sha256(keyset_sha256: bytes, matrix: Matrix, index: int) -> bytes:
    """The content hash of one block, rebuilt."""
    end = int(matrix.sizes[: index + 1].sum())
    points = slice(end - int(matrix.sizes[index]), end)
    return content_sha256(
        keyset_sha256,
        matrix.steps[points].tobytes(),
        matrix.times[points].tobytes(),
        matrix.values[:, points].tobytes(),
    )
