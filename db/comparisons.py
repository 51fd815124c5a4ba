"""Comparisons: what many runs have of the same keys, in columns; no value becomes an object of its own.

Postgres strings together what each run has, and then what runs with the same keys have, which is taken apart at once.
NUL separates texts, which none in Postgres holds, and a line break separates keys, which no name and no path holds.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np
import orjson
from numpy.typing import NDArray

from db import summaries
from db.access import Scope
from db.errors import Invalid
from db.goals import Goal, MetricGoal
from db.packing import Floats, Ints
from db.params import PER_RUN_MAX
from db.pool import Pool
from db.summaries import Matrices

CELLS_MAX: Final = 2_000_000  # values of a kind in one comparison
BYTES_MAX: Final = 64 * 1024 * 1024  # of their texts
RUNS_AT_ONCE: Final = 500
LONG_BYTES: Final = 32  # of texts on average, from which on each is cut out
GATHERED: Final = 4_096  # short texts that are taken at once: their places stay in the caches
ABSENT: Final = b"null"

Texts = list[str | None]


@dataclass(frozen=True)  # without slots, for what is worked out once
class Column:
    """A key over the compared runs: the text in each, None where there is none."""

    key: str
    texts: Texts

    @cached_property
    def differs(self) -> bool:
        """Whether any two runs differ; a run without the key differs from one with."""
        return _differ(self.texts)


@dataclass(frozen=True)
class ParamColumn:
    """A param over the compared runs: `texts` as `db.params` has them, and the type in each run.

    `strung` has the texts with a NUL behind each, and "null" for a run that has none.
    """

    key: str
    strung: bytes
    types: Texts

    @cached_property
    def texts(self) -> Texts:
        """The text in each run, None where there is none."""
        texts = _taken_apart(self.strung)
        return [None if type_ is None else text for text, type_ in zip(texts, self.types, strict=True)]

    @cached_property
    def kinds(self) -> set[str | None]:
        """The types that there are, and None when a run lacks the param."""
        return set(self.types)

    @cached_property
    def differs(self) -> bool:
        """Whether any two runs differ; 1 and 1.0 do."""
        first = self.strung[: self.strung.find(b"\0") + 1]
        return len(self.kinds) > 1 or self.strung != first * len(self.types)

    def of(self, places: Sequence[int]) -> "ParamColumn":
        """The column of only these runs."""
        texts = self.strung.split(b"\0")
        strung = b"".join([texts[place] + b"\0" for place in places])
        return ParamColumn(self.key, strung, [self.types[place] for place in places])


def _differ(texts: Texts) -> bool:
    return texts != texts[:1] * len(texts)  # which ends at the first that does


# To look each key up among those asked for takes half as long as to read it: a run with fewer than $7 params tells them
# all, and only of a run with more they are looked up.
PARAMS = """
    select keys, types, string_agg(place, '') as places, string_agg(texts, '\\x00'::bytea) as texts
    from (
        select int4send(given.place::integer + $8) as place, found.keys, found.types, found.texts
        from unnest($1::uuid[]) with ordinality as given (run_id, place)
        join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
        cross join lateral (
            select string_agg(key, E'\\n') as keys, string_agg(type, E'\\n') as types,
                string_agg(textsend(text), '\\x00'::bytea) as texts
            from (
                select key, type, text from param
                where param.run_id = given.run_id and ($5 = '' or starts_with(key, $5))
                limit $7
            ) as first
            having count(*) < $7
            union all
            select string_agg(key, E'\\n'), string_agg(type, E'\\n'), string_agg(textsend(text), '\\x00'::bytea)
            from param
            where param.run_id = given.run_id and starts_with(key, $5) and key in (select unnest($6::text[]))
            limit 1
        ) as found
        where found.keys is not null
    ) as of_run
    group by keys, types
