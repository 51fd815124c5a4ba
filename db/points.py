"""Points as they come: what writers have stored behind a position, each point once.

A position says how far each writer of some runs was read. A writer's blocks are numbered without gaps and never change,
so the points between two positions are the same whenever and however they are read: as blocks, or as parts of chunks.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID

import asyncpg
import numpy as np

from db import chunks, packing
from db.errors import Invalid
from db.packing import Floats, Ints
from db.pool import Conn

POINTS_MAX: Final = 20_000  # read at once, unless one block has more
BLOCKS_MAX: Final = 256  # of a writer, read at once
WRITERS_MAX: Final = 2_000  # in a position

RUN: Final = struct.Struct("<16sIH")  # run, ended, how many writers follow
WRITER: Final = struct.Struct("<16sIq")  # writer, attempt, next seq


@dataclass(frozen=True, slots=True)
class Read:
    """How far a run was read: attempts up to `ended` have ended and were read whole; others as far as `writers` say.

    `writers` maps a writer to its attempt and its next seq.
    """

    ended: int
    writers: Mapping[UUID, tuple[int, int]]

    def next_seq(self, writer_id: UUID) -> int:
        """The first block of an open attempt's writer that was not read."""
        return self.writers[writer_id][1] if writer_id in self.writers else 0

    def reaches(self, other: "Read") -> bool:
        """Whether all that `other` has read was read."""
        return self.ended >= other.ended and all(
            attempt <= self.ended or self.next_seq(writer_id) >= next_seq
            for writer_id, (attempt, next_seq) in other.writers.items()
        )


NOTHING: Final = Read(0, {})


class Position:
    """How far each of some runs was read; positions that were read equally far are equal."""

    def __init__(self, runs: Mapping[UUID, Read]) -> None:
        self.runs = runs

    @cached_property
    def packed(self) -> bytes:
        """The position in few bytes."""
        parts = []
        for run_id, read in sorted(self.runs.items()):
            parts.append(RUN.pack(run_id.bytes, read.ended, len(read.writers)))
            parts += [WRITER.pack(writer_id.bytes, *where) for writer_id, where in sorted(read.writers.items())]
        return b"".join(parts)

    @classmethod
    def unpacked(cls, packed: bytes) -> "Position":
        """The position that was packed."""
        runs, start = {}, 0
        while start < len(packed):
            run_id, ended, count = RUN.unpack_from(packed, start)
            start += RUN.size
            end = start + count * WRITER.size
            rows = WRITER.iter_unpack(packed[start:end])
            writers = {UUID(bytes=writer_id): (attempt, next_seq) for writer_id, attempt, next_seq in rows}
            runs[UUID(bytes=run_id)] = Read(ended, writers)
            start = end
        return cls(runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Position) and self.packed == other.packed

    def __hash__(self) -> int:
        return hash(self.packed)

    def reaches(self, other: "Position") -> bool:
        """Whether all that `other` has read was read, of the same runs."""
        return all(self.runs[run_id].reaches(read) for run_id, read in other.runs.items())


@dataclass(frozen=True, slots=True)
class Part:
    """Points of a key: those of a writer in the order of its blocks, writer after writer."""

    key: str
    steps: Ints
    times: Ints
    values: Floats
    attempts: Ints


@dataclass(frozen=True, slots=True)
class Fresh:
    """New points of a run, and how far the run was read with them; `more` when that is not all there was."""

    run_id: UUID
    parts: list[Part]
    read: Read
    more: bool


STANDING = """
    select run.id as run_id, writer.id, writer.attempt, writer.next_seq,
        coalesce((
            select max(attempt.number) from attempt
            where attempt.run_id = run.id and attempt.finished_at is not null
        ), 0) as ended
    from run
    left join attempt on attempt.run_id = run.id and attempt.finished_at is null
    left join writer on writer.run_id = attempt.run_id and writer.attempt = attempt.number and writer.next_seq > 0
    where run.id = any ($1::uuid[])
"""


async def standing(conn: Conn, run_ids: Sequence[UUID]) -> Position:
    """The position behind everything that is stored of the runs now."""
    ended: dict[UUID, int] = {}
    writers: dict[UUID, dict[UUID, tuple[int, int]]] = defaultdict(dict)
    for row in await conn.fetch(STANDING, run_ids):
        ended[row["run_id"]] = row["ended"]
        if row["id"] is not None:
            writers[row["run_id"]][row["id"]] = (row["attempt"], row["next_seq"])
    return Position({run_id: Read(ended[run_id], writers[run_id]) for run_id in ended})


TOTALS = """
    select run_id, sum(next_seq)::bigint as blocks
    from writer
    where run_id = any ($1::uuid[])
    group by run_id
"""


