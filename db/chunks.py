"""Chunks: the blocks of a run, compacted. Compacting changes how points are stored and nothing else.

A stream is what one writer sent with one keyset. Its chunks grow like the digits of a binary counter: new blocks take
in the small chunks at the end of their stream, so each point is rewritten a few times and few chunks are small.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np

from db import packing, standings, summaries, tallies
from db.blocks import content_sha256
from db.packing import Ints, Matrix
from db.pool import Conn, Connection, Pool, find_few_rows
from db.summaries import Owner
from db.tallies import Tallies

CHUNK_N_MAX: Final = 8192  # points of each key
CHUNK_POINTS_MAX: Final = 1 << 20  # points of all keys
RUNS_AT_ONCE: Final = 64  # what one transaction compacts of runs with few blocks
BLOCKS_AT_ONCE: Final = 512  # and of others, as `due` counts them: each shall have a good share of the round
ROUND_BLOCKS_MAX: Final = 20_000
ROUND_POINTS_MAX: Final = 1 << 20
REWRITTEN_POINTS_MAX: Final = 1 << 21
LIVE_BLOCKS_MAX: Final = 32  # a run with more blocks than this is compacted before it ends
BACKLOG_BLOCKS: Final = 1000  # and again at once with more than this
QUIET_S: Final = 60  # without a new block: lists sum up what is not compacted, and a lost run may never end

Key = tuple[UUID, int, UUID]


@dataclass(frozen=True, slots=True)
class Stream:
    """What one writer sent with one keyset, or the part of it that is compacted now."""

    run_id: UUID
    keyset_id: int
    writer_id: UUID
    attempt: int
    keys: int
    is_ended: bool
    fresh: Matrix  # the blocks

    @property
    def key(self) -> Key:
        """Which stream it is."""
        return (self.run_id, self.keyset_id, self.writer_id)

    @property
    def n_max(self) -> int:
        """The size of a full chunk."""
        return max(1, min(CHUNK_N_MAX, CHUNK_POINTS_MAX // self.keys))


# Walks from run to run in the index, and counts no further than it must.
DUE = """
    with recursive logged as (
        (select run_id from block order by run_id limit 1)
        union all
        select (select block.run_id from block where block.run_id > logged.run_id order by block.run_id limit 1)
        from logged
        where logged.run_id is not null
    )
    select logged.run_id, counted.blocks
    from logged
    cross join lateral (
        select count(*) as blocks, bool_or(attempt.finished_at is not null) as is_ended,
            max(received_ms) < (extract(epoch from now()) - $2) * 1000 as is_quiet
        from (select attempt, received_ms from block where block.run_id = logged.run_id limit $1 + 1) as first
        join attempt on attempt.run_id = logged.run_id and attempt.number = first.attempt
    ) as counted
    where counted.blocks > $1 or counted.is_ended or counted.is_quiet
"""


async def due(conn: Conn, *, more_than: int = LIVE_BLOCKS_MAX, quiet_s: float = QUIET_S) -> dict[UUID, int]:
    """Runs with blocks to compact: more than so many, or of an attempt that has ended, or none new for so long.

    And how many they have, counted no further than it must be.
    """
    return {row["run_id"]: row["blocks"] for row in await conn.fetch(DUE, more_than, quiet_s)}


def grouped(due_now: Mapping[UUID, int]) -> list[list[UUID]]:
    """Those runs, as one transaction after the other compacts them."""
    groups: list[list[UUID]] = []
    blocks = BLOCKS_AT_ONCE
    for run_id, count in due_now.items():
        if blocks >= BLOCKS_AT_ONCE or len(groups[-1]) == RUNS_AT_ONCE:
            groups.append([])
            blocks = 0
        groups[-1].append(run_id)
        blocks += count
    return groups


LOCK = """
    select run_id
    from unnest($1::uuid[]) as given (run_id)
    where pg_try_advisory_xact_lock(1668246896, hashtext(run_id::text))
