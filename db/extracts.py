"""Extracts: what many runs recorded, a bounded number of bytes at a time.

The runs are given: who reads was shown them. What a run recorded before its end is the same whenever it is read; of one
that goes on, each part is as it was when it was read.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import numpy as np

from db import chunks, packing
from db.packing import Floats, Ints
from db.pool import Conn

BYTES: Final = 4 << 20  # read at once, unless one row has more
ROWS_MAX: Final = 5_000
STORED_MAX: Final = 2_000  # blocks and chunks read at once
KEYS_KEPT_MAX: Final = 100_000

NOBODY: Final = UUID(int=0)


WEIGHTS = """
    select given.run_id,
        coalesce((
            select sum(octet_length(key) + octet_length(value)) from tag
            where tag.run_id = given.run_id and value is not null
        ), 0)::bigint + coalesce((
            select sum(octet_length(array_to_string(argv, ''))) from source where source.run_id = given.run_id
        ), 0)::bigint + coalesce((
            select sum(octet_length(array_to_string(gpus, ''))) from environment
            where environment.run_id = given.run_id
        ), 0)::bigint as bytes,
        coalesce((
            select sum(keyset.size) from run_keyset join keyset on keyset.id = run_keyset.keyset_id
            where run_keyset.run_id = given.run_id
        ), 0)::bigint as series
    from unnest($1::uuid[]) with ordinality as given (run_id, number)
    order by given.number
"""


async def groups(conn: Conn, run_ids: Sequence[UUID], *, bytes_max: int, series_max: int) -> list[list[UUID]]:
    """The runs in groups, in their order; no group but of one run has more bytes of texts, or more series."""
    found: list[list[UUID]] = []
    bytes_left = series_left = 0
    for row in await conn.fetch(WEIGHTS, run_ids):
        bytes_left, series_left = bytes_left - row["bytes"], series_left - row["series"]
        if not found or bytes_left < 0 or series_left < 0:
            found.append([])
            bytes_left, series_left = bytes_max - row["bytes"], series_max - row["series"]
        found[-1].append(row["run_id"])
    return found


ABOUT = """
    select run.id, experiment.name as experiment, account.name as user,
        source.commit_id as source_commit, source.branch as source_branch, source.remote as source_remote,
        source.is_dirty as source_dirty, source.entry_point as source_entry_point, source.argv as source_argv,
        source.patch_digest as source_patch_digest,
        environment.python, environment.platform, environment.hostname, environment.cpu_count,
        environment.memory_bytes, coalesce(environment.gpus, '{}') as gpus
    from run
    join experiment on experiment.id = run.experiment_id
    join account on account.id = run.created_by
    left join source on source.run_id = run.id and source.attempt = run.attempt
    left join environment on environment.run_id = run.id and environment.attempt = run.attempt
    where run.id = any($1::uuid[])
"""


async def about(conn: Conn, run_ids: Sequence[UUID]) -> dict[UUID, asyncpg.Record]:
    """Of each run who started it and what its newest attempt ran on, without packages."""
    return {row["id"]: row for row in await conn.fetch(ABOUT, run_ids)}


# Each of these is read page by page: behind ($2, $3) = (run, place), at most $4 rows, and no more than begins within
# the first $5 bytes.

PARAMS = """
    select run_id, place, key, type, text, number
    from (
        select run_id, key as place, key, type, text, number,
            sum(octet_length(text)) over (order by run_id, key) - octet_length(text) as before
        from param
        where run_id = any($1::uuid[]) and (run_id, key) > ($2::uuid, $3::text)
        order by run_id, key
        limit $4
    ) as first
    where before < $5
"""

TAGS = """
    select run_id, place, key, value, changed_at, changed_by
    from (
        select tag.run_id, tag.key as place, tag.key, tag.value, tag.changed_at, account.name as changed_by,
            sum(octet_length(tag.value)) over (order by tag.run_id, tag.key) - octet_length(tag.value) as before
        from tag
        join account on account.id = tag.changed_by
        where tag.run_id = any($1::uuid[]) and tag.value is not null and (tag.run_id, tag.key) > ($2::uuid, $3::text)
        order by tag.run_id, tag.key
        limit $4
    ) as first
    where before < $5
"""

INPUTS = """
    select run_id, place, name, digest, context, uri, attempt
    from (
        select run_input.run_id, run_input.dataset_id || run_input.context as place, dataset.name, dataset.digest,
            run_input.context, dataset.uri, run_input.attempt,
            sum(coalesce(octet_length(dataset.uri), 0)) over before - coalesce(octet_length(dataset.uri), 0) as before
        from run_input
        join dataset on dataset.id = run_input.dataset_id
        where run_input.run_id = any($1::uuid[])
            and (run_input.run_id, run_input.dataset_id || run_input.context) > ($2::uuid, $3::text)
        window before as (order by run_input.run_id, run_input.dataset_id || run_input.context)
        order by run_input.run_id, run_input.dataset_id || run_input.context
        limit $4
    ) as first
    where before < $5
"""

ARTIFACTS = """
    select run_id, place, path, digest, size_bytes, media_type, attempt, created_at
    from (
        select run_id, path as place, path, digest, size_bytes, media_type, attempt, created_at,
            sum(octet_length(path)) over (order by run_id, path) - octet_length(path) as before
        from artifact
        where run_id = any($1::uuid[]) and state = 'READY' and (run_id, path) > ($2::uuid, $3::text collate "C")
        order by run_id, path
        limit $4
    ) as first
    where before < $5