async def totals(conn: Conn, run_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many blocks were stored of each run that has some; the number only grows."""
    return {row["run_id"]: row["blocks"] for row in await conn.fetch(TOTALS, run_ids)}


@dataclass(frozen=True, slots=True)
class _Behind:
    """A writer with blocks that were not read: those from `first_seq` to before `end_seq`.

    `blocks` has the first of those that are not compacted: seq, keyset, points of each key.
    """

    writer_id: UUID
    attempt: int
    first_seq: int
    end_seq: int
    blocks: list[tuple[int, int, int]]


# In one snapshot: the writers that have more, the first of their live blocks, the attempts that have ended.
BEHIND = """
    with place as (
        select * from unnest($1::uuid[], $2::integer[]) as place (run_id, ended)
    ), given as (
        select * from unnest($3::uuid[], $4::bigint[]) as given (writer_id, next_seq)
    )
    select writer.run_id, writer.id as writer_id, writer.attempt, writer.next_seq,
        coalesce(given.next_seq, 0) as first_seq,
        coalesce((
            select max(attempt.number) from attempt
            where attempt.run_id = writer.run_id and attempt.finished_at is not null
        ), 0) as ended,
        block.seq, block.keyset_id, block.n
    from place
    join writer on writer.run_id = place.run_id and writer.attempt > place.ended
    left join given on given.writer_id = writer.id
    left join lateral (
        select seq, keyset_id, n
        from block
        where block.run_id = writer.run_id and block.writer_id = writer.id and block.seq >= coalesce(given.next_seq, 0)
        order by seq
        limit $5
    ) as block on true
    where writer.next_seq > coalesce(given.next_seq, 0)
    order by writer.run_id, writer.id, block.seq
"""

KEYS = """
    select id, array(select array_position(keyset.keys, key) - 1 from unnest($2::text[]) as key) as places
    from keyset
    where id = any ($1::bigint[])
"""

BLOCKS = """
    select block.writer_id, block.seq, block.attempt, block.n, block.steps, block.times,
        array(
            select substring(block.vals from place * block.n * 8 + 1 for block.n * 8)
            from unnest($4::integer[]) as place
        ) as vals
    from unnest($2::uuid[], $3::bigint[]) as given (writer_id, seq)
    join block on block.run_id = $1 and block.writer_id = given.writer_id and block.seq = given.seq
    order by block.writer_id, block.seq
"""

# Chunks that may hold blocks from $3 to before $4 of a writer.
SIZES = """
    select chunk.first_seq, chunk.n, cardinality(array(select unnest(keyset.keys) intersect select unnest($5::text[])))
            as keys
    from run_keyset
    join keyset on keyset.id = run_keyset.keyset_id
    join chunk on chunk.run_id = run_keyset.run_id and chunk.keyset_id = keyset.id
    where run_keyset.run_id = $1 and keyset.keys && $5::text[]
        and chunk.writer_id = $2 and chunk.first_seq < $4 and chunk.seqs && int8range($3, $4)
    order by chunk.first_seq
"""

CHUNKS = """
    with asked as (
        select keyset.id, array_agg(key) as keys, array_agg(array_position(keyset.keys, key) - 1) as places
        from run_keyset
        join keyset on keyset.id = run_keyset.keyset_id
        join unnest($5::text[]) as key on key = any (keyset.keys)
        where run_keyset.run_id = $1
        group by keyset.id
    )
    select chunk.writer_id, chunk.attempt, chunk.seqs, chunk.n, chunk.sizes, chunk.steps, chunk.times, asked.keys,
        given.first_seq, given.end_seq,
        array(select get_byte(chunk.narrow, place) from unnest(asked.places) as place) as narrow,
        array(
            select substring(
                chunk.vals
                from (chunk.n * (8 * place - 4 * bit_count(substring(chunk.narrow from 1 for place))))::integer + 1
                for chunk.n * (8 - 4 * get_byte(chunk.narrow, place))
            )
            from unnest(asked.places) as place
        ) as vals
    from unnest($2::uuid[], $3::bigint[], $4::bigint[]) as given (writer_id, first_seq, end_seq)
    cross join asked
    join chunk on chunk.run_id = $1 and chunk.keyset_id = asked.id and chunk.writer_id = given.writer_id
        and chunk.first_seq < given.end_seq and chunk.seqs && int8range(given.first_seq, given.end_seq)
"""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What is read of a writer now: `blocks` by their keyset, or the chunks up to `end_seq`."""

    writer: _Behind
    end_seq: int
    blocks: list[tuple[int, int]]  # seq, keyset


class Reader:
    """Reads what is new of some keys of runs; it remembers where these keys are in each keyset."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = list(keys)
        self._places: dict[int, list[int | None]] = {}

    async def behind(self, conn: Conn, position: Position, upto: Position | None = None) -> list[Fresh]:
        """What follows `position`, for each run that has more: a bounded number of points, or those of one block.

        With `upto`, a position that reaches this one, nothing behind that. Raises `Invalid` for too many writers.
        """
        fresh = []
        for run_id, (ended, writers) in (await self._writers(conn, position, upto)).items():
            taken = await self._taken(conn, run_id, writers)
            parts = await self._parts(conn, run_id, taken)
            left = _left(writers, taken)
            fresh.append(Fresh(run_id, parts, _advanced(position.runs[run_id], ended, taken, left), more=bool(left)))
        return fresh

    async def _writers(
        self, conn: Conn, position: Position, upto: Position | None
    ) -> dict[UUID, tuple[int, list[_Behind]]]:
        """For each run that has more, how many of its attempts have ended, and the writers that have more."""
        given = [(writer_id, where[1]) for read in position.runs.values() for writer_id, where in read.writers.items()]
        rows = await conn.fetch(
            BEHIND,
            list(position.runs),
            [read.ended for read in position.runs.values()],
            [writer_id for writer_id, _ in given],
            [next_seq for _, next_seq in given],
            BLOCKS_MAX,
        )
        found: dict[UUID, tuple[int, list[_Behind]]] = {}
        for (run_id, writer_id), same in groupby(rows, key=itemgetter("run_id", "writer_id")):
            of_writer = list(same)
            first = of_writer[0]
            ended, end_seq = first["ended"], first["next_seq"]
            if upto is not None:
                ended = upto.runs[run_id].ended
                end_seq = end_seq if first["attempt"] <= ended else upto.runs[run_id].next_seq(writer_id)
            if end_seq > first["first_seq"]:
                blocks = [(row["seq"], row["keyset_id"], row["n"]) for row in of_writer if row["seq"] is not None]
                writer = _Behind(writer_id, first["attempt"], first["first_seq"], end_seq, blocks)
                found.setdefault(run_id, (ended, []))[1].append(writer)
        return found

    async def _taken(self, conn: Conn, run_id: UUID, writers: Sequence[_Behind]) -> list[_Taken]:
        """How far each writer is read now; those for whom no room is left are not."""
        await self._learn(conn, {keyset_id for writer in writers for _, keyset_id, _ in writer.blocks})
        taken: list[_Taken] = []
        room = POINTS_MAX
        for writer in writers:
            if writer.blocks and writer.blocks[0][0] == writer.first_seq:
                one, points = self._taken_blocks(writer, room)
            else:
                one, points = await self._taken_chunks(conn, run_id, writer, room)
            taken.append(one)
            room -= points
            if room <= 0:
                break
        return taken

    async def _learn(self, conn: Conn, keyset_ids: set[int]) -> None:
        """Find out where the keys are in these keysets."""
        unknown = keyset_ids - self._places.keys()
        if unknown:
            for row in await conn.fetch(KEYS, list(unknown), self._keys):
                self._places[row["id"]] = row["places"]

    def _asked(self, keyset_id: int) -> list[tuple[str, int]]:
        """The keys that a keyset has, and where."""
        places = zip(self._keys, self._places[keyset_id], strict=True)
        return [(key, place) for key, place in places if place is not None]

    def _taken_blocks(self, writer: _Behind, room: int) -> tuple[_Taken, int]:
        """The next blocks, as far as there is room, and how many points they have."""
        points, end_seq = 0, writer.first_seq
        blocks: list[tuple[int, int]] = []
        for seq, keyset_id, n in writer.blocks:
            new = n * len(self._asked(keyset_id))
            if seq != end_seq or seq >= writer.end_seq or (blocks and points + new > room):
                break
            points, end_seq = points + new, seq + 1
            blocks.append((seq, keyset_id))
        return _Taken(writer, end_seq, blocks), points

    async def _taken_chunks(self, conn: Conn, run_id: UUID, writer: _Behind, room: int) -> tuple[_Taken, int]:
        """The next blocks that were compacted, as far as there is room; and how many points their chunks have."""
        first_live = writer.blocks[0][0] if writer.blocks else writer.end_seq
        end_seq = min(writer.end_seq, first_live, writer.first_seq + POINTS_MAX)
        points = 0
        for row in await conn.fetch(SIZES, run_id, writer.writer_id, writer.first_seq, end_seq, self._keys):
            points += row["n"] * row["keys"]
            if points > room and row["first_seq"] > writer.first_seq:
                end_seq = row["first_seq"]
                break
        return _Taken(writer, end_seq, []), points

    async def _parts(self, conn: Conn, run_id: UUID, taken: Sequence[_Taken]) -> list[Part]:
        """The points of what is taken, by key."""
        pieces: dict[str, list[_Piece]] = {key: [] for key in self._keys}
        ranges = [(one.writer.writer_id, one.writer.first_seq, one.end_seq) for one in taken if not one.blocks]
        by_keyset: dict[int, list[tuple[UUID, int]]] = {}
        for one in taken:
            for seq, keyset_id in one.blocks:
                by_keyset.setdefault(keyset_id, []).append((one.writer.writer_id, seq))
        for keyset_id, wanted in by_keyset.items():
            asked = self._asked(keyset_id)
            if not asked:
                continue
            writer_ids, seqs = zip(*wanted, strict=True)
            rows = await conn.fetch(BLOCKS, run_id, writer_ids, seqs, [place for _, place in asked])
            for place, (key, _) in enumerate(asked):
                pieces[key] += [_of_blocks(rows, place)] if rows else []
            if len(rows) < len(wanted):  # they were compacted since we looked
                found = {(row["writer_id"], row["seq"]) for row in rows}
                ranges += [(writer_id, seq, seq + 1) for writer_id, seq in wanted if (writer_id, seq) not in found]
        if ranges:
            for row in await conn.fetch(CHUNKS, run_id, *map(list, zip(*ranges, strict=True)), self._keys):
                for key, piece in zip(row["keys"], _of_chunk(row), strict=True):
                    pieces[key].append(piece)
        return [_part(key, found) for key, found in pieces.items() if any(len(piece.steps) for piece in found)]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Points of a key, with the writer and seq of each."""

    writers: list[UUID]
    seqs: Ints
    steps: Ints
    times: Ints
    values: Floats
    attempts: Ints


def _of_blocks(rows: Sequence[asyncpg.Record], place: int) -> _Piece:
    sizes = [row["n"] for row in rows]
    return _Piece(
        [row["writer_id"] for row in rows for _ in range(row["n"])],
        np.repeat(np.array([row["seq"] for row in rows], "<i8"), sizes),
        np.frombuffer(b"".join(row["steps"] for row in rows), "<i8"),
        np.frombuffer(b"".join(row["times"] for row in rows), "<i8"),
        np.frombuffer(b"".join(row["vals"][place] for row in rows), "<f8"),
        np.repeat(np.array([row["attempt"] for row in rows], "<i8"), sizes),
    )


def _of_chunk(row: asyncpg.Record) -> Iterator[_Piece]:
    """For each asked key, the points of the blocks from `first_seq` to before `end_seq`."""
    seqs = chunks.seqs_of(row["seqs"])
    of_point = np.repeat(seqs, packing.unpack(row["sizes"], len(seqs)))
    inside = slice(*np.searchsorted(of_point, [row["first_seq"], row["end_seq"]]))
    steps, times = packing.unpack(row["steps"], row["n"])[inside], packing.unpack(row["times"], row["n"])[inside]
    for narrow, values in zip(row["narrow"], row["vals"], strict=True):
        yield _Piece(
            [row["writer_id"]] * len(steps),
            of_point[inside],
            steps,
            times,
            packing.unpack_row(values, narrow)[inside],
            np.full(len(steps), row["attempt"], "<i8"),
        )


def _part(key: str, pieces: Sequence[_Piece]) -> Part:
    """All points of a key in the order of writers and seqs."""
    seqs = np.concatenate([piece.seqs for piece in pieces])
    columns = [
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("steps", "times", "values", "attempts")
    ]
    if len(pieces) > 1:
        writers = [writer_id for piece in pieces for writer_id in piece.writers]
        ranks = {writer_id: rank for rank, writer_id in enumerate(sorted(set(writers)))}
        order = np.lexsort((seqs, np.array([ranks[writer_id] for writer_id in writers])))
        columns = [column[order] for column in columns]
    return Part(key, *columns)


def _left(writers: Sequence[_Behind], taken: Sequence[_Taken]) -> list[_Behind]:
    """The writers that have more than is taken of them."""
    return [one.writer for one in taken if one.end_seq < one.writer.end_seq] + list(writers[len(taken) :])


def _advanced(read: Read, ended: int, taken: Sequence[_Taken], left: Sequence[_Behind]) -> Read:
    """How far a run is read with what was taken. Attempts that ended and were read whole need no more room."""
    now = dict(read.writers)
    for one in taken:
        now[one.writer.writer_id] = (one.writer.attempt, one.end_seq)
    whole = min([ended, *(writer.attempt - 1 for writer in left)])
    if whole > read.ended:
        now = {writer_id: where for writer_id, where in now.items() if where[0] > whole}
    return Read(max(whole, read.ended), now)


def check_size(position: Position) -> None:
    """Raises `Invalid` when the position has too many writers to be sent with every message."""
    writers = sum(len(read.writers) for read in position.runs.values())
    if writers > WRITERS_MAX:
        raise Invalid(
            f"these runs have {writers} writers", path="runIds", limit=f"{WRITERS_MAX} writers", hint="name fewer runs"
        )