"""


async def compact(pool: Pool, run_ids: Sequence[UUID]) -> int:
    """How many blocks became chunks: a bounded number, so ask again until it is 0.

    In one transaction; runs that another process compacts now are left to it.
    """
    async with pool.acquire() as conn, conn.transaction():
        await find_few_rows(conn)
        locked = [row["run_id"] for row in await conn.fetch(LOCK, run_ids)]
        streams = await _streams(conn, locked) if locked else []
        if not streams:
            return 0
        streams, absorbed = await _absorbed(conn, streams)
        known = await _known(conn, streams)
        chunks, tally_rows = await asyncio.to_thread(_compacted, streams, absorbed, known)
        await _replace(conn, streams, absorbed, chunks)
        await conn.execute(PUT_TALLIES, *_columns(tally_rows))
        await standings.put(conn, {stream.run_id for stream in streams})
    return sum(len(stream.fresh.seqs) for stream in streams)


def _compacted(
    streams: Sequence[Stream], absorbed: Sequence[asyncpg.Record], known: Sequence[asyncpg.Record]
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """The rows of the new chunks, and those of `tally` with the blocks counted. All of it is computing."""
    earlier: dict[Key, list[Matrix]] = {stream.key: [] for stream in streams}
    for row in absorbed:
        earlier[row["run_id"], row["keyset_id"], row["writer_id"]].append(_matrix(row))
    chunks, counted = [], []
    for stream in streams:
        whole = packing.joined([*earlier.pop(stream.key), stream.fresh])
        chunks += [_row(stream, piece) for piece in packing.cut(whole, stream.n_max)]
    before = {(row["run_id"], row["keyset_id"]): row for row in known}
    for _, same in groupby(sorted(streams, key=attrgetter("keys")), key=attrgetter("keys")):
        counted += _counted(list(same), before)
    return chunks, counted


# The first blocks of each run; of each column the bytes of all blocks of a stream.
BLOCKS = """
    select given.run_id, stream.keyset_id, stream.writer_id, stream.attempt, keyset.size,
        attempt.finished_at is not null as is_ended,
        stream.seqs, stream.sizes, stream.received, stream.steps, stream.times, stream.vals
    from unnest($1::uuid[]) as given (run_id)
    cross join lateral (
        select keyset_id, writer_id, attempt,
            string_agg(int8send(seq), '' order by seq) as seqs,
            string_agg(int4send(n), '' order by seq) as sizes,
            string_agg(int8send(received_ms), '' order by seq) as received,
            string_agg(steps, '' order by seq) as steps,
            string_agg(times, '' order by seq) as times,
            string_agg(vals, '' order by seq) as vals
        from (
            select *, sum(length(vals) / 8) over (order by writer_id, seq) - length(vals) / 8 as before
            from block
            where block.run_id = given.run_id
            order by writer_id, seq
            limit $2
        ) as first
        where before < $3
        group by keyset_id, writer_id, attempt
    ) as stream
    join keyset on keyset.id = stream.keyset_id
    join attempt on attempt.run_id = given.run_id and attempt.number = stream.attempt
"""


async def _streams(conn: Connection, run_ids: Sequence[UUID]) -> list[Stream]:
    """The first blocks of the runs, by stream; each run gets an equal share of the round."""
    rows = await conn.fetch(BLOCKS, run_ids, ROUND_BLOCKS_MAX // len(run_ids), ROUND_POINTS_MAX // len(run_ids))
    return [
        Stream(
            row["run_id"],
            row["keyset_id"],
            row["writer_id"],
            row["attempt"],
            row["size"],
            row["is_ended"],
            packing.of_blocks(
                row["size"], row["seqs"], row["sizes"], row["received"], row["steps"], row["times"], row["vals"]
            ),
        )
        for row in rows
    ]


SMALL = """
    select given.ordinality - 1 as stream, chunk.n, chunk.first_seq
    from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::integer[])
        with ordinality as given (run_id, keyset_id, writer_id, n_max)
    cross join lateral (
        select n, first_seq
        from chunk
        where run_id = given.run_id and keyset_id = given.keyset_id and writer_id = given.writer_id
        order by first_seq desc
        limit 20
    ) as chunk
    where chunk.n < given.n_max
    order by given.ordinality, chunk.first_seq desc