"""


async def params(
    pool: Pool, scope: Scope, run_ids: Sequence[UUID], prefix: str = "", keys: Sequence[str] | None = None
) -> list[ParamColumn]:
    """Their params whose keys begin with `prefix` and are among `keys`, by key. Raises `Invalid` for too many."""
    plenty = PER_RUN_MAX + 1 if keys is None else 2 * len(keys) + 1
    rows = await _fetched(pool, "params", PARAMS, run_ids, *scope.sight, prefix, keys, plenty)
    told = _Told("params", rows, len(run_ids), None if keys is None else set(keys))
    return [ParamColumn(key, strung, told.more(key)) for key, strung in zip(told.keys, told.strung, strict=True)]


TAGS = """
    select keys, string_agg(place, '') as places, string_agg(texts, '\\x00'::bytea) as texts
    from (
        select int4send(given.place::integer + $7) as place, found.keys, found.texts
        from unnest($1::uuid[]) with ordinality as given (run_id, place)
        join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
        cross join lateral (
            select string_agg(key, E'\\n') as keys, string_agg(textsend(value), '\\x00'::bytea) as texts
            from tag
            where tag.run_id = given.run_id and value is not null and ($5 = '' or starts_with(key, $5))
                and ($6::text[] is null or key in (select unnest($6)))
        ) as found
        where found.keys is not null
    ) as of_run
    group by keys
"""


async def tags(
    pool: Pool, scope: Scope, run_ids: Sequence[UUID], prefix: str = "", keys: Sequence[str] | None = None
) -> list[Column]:
    """Their tags, by key, as `params` does."""
    rows = await _fetched(pool, "tags", TAGS, run_ids, *scope.sight, prefix, keys)
    return _columns("tags", rows, len(run_ids))


INPUTS = """
    select keys, string_agg(place, '') as places, string_agg(digests, '\\x00'::bytea) as digests
    from (
        select int4send(given.place::integer + $6) as place, found.keys, found.digests
        from unnest($1::uuid[]) with ordinality as given (run_id, place)
        join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
        cross join lateral (
            select string_agg(key, E'\\n' order by key) as keys,
                string_agg(textsend(digests), '\\x00'::bytea order by key) as digests
            from (
                select case context when '' then name else name || ' (' || context || ')' end collate "C" as key,
                    string_agg(digest, ', ' order by digest collate "C") as digests
                from run_input
                join dataset on dataset.id = run_input.dataset_id
                where run_input.run_id = given.run_id
                group by 1
            ) as told
            where $5 = '' or starts_with(key, $5)
        ) as found
        where found.keys is not null
    ) as of_run
    group by keys
"""


async def inputs(pool: Pool, scope: Scope, run_ids: Sequence[UUID], prefix: str = "") -> list[Column]:
    """The digests of their datasets, by name and context; several of one name stand together."""
    rows = await _fetched(pool, "inputs", INPUTS, run_ids, *scope.sight, prefix)
    return _columns("inputs", rows, len(run_ids))


ARTIFACTS = """
    select paths, string_agg(place, '') as places, string_agg(digests, '\\x00'::bytea) as digests
    from (
        select int4send(given.place::integer + $6) as place, found.paths, found.digests
        from unnest($1::uuid[]) with ordinality as given (run_id, place)
        join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
        cross join lateral (
            select string_agg(path, E'\\n') as paths,
                string_agg(textsend('sha256:' || encode(digest, 'hex')), '\\x00'::bytea) as digests
            from artifact
            where artifact.run_id = given.run_id and state = 'READY' and path >= $5 and starts_with(path, $5)
        ) as found
        where found.paths is not null
    ) as of_run
    group by paths
"""


async def artifacts(pool: Pool, scope: Scope, run_ids: Sequence[UUID], prefix: str = "") -> list[Column]:
    """The digests of their READY files, by path, as `params` does."""
    rows = await _fetched(pool, "artifacts", ARTIFACTS, run_ids, *scope.sight, prefix)
    return _columns("artifacts", rows, len(run_ids))


SOURCES = """
    select given.place + $5::integer as place, commit_id as "commit", branch, remote, is_dirty::text as dirty,
        entry_point as "entryPoint", array_to_string(argv, ' ') as argv,
        'sha256:' || encode(patch_digest, 'hex') as "patchDigest"
    from unnest($1::uuid[]) with ordinality as given (run_id, place)
    join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    join source on source.run_id = run.id and source.attempt = run.attempt
