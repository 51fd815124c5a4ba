"""Comparisons: what many runs have of the same keys, in columns; no value becomes an object of its own.

Postgres strings together what each run has; runs with the same keys are taken apart at once. NUL separates, which no
text in Postgres holds.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from operator import itemgetter
from typing import Any, Final, TypeVar
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
from db.pool import Conn
from db.summaries import Matrices

CELLS_MAX: Final = 2_000_000  # values of a kind in one comparison
BYTES_MAX: Final = 64 * 1024 * 1024  # of their texts
RUNS_AT_ONCE: Final = 250

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
class ParamColumn(Column):
    """A param over the compared runs: `texts` as `db.params` has them, and the type in each run."""

    types: Texts

    @cached_property
    def differs(self) -> bool:
        """Whether any two runs differ; 1 and 1.0 do."""
        return _differ(self.texts) or _differ(self.types)


def _differ(texts: Texts) -> bool:
    return texts.count(texts[0]) < len(texts) if texts else False


PARAMS = """
    select given.place + $7::integer as place, found.keys, found.types, found.texts
    from unnest($1::uuid[]) with ordinality as given (run_id, place)
    join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    cross join lateral (
        select string_agg(textsend(key), '\\x00'::bytea) as keys, string_agg(textsend(type), '\\x00'::bytea) as types,
            string_agg(textsend(text), '\\x00'::bytea) as texts
        from param
        where param.run_id = given.run_id and starts_with(key, $5)
            and ($6::text[] is null or key in (select unnest($6)))
    ) as found
    where found.keys is not null
"""


async def params(
    conn: Conn, scope: Scope, run_ids: Sequence[UUID], prefix: str = "", keys: Sequence[str] | None = None
) -> list[ParamColumn]:
    """Their params whose keys begin with `prefix` and are among `keys`, by key. Raises `Invalid` for too many."""
    rows = await _fetched(conn, "params", PARAMS, run_ids, *scope.sight, prefix, keys)
    columns: dict[str, ParamColumn] = {}
    for (keys_told, types), places, texts in _alike(rows):
        for key in _new("params", columns, keys_told, len(run_ids)):
            columns[key] = ParamColumn(key, [None] * len(run_ids), [None] * len(run_ids))
        for key, type_, values in zip(keys_told, types, texts, strict=True):
            _put(columns[key].texts, places, values)
            _put(columns[key].types, places, [type_] * len(places))
    return _by_key(columns)


TAGS = """
    select given.place + $7::integer as place, found.keys, found.texts
    from unnest($1::uuid[]) with ordinality as given (run_id, place)
    join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    cross join lateral (
        select string_agg(textsend(key), '\\x00'::bytea) as keys, string_agg(textsend(value), '\\x00'::bytea) as texts
        from tag
        where tag.run_id = given.run_id and value is not null and starts_with(key, $5)
            and ($6::text[] is null or key in (select unnest($6)))
    ) as found
    where found.keys is not null
"""


async def tags(
    conn: Conn, scope: Scope, run_ids: Sequence[UUID], prefix: str = "", keys: Sequence[str] | None = None
) -> list[Column]:
    """Their tags, by key, as `params` does."""
    rows = await _fetched(conn, "tags", TAGS, run_ids, *scope.sight, prefix, keys)
    return _columns("tags", rows, len(run_ids))


INPUTS = """
    select given.place + $6::integer as place, found.keys, found.digests
    from unnest($1::uuid[]) with ordinality as given (run_id, place)
    join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    cross join lateral (
        select string_agg(textsend(key), '\\x00'::bytea order by key) as keys,
            string_agg(textsend(digests), '\\x00'::bytea order by key) as digests
        from (
            select case context when '' then name else name || ' (' || context || ')' end collate "C" as key,
                string_agg(digest, ', ' order by digest collate "C") as digests
            from run_input
            join dataset on dataset.id = run_input.dataset_id
            where run_input.run_id = given.run_id
            group by 1
        ) as told
        where starts_with(key, $5)
    ) as found
    where found.keys is not null
"""


async def inputs(conn: Conn, scope: Scope, run_ids: Sequence[UUID], prefix: str = "") -> list[Column]:
    """The digests of their datasets, by name and context; several of one name stand together."""
    rows = await _fetched(conn, "inputs", INPUTS, run_ids, *scope.sight, prefix)
    return _columns("inputs", rows, len(run_ids))


ARTIFACTS = """
    select given.place + $6::integer as place, found.paths, found.digests
    from unnest($1::uuid[]) with ordinality as given (run_id, place)
    join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    cross join lateral (
        select string_agg(textsend(path), '\\x00'::bytea) as paths,
            string_agg(textsend('sha256:' || encode(digest, 'hex')), '\\x00'::bytea) as digests
        from artifact
        where artifact.run_id = given.run_id and state = 'READY' and path >= $5 and starts_with(path, $5)
    ) as found
    where found.paths is not null
"""


async def artifacts(conn: Conn, scope: Scope, run_ids: Sequence[UUID], prefix: str = "") -> list[Column]:
    """The digests of their READY files, by path, as `params` does."""
    rows = await _fetched(conn, "artifacts", ARTIFACTS, run_ids, *scope.sight, prefix)
    return _columns("artifacts", rows, len(run_ids))


SOURCES = """
    select given.place + $5::integer as place, commit_id as "commit", branch, remote, is_dirty::text as dirty,
        entry_point as "entryPoint", array_to_string(argv, ' ') as argv,
        'sha256:' || encode(patch_digest, 'hex') as "patchDigest"
    from unnest($1::uuid[]) with ordinality as given (run_id, place)
    join run on run.id = given.run_id and is_visible(run.project_id, run.created_by, $2, $3, $4)
    join source on source.run_id = run.id and source.attempt = run.attempt