"""

ABSORBED = """
    select run_id, keyset_id, writer_id, first_seq, seqs, n, sizes, received, steps, times, narrow, vals
    from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[]) as given (run_id, keyset_id, writer_id, first_seq)
    join chunk using (run_id, keyset_id, writer_id, first_seq)
    order by run_id, keyset_id, writer_id, first_seq
"""


async def _absorbed(conn: Connection, streams: list[Stream]) -> tuple[list[Stream], list[asyncpg.Record]]:
    """The chunks at the ends of the streams that go into the new ones: those no larger than what comes after them.

    All that are not full when the attempt has ended. Streams for which there is no memory wait for another round.
    """
    small = await conn.fetch(SMALL, *_columns([stream.key for stream in streams]), [stream.n_max for stream in streams])
    by_stream = {index: list(same) for index, same in groupby(small, key=itemgetter("stream"))}
    taken: list[Stream] = []
    chosen: list[tuple[object, ...]] = []
    points = 0
    for index, stream in enumerate(streams):
        after = stream.fresh.n
        firsts = []
        for row in by_stream.get(index, ()):
            if row["n"] > after and not stream.is_ended:
                break
            after += row["n"]
            firsts.append(row["first_seq"])
        points += after * stream.keys
        if taken and points > REWRITTEN_POINTS_MAX:
            break
        taken.append(stream)
        chosen += [(*stream.key, first_seq) for first_seq in firsts]
    return taken, await conn.fetch(ABSORBED, *_columns(chosen)) if chosen else []


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """The arguments of `unnest` for rows."""
    return [list(column) for column in zip(*rows, strict=True)]


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
    """A row of `chunk`, in the order of `REPLACE`."""
    narrow, values = packing.pack_values(matrix.values)
    tier = packing.pack_tier(matrix)
    coarse = packing.coarser(tier, len(matrix.values)) if tier and matrix.n >= 2 * packing.COARSE else None
    return (
        *stream.key,
        int(matrix.seqs[0]),
        _multirange(matrix.seqs),
        stream.attempt,
        matrix.n,
        int(matrix.times.min()),
        int(matrix.steps.min()),
        int(matrix.steps.max()),
        packing.pack(matrix.sizes),
        packing.pack(matrix.received_ms),
        packing.pack(matrix.steps),
        packing.pack(matrix.times),
        narrow,
        values,
        tier,
        coarse,
    )


# The old chunks go before the new ones come, which may have the same first_seq; the triggers look when both are done.
REPLACE = """
    with absorbed as (
        delete from chunk
        using unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[])
            as given (run_id, keyset_id, writer_id, first_seq)
        where chunk.run_id = given.run_id and chunk.keyset_id = given.keyset_id
            and chunk.writer_id = given.writer_id and chunk.first_seq = given.first_seq
        returning 1
    ), compacted as (
        delete from block
        using unnest($5::uuid[], $6::uuid[], $7::text[]) as given (run_id, writer_id, seqs),
            unnest(given.seqs::int8multirange) as part
        where block.run_id = given.run_id and block.writer_id = given.writer_id
            and block.seq >= lower(part) and block.seq < upper(part)
        returning 1
    )
    insert into chunk (
        run_id, keyset_id, writer_id, first_seq, seqs, attempt, n, first_ms, low_step, high_step,
        sizes, received, steps, times, narrow, vals, tier, coarse_tier
    )
    select run_id, keyset_id, writer_id, first_seq, seqs::int8multirange, attempt, n, first_ms, low_step, high_step,
        sizes, received, steps, times, narrow, vals, tier, coarse_tier
    from unnest(
        $8::uuid[], $9::bigint[], $10::uuid[], $11::bigint[], $12::text[], $13::integer[], $14::integer[],
        $15::bigint[], $16::bigint[], $17::bigint[],
        $18::bytea[], $19::bytea[], $20::bytea[], $21::bytea[], $22::bytea[], $23::bytea[], $24::bytea[], $25::bytea[]
    ) as given (
        run_id, keyset_id, writer_id, first_seq, seqs, attempt, n, first_ms, low_step, high_step,
        sizes, received, steps, times, narrow, vals, tier, coarse_tier
    )
    where (select count(*) from absorbed) + (select count(*) from compacted) > 0