"""


async def sources(pool: Pool, scope: Scope, run_ids: Sequence[UUID]) -> list[Column]:
    """What their newest attempts ran: what any of them told, by key."""
    return _of_rows(await _fetched(pool, "sources", SOURCES, run_ids, *scope.sight), len(run_ids))


ENVIRONMENTS = """
    select given.place + $5::integer as place, python, platform, hostname,
        cpu_count::text as "cpuCount", memory_bytes::text as "memoryBytes",
        nullif(array_to_string(gpus, ', '), '') as gpus, packages::text as packages
    from unnest($1::uuid[]) with ordinality as given (run_id, place)
    join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    join environment on environment.run_id = run.id and environment.attempt = run.attempt
"""


@dataclass(frozen=True)
class Environments:
    """What runs ran on; a package is a column of its own, by its name, with its versions."""

    machines: list[Column]
    packages: list[Column]

    @cached_property
    def columns(self) -> list[Column]:
        """All of it, by key; a package has the key `package <name>`."""
        packages = [Column(f"package {package.key}", package.texts) for package in self.packages]
        return sorted([*self.machines, *packages], key=lambda column: column.key)


async def environments(pool: Pool, scope: Scope, run_ids: Sequence[UUID]) -> Environments:
    """What their newest attempts ran on: what any of them told, by key. Raises `Invalid` for too many packages."""
    rows = await _fetched(pool, "environments", ENVIRONMENTS, run_ids, *scope.sight)
    numbers: dict[str, int] = {}
    installed = np.zeros(len(run_ids), np.int64)  # 0 is nothing
    for row in rows:
        installed[row["place"]] = numbers.setdefault(row["packages"], len(numbers) + 1)
    sets = [{}, *map(orjson.loads, numbers)]
    names = sorted({name for packages in sets for name in packages})
    require_cells("packages", len(names), len(run_ids))
    packages = [
        Column(name, np.array([packages.get(name) for packages in sets], object)[installed].tolist()) for name in names
    ]
    return Environments(_of_rows(rows, len(run_ids), but="packages"), packages)


class PackageChange(StrEnum):
    """What became of a package."""

    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"


def package_changes(package: Column, baseline: int) -> list[PackageChange | None]:
    """What became of it in each run against the run at `baseline`; None where nothing did."""
    before = package.texts[baseline]
    return [
        None
        if version == before
        else PackageChange.ADDED
        if before is None
        else PackageChange.REMOVED
        if version is None
        else PackageChange.CHANGED
        for version in package.texts
    ]


async def metrics(
    pool: Pool,
    scope: Scope,
    run_ids: Sequence[UUID],
    prefix: str = "",
    keys: Collection[str] | None = None,
    numbers: Collection[str] = summaries.NUMBERS.keys(),
) -> Matrices:
    """Their series whose keys begin with `prefix` and are among `keys`, with these `numbers`, the others may be NaN.

    Raises `Invalid` for too many.
    """
    return await summaries.matrices(
        pool,
        scope,
        run_ids,
        lambda key: key.startswith(prefix) and (keys is None or key in keys),
        lambda count: require_cells("metrics", count, len(run_ids)),
        numbers,
    )


def differing(found: Matrices) -> NDArray[np.bool_]:
    """Whether the last values of a key differ; NaN is as NaN, and a run without the metric differs from one with."""
    bits = np.where(np.isnan(found.lasts), np.nan, found.lasts).view("<i8")
    differs: NDArray[np.bool_] = (bits != bits[:, :1]).any(axis=1) | (found.has != found.has[:, :1]).any(axis=1)
    return differs


def deltas(found: Matrices, baseline: int) -> tuple[Floats, NDArray[np.bool_]]:
    """The last values minus those of the run at `baseline`, and where there are both."""
    with np.errstate(invalid="ignore", over="ignore"):
        return found.lasts - found.lasts[:, [baseline]], found.has & found.has[:, [baseline]]


def relative_deltas(found: Matrices, baseline: int) -> tuple[Floats, NDArray[np.bool_]]:
    """The deltas as parts of the baseline's absolute value, and where that is finite and not zero."""
    bases = found.lasts[:, [baseline]]
    differences, has = deltas(found, baseline)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return differences / np.abs(bases), has & np.isfinite(bases) & (bases != 0)