"""


async def sources(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> list[Column]:
    """What their newest attempts ran: what any of them told, by key."""
    return _told(await _fetched(conn, "sources", SOURCES, run_ids, *scope.sight), len(run_ids))


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


async def environments(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> Environments:
    """What their newest attempts ran on: what any of them told, by key. Raises `Invalid` for too many packages."""
    rows = await _fetched(conn, "environments", ENVIRONMENTS, run_ids, *scope.sight)
    numbers: dict[str, int] = {}
    installed = np.zeros(len(run_ids), np.int64)  # 0 is nothing
    for row in rows:
        installed[row["place"]] = numbers.setdefault(row["packages"], len(numbers) + 1)
    sets = [{}, *map(orjson.loads, numbers)]
    names = _new("packages", {}, {name for packages in sets for name in packages}, len(run_ids))
    packages = [
        Column(name, np.array([packages.get(name) for packages in sets], object)[installed].tolist())
        for name in sorted(names)
    ]
    return Environments(_told(rows, len(run_ids), but="packages"), packages)


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
    conn: Conn, scope: Scope, run_ids: Sequence[UUID], prefix: str = "", keys: Collection[str] | None = None
) -> Matrices:
    """Their series whose keys begin with `prefix` and are among `keys`. Raises `Invalid` for too many."""
    return await summaries.matrices(
        conn,
        scope,
        run_ids,
        lambda key: key.startswith(prefix) and (keys is None or key in keys),
        lambda count: require_cells("metrics", count, len(run_ids)),
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
    conn: Conn, kind: str, statement: str, run_ids: Sequence[UUID], *arguments: Any
) -> list[asyncpg.Record]:
    """What the statement says of the runs, by `place` from 0. Raises `Invalid` when it is too much."""
    found: list[asyncpg.Record] = []
    size_bytes = 0
    for start in range(0, len(run_ids), RUNS_AT_ONCE):
        rows = await conn.fetch(statement, run_ids[start : start + RUNS_AT_ONCE], *arguments, start - 1)
        size_bytes += sum(len(row[-1] or "") for row in rows)
        if size_bytes > BYTES_MAX:
            raise Invalid(
                f"the {kind} of these runs have more than {BYTES_MAX} bytes",
                path="select",
                limit=f"{BYTES_MAX} bytes of a kind",
                hint="compare fewer runs, or only keys with a prefix",
            )
        found += rows
    found.sort(key=itemgetter(0))
    return found


def _alike(rows: Iterable[asyncpg.Record]) -> Iterator[tuple[list[list[str]], list[int], Iterator[tuple[str, ...]]]]:
    """Runs that were told the same but for the last: what is the same, their places, and of each key the last."""
    groups: dict[tuple[bytes, ...], tuple[list[int], list[bytes]]] = {}
    for place, *same, last in rows:
        places, lasts = groups.setdefault(tuple(same), ([], []))
        places.append(place)
        lasts.append(last)
    for told, (places, lasts) in groups.items():
        yield list(map(_split, told)), places, zip(*map(_split, lasts), strict=True)


def _split(told: bytes) -> list[str]:
    return told.decode().split("\0")


def _columns(kind: str, rows: Iterable[asyncpg.Record], count: int) -> list[Column]:
    """Columns, by key, of rows (place, keys, texts)."""
    columns: dict[str, Column] = {}
    for [keys], places, texts in _alike(rows):
        columns.update((key, Column(key, [None] * count)) for key in _new(kind, columns, keys, count))
        for key, values in zip(keys, texts, strict=True):
            _put(columns[key].texts, places, values)
    return _by_key(columns)


def _told(rows: Sequence[asyncpg.Record], count: int, *, but: str = "") -> list[Column]:
    """Columns, by key, of rows with `place` and a text for each key, without those that nobody told."""
    columns = []
    for key in sorted(set(rows[0].keys()) - {"place", but}) if rows else []:
        column = Column(key, [None] * count)
        _put(column.texts, [row["place"] for row in rows], [row[key] for row in rows])
        if any(text is not None for text in column.texts):
            columns.append(column)
    return columns


def _put(texts: Texts, places: Sequence[int], values: Sequence[str | None]) -> None:
    """The values to their places, which ascend."""
    if len(places) == len(texts):
        texts[:] = values
        return
    for place, value in zip(places, values, strict=True):
        texts[place] = value


AnyColumn = TypeVar("AnyColumn", bound=Column)


def _by_key(columns: Mapping[str, AnyColumn]) -> list[AnyColumn]:
    return [columns[key] for key in sorted(columns)]


def _new(kind: str, known: Mapping[str, Column], told: Iterable[str], runs: int) -> list[str]:
    """The keys that are not known yet. Raises `Invalid` when that makes too many values."""
    new = [key for key in told if key not in known]
    require_cells(kind, len(known) + len(new), runs)
    return new


def require_cells(kind: str, keys: int, runs: int) -> None:
    """Raises `Invalid` when the columns of so many keys have too many values."""
    if keys * runs > CELLS_MAX:
        raise Invalid(
            f"{runs} runs with {keys} {kind} have {keys * runs} values",
            path="select",
            limit=f"{CELLS_MAX} values of a kind",
            hint="compare fewer runs, or only keys with a prefix",
        )