"""


async def _replace(
    conn: Connection,
    streams: Sequence[Stream],
    absorbed: Sequence[asyncpg.Record],
    chunks: Sequence[tuple[object, ...]],
) -> None:
    """Put the chunks in the place of the streams' blocks and of the absorbed chunks."""
    gone = [(row["run_id"], row["keyset_id"], row["writer_id"], row["first_seq"]) for row in absorbed]
    seqs: dict[tuple[UUID, UUID], list[Ints]] = {}
    for stream in streams:
        seqs.setdefault((stream.run_id, stream.writer_id), []).append(stream.fresh.seqs)
    await conn.execute(
        REPLACE,
        *(_columns(gone) if gone else ([], [], [], [])),
        *_columns([(*writer, _multirange(np.sort(np.concatenate(of_writer)))) for writer, of_writer in seqs.items()]),
        *_columns(chunks),
    )


TALLIES = """
    select run_id, keyset_id, count, first_step, first_attempt, first_received_ms, first_writer_id, first_seq,
        last_step, last_attempt, last_received_ms, last_writer_id, last_seq, stats
    from unnest($1::uuid[], $2::bigint[]) as given (run_id, keyset_id)
    join tally using (run_id, keyset_id)
"""

PUT_TALLIES = """
    insert into tally (
        run_id, keyset_id, count, first_step, first_attempt, first_received_ms, first_writer_id, first_seq,
        last_step, last_attempt, last_received_ms, last_writer_id, last_seq, stats
    )
    select *
    from unnest(
        $1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::integer[], $6::bigint[], $7::uuid[], $8::bigint[],
        $9::bigint[], $10::integer[], $11::bigint[], $12::uuid[], $13::bigint[], $14::bytea[]
    )
    on conflict (run_id, keyset_id) do update
    set count = excluded.count,
        first_step = excluded.first_step, first_attempt = excluded.first_attempt,
        first_received_ms = excluded.first_received_ms, first_writer_id = excluded.first_writer_id,
        first_seq = excluded.first_seq,
        last_step = excluded.last_step, last_attempt = excluded.last_attempt,
        last_received_ms = excluded.last_received_ms, last_writer_id = excluded.last_writer_id,
        last_seq = excluded.last_seq,
        stats = excluded.stats
"""


async def _known(conn: Connection, streams: Sequence[Stream]) -> list[asyncpg.Record]:
    """What the tallies of the streams' keysets say so far; the caller's locks keep others away."""
    return await conn.fetch(TALLIES, *_columns(list({(stream.run_id, stream.keyset_id) for stream in streams})))


def _counted(streams: Sequence[Stream], known: dict[Owner, asyncpg.Record]) -> list[tuple[object, ...]]:
    """The rows of `tally`, in the order of `PUT_TALLIES`: what was known, and the blocks. Streams of as many keys."""
    owners = list(dict.fromkeys((stream.run_id, stream.keyset_id) for stream in streams))
    numbers = {owner: number for number, owner in enumerate(owners)}
    points = tallies.of_points([(stream.fresh, stream.attempt, stream.writer_id) for stream in streams])
    of_streams = [numbers[stream.run_id, stream.keyset_id] for stream in streams]
    whole = tallies.summed(points, np.repeat(of_streams, [stream.fresh.n for stream in streams]))
    older = [owner for owner in owners if owner in known]
    if older:
        before = tallies.unpacked([summaries.tally_of(known[owner]) for owner in older])
        parts = [*(numbers[owner] for owner in older), *range(len(owners))]
        whole = tallies.summed(tallies.joined(before, whole), np.array(parts))
    return [_tally_row(*owner, whole, part) for part, owner in enumerate(owners)]


def _tally_row(run_id: UUID, keyset_id: int, whole: Tallies, part: int) -> tuple[object, ...]:
    return (run_id, keyset_id, int(whole.counts[part]), *whole.first(part), *whole.last(part), whole.packed(part))


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
