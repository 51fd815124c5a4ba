"""Facets: which params, metrics, tags and other fields runs have, for choosing columns."""

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from db import fields, finding, runs, standings
from db.access import Scope
from db.params import ParamType
from db.pool import Connection, Pool
from db.runs import Selection

LOOKED_AT: Final = 1_000  # runs of a selection
KEYS_MAX: Final = 100_000  # that are looked through for one page


class Kind(StrEnum):
    """Where a key lies; keys are listed in the order of their kinds."""

    DATASET = "DATASET"
    METRIC = "METRIC"
    PARAM = "PARAM"
    SOURCE = "SOURCE"
    TAG = "TAG"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that some of the runs have; `types` are those that a param has in them."""

    kind: Kind
    key: str
    types: tuple[ParamType, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of the runs have a key, how many values it has there, and whether any two of the runs differ in it."""

    runs: int
    distinct: int
    differs: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """The runs whose keys are told: all runs of the projects, or these."""

    project_ids: Sequence[UUID]
    run_ids: Sequence[UUID] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which keys: of these kinds, that begin with `prefix` and have `search` in them, whatever its case."""

    kinds: Collection[Kind]
    prefix: str = ""
    search: str = ""
    after: tuple[Kind, str] | None = None

    def start(self, kind: Kind) -> str:
        """No key of the kind that is asked for comes before this."""
        if self.after is None or self.after[0] != kind:
            return self.prefix
        return max(self.prefix, f"{self.after[1]}\x01")  # what comes right behind it

    def has(self, key: Key) -> bool:
        """Whether the key is one of them."""
        return (
            (self.after is None or (key.kind, key.key) > self.after)
            and key.key.startswith(self.prefix)
            and self.search.lower() in key.key.lower()
        )


async def sample(pool: Pool, scope: Scope, selection: Selection) -> Sample:
    """All runs of the projects when they are all selected; else the newest of the selected ones."""
    reach = finding.reach_of(scope, selection.project_id)
    if not selection.conditions() and not reach.own:
        return Sample(reach.projects, None)
    found = await runs.first(pool, scope, selection, limit=LOOKED_AT)
    return Sample(reach.projects, [run.id for run in found])


async def page(pool: Pool, of: Sample, asked: Asked, *, limit: int) -> list[Key]:
    """The first keys, by kind and key, strictly after the key `after`."""
    async with finding.one_view(pool) as conn:
        known = await (_of_projects(conn, of, asked, limit) if of.run_ids is None else _of_runs(conn, of.run_ids))
        fixed = [*(Key(Kind.SOURCE, key) for key in fields.SOURCE), *(Key(Kind.DATASET, key) for key in fields.DATASET)]
        of_kinds = (key for key in {*known, *fixed} if key.kind in asked.kinds and asked.has(key))
        found = heapq.nsmallest(limit, of_kinds, key=lambda key: (key.kind, key.key))
        return found if of.run_ids is not None else await _typed(conn, of, found)


OF_RUNS = """
    select 'PARAM' as kind, key, array_agg(distinct type) as types
    from param
    where run_id = any($1::uuid[])
    group by key
    union all
    select distinct 'METRIC', unnest(keys), array[]::text[]
    from keyset
    where id in (select keyset_id from run_keyset where run_id = any($1))
    union all
    select distinct 'TAG', key, array[]::text[] from tag where run_id = any($1) and value is not null
