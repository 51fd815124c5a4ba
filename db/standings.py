"""Standings: how each metric of a run stands, a row of `metric` for a key. Filters and orders see metrics through them.

They are written with the tallies that they follow from, so they lack the blocks that are not compacted yet: of runs
that log right now, what is asked is summed up when it is asked.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np

from db import summaries, tallies
from db.access import Scope
from db.pool import Connection
from db.tallies import Place

AT_ONCE: Final = 50_000  # that one statement writes: runs may have 10,000 each
LIVE_MAX: Final = 1_000  # runs that are summed up for one question; what others logged within a minute is left out

Standing = tuple[UUID, str, UUID, int, float, float, float | None, float | None]  # the columns of `PUT`

TALLIES = """
    select tally.run_id, tally.keyset_id, tally.count, tally.first_step, tally.first_attempt, tally.first_received_ms,
        tally.first_writer_id, tally.first_seq, tally.last_step, tally.last_attempt, tally.last_received_ms,
        tally.last_writer_id, tally.last_seq, tally.stats, run.project_id
    from unnest($1::uuid[]) as given (run_id)
    join run on run.id = given.run_id
    join tally on tally.run_id = given.run_id
"""

KEYSETS = """
    select id, keys from keyset where id = any($1::bigint[])
"""

# What did not change is not written.
PUT = """
    insert into metric (run_id, key, project_id, count, first, last, min, max)
    select run_id, key, project_id, count, first, last, min, max
    from unnest(
        $1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::float8[], $6::float8[], $7::float8[], $8::float8[]
    ) as given (run_id, key, project_id, count, first, last, min, max)
    on conflict (run_id, key) do update
    set count = excluded.count, first = excluded.first, last = excluded.last, min = excluded.min, max = excluded.max
    where (metric.count, metric.first, metric.last, metric.min, metric.max)
        is distinct from (excluded.count, excluded.first, excluded.last, excluded.min, excluded.max)
"""


async def put(conn: Connection, run_ids: Collection[UUID]) -> None:
    """Write what the tallies of these runs say, in the caller's transaction, which keeps others away."""
    rows = await conn.fetch(TALLIES, list(run_ids))
    keys = {row["id"]: row["keys"] for row in await conn.fetch(KEYSETS, list({row["keyset_id"] for row in rows}))}
    standings = _standings(rows, keys)
    while found := list(islice(standings, AT_ONCE)):
        await conn.execute(PUT, *(list(column) for column in zip(*found, strict=True)))


def _standings(rows: Sequence[asyncpg.Record], keys_of: dict[int, list[str]]) -> Iterator[Standing]:
    """One for each run and key. Most runs have one keyset; of the others a key may be in several."""

    def size(row: asyncpg.Record) -> int:
        return len(keys_of[row["keyset_id"]])

    keysets = Counter(row["run_id"] for row in rows)
    several: dict[tuple[UUID, str], list[tuple[Place, Place, Standing]]] = {}
    for keys, same in groupby(sorted(rows, key=size), key=size):
        while some := list(islice(same, max(1, AT_ONCE // keys))):
            for row, tally, found in _of_tallies(some, keys_of):
                if keysets[row["run_id"]] == 1:
                    yield from found
                    continue
                first, last = Place(*tally[1:6]), Place(*tally[6:11])
                for standing in found:
                    several.setdefault(standing[:2], []).append((first, last, standing))
    for parts in several.values():
        yield _merged(parts)


def _of_tallies(
    rows: Sequence[asyncpg.Record], keys_of: dict[int, list[str]]
) -> Iterator[tuple[asyncpg.Record, tuple[Any, ...], list[Standing]]]:
    """The standings of each row, of as many keys each, with what the row says."""
    told = [summaries.tally_of(row) for row in rows]
    whole = tallies.unpacked(told)
    columns = [whole.first_values, whole.last_values, whole.lows, whole.highs]
    numbers = [column.T.tolist() for column in columns]
    for row, tally, *of_row in zip(rows, told, *numbers, strict=True):
        run_id, project_id, count = row["run_id"], row["project_id"], tally[0]
        yield (
            row,
            tally,
            [
                (run_id, key, project_id, count, first, last, *((low, high) if low == low else (None, None)))
                for key, first, last, low, high in zip(keys_of[row["keyset_id"]], *of_row, strict=True)
            ],
        )


def _merged(parts: Sequence[tuple[Place, Place, Standing]]) -> Standing:
    """The standing of a key over several keysets."""
    run_id, key, project_id, *_ = parts[0][2]
    standings = [standing for _, _, standing in parts]
    _, _, begins = min(parts, key=lambda part: part[0])
    _, _, ends = max(parts, key=lambda part: part[1])
    lows = [low for *_, low, _ in standings if low is not None]
    highs = [high for *_, high in standings if high is not None]
    count = sum(standing[3] for standing in standings)
    return run_id, key, project_id, count, begins[4], ends[5], min(lows, default=None), max(highs, default=None)


# Walks from run to run in the index.
LOGGING = """
    with recursive logged as (
        (select run_id from block order by run_id limit 1)
        union all
        select (select block.run_id from block where block.run_id > logged.run_id order by block.run_id limit 1)
        from logged
        where logged.run_id is not null
    )
    select run.id, run.project_id
    from logged
    cross join lateral (select id, project_id from run where run.id = logged.run_id offset 0) as run
    where run.project_id = any($1::uuid[])
    limit $2
"""


async def live(conn: Connection, project_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The runs of these projects with blocks that are not compacted, and their projects."""
    return {row["id"]: row["project_id"] for row in await conn.fetch(LOGGING, project_ids, LIVE_MAX)}


async def of_live(
    conn: Connection, scope: Scope, project_ids: Sequence[UUID], keys: Collection[str]
) -> tuple[list[UUID], list[Standing]]:
    """The runs of these projects with blocks that are not compacted, and how these metrics of theirs stand now."""
    projects = await live(conn, project_ids)
    if not projects:
        return [], []
    run_ids = list(projects)
    found = await summaries.live_matrices(conn, scope, run_ids, wanted=set(keys).__contains__)
    standings: list[Standing] = []
    for row, place in zip(*np.nonzero(found.has), strict=True):
        low = float(found.lows[row, place])
        has = low == low
        standings.append(
            (
                run_ids[place],
                found.keys[row],
                projects[run_ids[place]],
                int(found.counts[row, place]),
                float(found.firsts[row, place]),
                float(found.lasts[row, place]),
                low if has else None,
                float(found.highs[row, place]) if has else None,
            )
        )
    return run_ids, standings