def best_places(values: Floats, has: NDArray[np.bool_], *, largest: NDArray[np.bool_]) -> Ints:
    """For each key the first run with the largest value, or the smallest; -1 where there is none but NaN."""
    signed = np.where(largest[:, None], values, -values)
    is_number = has & ~np.isnan(signed)
    best = np.where(is_number, signed, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(is_number.any(axis=1), (is_number & (signed == best)).argmax(axis=1), -1)


def better(found: Matrices, baseline: int, *, largest: NDArray[np.bool_]) -> Ints:
    """1 where the last value is better than that of the run at `baseline`, -1 where it is worse, 0 where neither."""
    lasts, bases = found.lasts, found.lasts[:, [baseline]]
    rises = np.where(found.has & found.has[:, [baseline]], (lasts > bases).astype("<i8") - (lasts < bases), 0)
    return np.where(largest[:, None], rises, -rises)


def agreed_goals(found: Matrices, project_ids: Sequence[UUID], declared: Iterable[MetricGoal]) -> list[Goal | None]:
    """For each key the goal that all projects declare whose runs have it; `project_ids` has the project of each run."""
    numbers = {project_id: number for number, project_id in enumerate(dict.fromkeys(project_ids))}
    of_run = np.array([numbers[project_id] for project_id in project_ids])
    by_key: dict[str, dict[int, Goal]] = {}
    for each in declared:
        by_key.setdefault(each.key, {})[numbers[each.project_id]] = each.goal
    agreed: list[Goal | None] = []
    for key, has in zip(found.keys, found.has, strict=True):
        goals_told = by_key.get(key)
        asked = {goals_told.get(number) for number in np.unique(of_run[has]).tolist()} if goals_told else {None}
        agreed.append(asked.pop() if len(asked) == 1 else None)
    return agreed


async def _fetched(
    pool: Pool, kind: str, statement: str, run_ids: Sequence[UUID], *arguments: Any
) -> list[asyncpg.Record]:
    """What the statement says of the runs, whose places are from 0. Raises `Invalid` when it is too much.

    Two statements at once: Postgres takes as long for the params of a thousand runs as the rest of their frame takes.
    """
    found: list[asyncpg.Record] = []
    size_bytes = 0

    async def fetch(starts: Iterable[int]) -> None:
        nonlocal size_bytes
        for start in starts:
            try:
                rows = await pool.fetch(statement, run_ids[start : start + RUNS_AT_ONCE], *arguments, start - 1)
            except asyncpg.ProgramLimitExceededError as error:  # a text of more than a gigabyte
                raise _too_large(kind) from error
            size_bytes += sum(len(row[-1] or "") for row in rows)
            if size_bytes > BYTES_MAX:
                raise _too_large(kind)
            found.extend(rows)

    starts = range(0, len(run_ids), RUNS_AT_ONCE)
    await asyncio.gather(fetch(starts[::2]), fetch(starts[1::2]))
    return found


def _too_large(kind: str) -> Invalid:
    return Invalid(
        f"the {kind} of these runs have more than {BYTES_MAX} bytes",
        path="select",
        limit=f"{BYTES_MAX} bytes of a kind",
        hint="compare fewer runs, or only keys with a prefix",
    )


class _Told:
    """Keys and texts of runs, of rows (keys, more that belongs to them ..., places, texts) as Postgres strings them.

    Runs that were told the same but for their texts are a group. No text becomes an object here.
    """

    def __init__(
        self, kind: str, rows: Iterable[asyncpg.Record], runs: int, wanted: Collection[str] | None = None
    ) -> None:
        """Only the keys that are wanted, or all. Raises `Invalid` for too many values."""
        groups: dict[tuple[str, ...], tuple[list[bytes], list[bytes]]] = {}
        for *same, places, texts in rows:
            of_places, of_texts = groups.setdefault(tuple(same), ([], []))
            of_places.append(places)
            of_texts.append(texts)
        self._same = [[told.split("\n") for told in same] for same in groups]
        told = {key for keys, *_ in self._same for key in keys}
        self.keys = sorted(told if wanted is None else told.intersection(wanted))
        require_cells(kind, len(self.keys), runs)
        self._group_at = np.full(runs, len(groups))  # one more for runs that were told nothing
        at = np.full((len(self.keys), len(groups) + 1), -1)  # where a group has a key, -1 where it has not
        first_at = np.zeros(runs, "<i8")  # the number of the first text of a run among all
        count = 0
        for group, ((keys, *_), (of_places, _)) in enumerate(zip(self._same, groups.values(), strict=True)):
            places = np.frombuffer(b"".join(of_places), ">i4")
            self._group_at[places] = group
            first_at[places] = count + np.arange(len(places)) * len(keys)
            count += len(places) * len(keys)
            number_of = dict(zip(keys, range(len(keys)), strict=True))
            at[:, group] = [number_of.get(key, -1) for key in self.keys]
        of_runs = at[:, self._group_at]
        texts = b"\0".join([*chain.from_iterable(of_texts for _, of_texts in groups.values()), ABSENT, b""])
        self.strung = _strung(texts, np.where(of_runs < 0, count, first_at + of_runs))
        self._is_there = of_runs >= 0
        self._more = [[dict(zip(keys, of_keys, strict=True)) for of_keys in more] for keys, *more in self._same]

    def texts(self, number: int) -> Texts:
        """What each run has of the key of this number, None where it has none."""
        texts = _taken_apart(self.strung[number])
        return [
            text if is_there else None for text, is_there in zip(texts, self._is_there[number].tolist(), strict=True)
        ]

    def more(self, key: str, number: int = 0) -> Texts:
        """For each run the first, second ... of what belongs to the key besides, None where it has none."""
        of_groups = np.array([*(more[number].get(key) for more in self._more), None], object)
        texts: Texts = of_groups[self._group_at].tolist()
        return texts


def _taken_apart(strung: bytes) -> list[str]:
    return strung[:-1].decode().split("\0")


def _strung(texts: bytes, numbers: Ints) -> list[bytes]:
    """For each row of numbers the texts that have them, in their order; a NUL stands behind each, here and there."""
    ends = np.flatnonzero(np.frombuffer(texts, np.uint8) == 0) + 1
    starts = np.append(0, ends[:-1])
    lengths = (ends - starts)[numbers]
    whole = _gathered(texts, starts[numbers].ravel(), lengths.ravel())
    cuts = np.cumsum(lengths.sum(axis=1)).tolist()
    return [whole[start:end] for start, end in pairwise([0, *cuts])]


def _gathered(texts: bytes, starts: Ints, lengths: Ints) -> bytes:
    """The parts of the texts that start there and are as long, one behind the other.

    Long ones are cut out one by one. Short ones are taken byte by byte, some at a time, a third of the work.
    """
    if lengths.sum() > LONG_BYTES * len(lengths):
        parts = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
        return b"".join([texts[start:end] for start, end in parts])
    letters = np.frombuffer(texts, np.uint8)
    pieces = []
    for first in range(0, len(starts), GATHERED):
        sizes = lengths[first : first + GATHERED]
        ends = np.cumsum(sizes)
        at = np.repeat(starts[first : first + GATHERED] - ends + sizes, sizes) + np.arange(ends[-1])
        pieces.append(letters[at].tobytes())
    return b"".join(pieces)


def _columns(kind: str, rows: Iterable[asyncpg.Record], runs: int) -> list[Column]:
    """Columns, by key, of rows (keys, places, texts)."""
    told = _Told(kind, rows, runs)
    return [Column(key, told.texts(number)) for number, key in enumerate(told.keys)]


def _of_rows(rows: Sequence[asyncpg.Record], runs: int, *, but: str = "") -> list[Column]:
    """Columns, by key, of rows with `place` and a text for each key, without those that nobody told."""
    columns = []
    for key in sorted(set(rows[0].keys()) - {"place", but}) if rows else []:
        texts: Texts = [None] * runs
        for row in rows:
            texts[row["place"]] = row[key]
        if any(text is not None for text in texts):
            columns.append(Column(key, texts))
    return columns


def require_cells(kind: str, keys: int, runs: int) -> None:
    """Raises `Invalid` when the columns of so many keys have too many values."""
    if keys * runs > CELLS_MAX:
        raise Invalid(
            f"{runs} runs with {keys} {kind} have {keys * runs} values",
            path="select",
            limit=f"{CELLS_MAX} values of a kind",
            hint="compare fewer runs, or only keys with a prefix",
        )