"""


async def _of_runs(conn: Connection, run_ids: Sequence[UUID]) -> list[Key]:
    rows = await conn.fetch(OF_RUNS, run_ids)
    return [Key(Kind(row["kind"]), row["key"], tuple(ParamType(each) for each in sorted(row["types"]))) for row in rows]


# Each walks from key to key in the indexes by value: behind a key comes first what has one more character.
PARAMS = """
    with recursive known as (
        select null::text collate "C" as key, $2::text collate "C" as start, 0 as number
        union all
        select next.key, next.key || chr(1), known.number + 1
        from known
        cross join lateral (
            select min(first.key) as key
            from unnest($1::uuid[]) as project (id)
            cross join lateral (
                (
                    select key collate "C" as key from param
                    where project_id = project.id and key collate "C" >= known.start and number is not null
                    order by key collate "C" limit 1
                )
                union all
                (
                    select key collate "C" as key from param
                    where project_id = project.id and key collate "C" >= known.start
                        and number is null and type <> 'NULL'
                        and char_length(text) <= 100
                    order by key collate "C" limit 1
                )
                union all
                (
                    select key collate "C" as key from param
                    where project_id = project.id and key collate "C" >= known.start
                        and number is null and type <> 'NULL'
                        and char_length(text) > 100
                    order by key collate "C" limit 1
                )
            ) as first
        ) as next
        where starts_with(next.key, $3) and known.number < $4
    )
    select key from known where number > 0 and strpos(lower(key), lower($5)) > 0 limit $6
"""

METRICS = """
    with recursive known as (
        select null::text collate "C" as key, $2::text collate "C" as start, 0 as number
        union all
        select next.key, next.key || chr(1), known.number + 1
        from known
        cross join lateral (
            select min(first.key) as key
            from unnest($1::uuid[]) as project (id)
            cross join lateral (
                (
                    select key collate "C" as key from metric
                    where project_id = project.id and key collate "C" >= known.start
                        and (min <> last or max <> last or min is null)
                    order by key collate "C" limit 1
                )
                union all
                (
                    select key collate "C" as key from metric
                    where project_id = project.id and key collate "C" >= known.start and min = last and max = last
                    order by key collate "C" limit 1
                )
            ) as first
        ) as next
        where starts_with(next.key, $3) and known.number < $4
    )
    select key from known where number > 0 and strpos(lower(key), lower($5)) > 0 limit $6
"""

TAGS = """
    with recursive known as (
        select null::text collate "C" as key, $2::text collate "C" as start, 0 as number
        union all
        select next.key, next.key || chr(1), known.number + 1
        from known
        cross join lateral (
            select min(first.key) as key
            from unnest($1::uuid[]) as project (id)
            cross join lateral (
                (
                    select key collate "C" as key from tag
                    where project_id = project.id and key collate "C" >= known.start and char_length(value) <= 100
                    order by key collate "C" limit 1
                )
                union all
                (
                    select key collate "C" as key from tag
                    where project_id = project.id and key collate "C" >= known.start and char_length(value) > 100
                    order by key collate "C" limit 1
                )
            ) as first
        ) as next
        where starts_with(next.key, $3) and known.number < $4
    )
    select key from known where number > 0 and strpos(lower(key), lower($5)) > 0 limit $6
"""

WALKS: Final = {Kind.PARAM: PARAMS, Kind.METRIC: METRICS, Kind.TAG: TAGS}

LOGGED = """
    select distinct unnest(keys) as key
    from keyset
    where id in (select keyset_id from run_keyset where run_id = any($1::uuid[]))
"""


async def _of_projects(conn: Connection, of: Sample, asked: Asked, limit: int) -> list[Key]:
    """All keys of runs that are compacted, and those of runs that log right now."""
    found = []
    for kind in sorted(WALKS.keys() & set(asked.kinds)):
        if asked.after is None or kind >= asked.after[0]:
            start = asked.start(kind)
            rows = await conn.fetch(WALKS[kind], of.project_ids, start, asked.prefix, KEYS_MAX, asked.search, limit)
            found += [Key(kind, row["key"]) for row in rows]
    if Kind.METRIC in asked.kinds:
        live = await standings.live(conn, of.project_ids)
        found += [Key(Kind.METRIC, row["key"]) for row in await conn.fetch(LOGGED, list(live))]
    return found


# The kinds of the least and the greatest values.
TYPES = """
    select given.key, array_agg(distinct seen.type) as types
    from unnest($2::text[]) as given (key)
    cross join unnest($1::uuid[]) as project (id)
    cross join lateral (
        (
            select type from param
            where project_id = project.id and key collate "C" = given.key and number is not null
            order by number limit $3
        ) union all (
            select type from param
            where project_id = project.id and key collate "C" = given.key and number is not null
            order by number desc limit $3
        ) union all (
            select type from param
            where project_id = project.id and key collate "C" = given.key and number is null and type <> 'NULL'
                and char_length(text) <= 100
            order by text collate "C" limit $3
        ) union all (
            select type from param
            where project_id = project.id and key collate "C" = given.key and number is null and type <> 'NULL'
                and char_length(text) <= 100
            order by text collate "C" desc limit $3
        ) union all (
            select type from param
            where project_id = project.id and key collate "C" = given.key and number is null and type <> 'NULL'
                and char_length(text) > 100
            limit $3
        )
    ) as seen
    group by given.key