"""

# Those of the newest attempt; a run is one row.
PACKAGES = """
    select run_id, place, packages
    from (
        select run.id as run_id, 'x' as place, environment.packages::text as packages,
            sum(pg_column_size(environment.packages)) over (order by run.id) - pg_column_size(environment.packages)
                as before
        from run
        join environment on environment.run_id = run.id and environment.attempt = run.attempt
        where run.id = any($1::uuid[]) and (run.id, 'x') > ($2::uuid, $3::text)
        order by run.id
        limit $4
    ) as first
    where before < $5 / 8
"""


async def rows(conn: Conn, statement: str, run_ids: Sequence[UUID]) -> AsyncIterator[list[asyncpg.Record]]:
    """What `statement`, one of those above, says of the runs, by run and place."""
    run_id, place = NOBODY, ""
    while found := await conn.fetch(statement, run_ids, run_id, place, ROWS_MAX, BYTES):
        yield found
        run_id, place = found[-1]["run_id"], found[-1]["place"]


@dataclass(frozen=True, slots=True)
class Points:
    """Points of a run as they were stored together: each step has a value of each key."""

    run_id: UUID
    attempt: int
    keys: Sequence[str]
    steps: Ints
    times: Ints
    values: Floats  # a row for each key


# Streams one after the other, each in the order of its blocks, whether these are compacted or not: a position is the
# stream and the seq behind the last block that was read. One snapshot, so that no block is missed and none comes twice.
STORED = """
    with piece as (
        select run_id, keyset_id, writer_id, first_seq, upper(seqs) as end_seq, attempt, n, seqs, sizes,
            steps, times, narrow, vals, 200 + length(steps) + length(times) + length(vals) as bytes
        from chunk
        where run_id = any($1::uuid[]) and (run_id, keyset_id, writer_id, upper(seqs)) > ($2::uuid, $3, $4::uuid, $5)
        union all
        select run_id, keyset_id, writer_id, seq, seq + 1, attempt, n, null, null,
            steps, times, null, vals, 200 + length(steps) + length(times) + length(vals)
        from block
        where run_id = any($1::uuid[]) and (run_id, keyset_id, writer_id, seq + 1) > ($2::uuid, $3, $4::uuid, $5)
    )
    select run_id, keyset_id, writer_id, end_seq, attempt, n, seqs, sizes, steps, times, narrow, vals
    from (
        select *, sum(bytes) over (order by run_id, keyset_id, writer_id, end_seq) - bytes as before
        from piece
        order by run_id, keyset_id, writer_id, end_seq
        limit $6
    ) as first
    where before < $7
    order by run_id, keyset_id, writer_id, end_seq
"""

KEYSETS = """
    select id, keys from keyset where id = any($1::bigint[])
"""


class PointReader:
    """Reads the points of runs; it remembers the keys of keysets, which many runs share."""

    def __init__(self) -> None:
        self._keys: dict[int, list[str]] = {}
        self._kept = 0

    async def read(self, conn: Conn, run_ids: Sequence[UUID]) -> AsyncIterator[list[Points]]:
        """All points of the runs, in pages."""
        at = (NOBODY, 0, NOBODY, 0)
        left = sorted(run_ids)
        while left and (found := await conn.fetch(STORED, left, *at, STORED_MAX, BYTES)):
            await self._learn(conn, {row["keyset_id"] for row in found})
            yield self._page(found, at)
            last = found[-1]
            at = (last["run_id"], last["keyset_id"], last["writer_id"], last["end_seq"])
            left = [run_id for run_id in left if run_id >= at[0]]

    async def _learn(self, conn: Conn, keyset_ids: set[int]) -> None:
        unknown = keyset_ids - self._keys.keys()
        if not unknown:
            return
        if self._kept > KEYS_KEPT_MAX:
            self._keys, self._kept, unknown = {}, 0, keyset_ids
        for row in await conn.fetch(KEYSETS, list(unknown)):
            self._keys[row["id"]] = row["keys"]
            self._kept += len(row["keys"])

    def _page(self, found: Sequence[asyncpg.Record], at: tuple[UUID, int, UUID, int]) -> list[Points]:
        """What is stored in the rows; of the stream that was being read, only what is behind the position."""
        page = []
        for row in found:
            stream = (row["run_id"], row["keyset_id"], row["writer_id"])
            page.append(_points(row, self._keys[row["keyset_id"]], at[3] if stream == at[:3] else 0))
        return page


def _points(row: asyncpg.Record, keys: Sequence[str], first_seq: int) -> Points:
    """The points of a block, or those of a chunk from the block `first_seq` on."""
    count = row["n"]
    if row["narrow"] is None:
        steps, times = np.frombuffer(row["steps"], "<i8"), np.frombuffer(row["times"], "<i8")
        values = np.frombuffer(row["vals"], "<f8").reshape(len(keys), count)
        return Points(row["run_id"], row["attempt"], keys, steps, times, values)
    steps, times = packing.unpack(row["steps"], count), packing.unpack(row["times"], count)
    values = packing.unpack_values(row["narrow"], row["vals"], count)
    if first_seq:
        seqs = chunks.seqs_of(row["seqs"])
        start = int(np.searchsorted(np.repeat(seqs, packing.unpack(row["sizes"], len(seqs))), first_seq))
        steps, times, values = steps[start:], times[start:], values[:, start:]
    return Points(row["run_id"], row["attempt"], keys, steps, times, values)