"""
TYPED_BY: Final = 50  # values from either end


async def _typed(conn: Connection, of: Sample, keys: Sequence[Key]) -> list[Key]:
    """The keys, params with their types."""
    params = [key.key for key in keys if key.kind is Kind.PARAM]
    rows = await conn.fetch(TYPES, of.project_ids, params, TYPED_BY) if params else []
    types = {row["key"]: tuple(ParamType(each) for each in row["types"]) for row in rows}
    return [Key(key.kind, key.key, types.get(key.key, ()) if key.kind is Kind.PARAM else ()) for key in keys]


COUNTS = """
    select 'PARAM' as kind, key, count(*) as runs, count(distinct (type, text)) as distinct
    from param
    where run_id = any($1::uuid[]) and key = any($2::text[]) and type <> 'NULL'
    group by key
    union all
    select 'METRIC', key, count(*), count(distinct last)
    from (
        select key, last from metric where run_id = any($1) and key = any($3) and not run_id = any($5::uuid[])
        union all
        select key, last
        from unnest($6::uuid[], $7::text[], $8::float8[]) as given (run_id, key, last)
        where run_id = any($1)
    ) as stands
    group by key
    union all
    select 'TAG', key, count(*), count(distinct value)
    from tag
    where run_id = any($1) and key = any($4) and value is not null
    group by key
    union all
    select 'SOURCE', told.key, count(*), count(distinct told.value)
    from run
    join source on source.run_id = run.id and source.attempt = run.attempt
    cross join lateral (
        values ('commit', commit_id), ('branch', branch), ('remote', remote), ('dirty', is_dirty::text),
            ('entryPoint', entry_point)
    ) as told (key, value)
    where run.id = any($1) and told.value is not null
    group by told.key
    union all
    select 'DATASET', told.key, count(distinct run_input.run_id), count(distinct told.value)
    from run_input
    join dataset on dataset.id = run_input.dataset_id
    cross join lateral (
        values ('name', dataset.name), ('digest', dataset.digest), ('context', nullif(run_input.context, ''))
    ) as told (key, value)
    where run_input.run_id = any($1) and told.value is not null
    group by told.key
"""


async def counts(pool: Pool, scope: Scope, selection: Selection, of: Sample, keys: Sequence[Key]) -> list[Counts]:
    """For each key its counts in the newest runs of the selection."""
    run_ids = of.run_ids
    if run_ids is None:
        run_ids = [run.id for run in await runs.first(pool, scope, selection, limit=LOOKED_AT)]
    of_kinds = [[key.key for key in keys if key.kind is kind] for kind in (Kind.PARAM, Kind.METRIC, Kind.TAG)]
    async with finding.one_view(pool) as conn:
        live, stand = await standings.of_live(conn, scope, of.project_ids, of_kinds[1]) if of_kinds[1] else ([], [])
        given = [[one[0] for one in stand], [one[1] for one in stand], [one[5] for one in stand]]
        rows = await conn.fetch(COUNTS, run_ids, *of_kinds, live, *given)
    found = {
        (row["kind"], row["key"]): Counts(
            row["runs"], row["distinct"], row["distinct"] > 1 or 0 < row["runs"] < len(run_ids)
        )
        for row in rows
    }
    return [found.get((key.kind, key.key), Counts(0, 0, differs=False)) for key in keys]
