"""Params: the settings of a run, typed and written once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from db import texts
from db.access import Scope
from db.errors import Invalid, ParamConflict
from db.pool import Conn, Connection, find_few_rows


class ParamType(StrEnum):
    """The kind of a param's value."""

    STRING = "STRING"
    INT = "INT"
    FLOAT = "FLOAT"
    BOOL = "BOOL"
    NULL = "NULL"
    JSON = "JSON"


TYPES: Final = {each.value: each for each in ParamType}  # a lookup takes a fifth of the time of a call
PLAIN_TYPES: Final = {float: ParamType.FLOAT, int: ParamType.INT, str: ParamType.STRING}
PER_RUN_MAX: Final = 10_000
NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(slots=True)  # these are not frozen, which would take three times as long: a request makes thousands
class Given:
    """A param as a client sends it; `type` is guessed from the JSON value when None."""

    key: str
    value: Any
    type: ParamType | None = None


@dataclass(slots=True)
class Param:
    """A row of `param`: `text` is the value exactly (a string itself, otherwise its JSON)."""

    key: str
    type: ParamType
    text: str
    number: float | None
    attempt: int = 1

    @property
    def value(self) -> Any:
        """The JSON value; a float that JSON lacks is its name, such as "NaN"."""
        if self.type is ParamType.STRING:
            return self.text
        if self.type is ParamType.FLOAT and self.text in NON_FINITE:
            return self.text
        return orjson.loads(self.text)


def checked(given: Sequence[Given], path: str = "input.params") -> list[Param]:
    """Typed params, each key once. Raises `Invalid` that names the param."""
    if len(given) > PER_RUN_MAX:
        raise Invalid(f"{path} has {len(given)} params", path=path, limit=f"{PER_RUN_MAX} params per run")
    keys = [one.key for one in given]
    if texts.are_plain(keys) and len(set(keys)) == len(keys):  # only a value may be wrong
        return [_plain_value(one) or _typed(one, f"{path}[{index}]") for index, one in enumerate(given)]
    params: dict[str, Param] = {}
    for index, one in enumerate(given):
        param = _plain(one) or _typed(one, f"{path}[{index}]")
        if param.key in params:
            raise Invalid(f"{path} has the key {param.key!r} twice", path=f"{path}[{index}].key")
        params[param.key] = param
    return list(params.values())


def _plain(given: Given) -> Param | None:
    """What `_typed` makes of a param as most are, in half of the time; None for any other."""
    return _plain_value(given) if texts.is_plain(given.key) else None


def _plain_value(given: Given) -> Param | None:
    """The same when the key is plain."""
    key, value, kind = given.key, given.value, type(given.value)
    type_ = PLAIN_TYPES.get(kind)
    if type_ is None or given.type not in (None, type_):
        return None
    if kind is float:
        return Param(key, type_, repr(value), value) if math.isfinite(value) else None
    if kind is int:
        return Param(key, type_, str(value), float(value)) if -(2**63) <= value < 2**63 else None
    return Param(key, type_, value, None) if texts.is_plain(value) else None


def _typed(given: Given, path: str) -> Param:
    key = texts.name(given.key, f"{path}.key")
    value, at = given.value, f"{path}.value"
    match given.type or _type_of(value):
        case ParamType.STRING if isinstance(value, str):
            return Param(key, ParamType.STRING, texts.value(value, at), None)
        case ParamType.BOOL if isinstance(value, bool):
            return Param(key, ParamType.BOOL, "true" if value else "false", None)
        case ParamType.INT if isinstance(value, int) and not isinstance(value, bool):
            if not -(2**63) <= value < 2**63:
                raise Invalid(f"{at} is too large for an integer", path=at, limit="-2^63 to 2^63-1")
            return Param(key, ParamType.INT, str(value), float(value))
        case ParamType.FLOAT if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
            if not math.isfinite(number):
                raise Invalid(f"{at} is too large for a float", path=at, limit="about 1.8e308")
            return Param(key, ParamType.FLOAT, repr(number), number)
        case ParamType.FLOAT if isinstance(value, str) and value in NON_FINITE:
            return Param(key, ParamType.FLOAT, value, NON_FINITE[value])
        case ParamType.NULL if value is None:
            return Param(key, ParamType.NULL, "null", None)
        case ParamType.JSON:
            return Param(key, ParamType.JSON, _json(value, at), None)
    raise Invalid(f"{at} is not of the type {given.type}", path=at, hint=f"leave out type, or send a {given.type}")


def _type_of(value: Any) -> ParamType:
    match value:
        case None:
            return ParamType.NULL
        case bool():
            return ParamType.BOOL
        case int():
            return ParamType.INT
        case float():
            return ParamType.FLOAT
        case str():
            return ParamType.STRING
    return ParamType.JSON


def _json(value: Any, path: str) -> str:
    """JSON with sorted keys, so that equal objects are equal text."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, orjson.JSONEncodeError, RecursionError) as error:
        raise Invalid(f"{path} cannot be kept as JSON", path=path, hint="log it as an artifact") from error
    if "\\u0000" in text:
        raise Invalid(f"{path} holds the character NUL", path=path, hint="remove it")
    return texts.value(text, path)


# A row for each run: keys hold no line break and texts no NUL.
PAGES = """
    select run.id, of_run.keys, of_run.types, of_run.texts, of_run.numbers, of_run.attempts
    from run
    cross join lateral (
        select string_agg(key, E'\\n') as keys, string_agg(type, E'\\n') as types,
            string_agg(textsend(text), '\\x00'::bytea) as texts, array_agg(number) as numbers,
            array_agg(attempt) as attempts
        from (
            select key, type, text, number, attempt
            from param
            where run_id = run.id
                and ($5 = '' or starts_with(key, $5))
                and ($6::text is null or key collate "C" > $6)
            order by key collate "C"
            limit $7
        ) as first
    ) as of_run
    where run.id = any ($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
        and of_run.keys is not null
"""


async def pages(
    conn: Conn, scope: Scope, run_ids: Sequence[UUID], prefix: str, *, after: str | None, limit: int
) -> dict[UUID, list[Param]]:
    """The params of each run whose keys begin with `prefix`, by key, strictly after the key `after`."""
    found: dict[UUID, list[Param]] = {run_id: [] for run_id in run_ids}
    for row in await conn.fetch(PAGES, run_ids, *scope.sight, prefix, after, limit):
        run_id, keys, types, values, numbers, attempts = row
        typed = map(TYPES.__getitem__, types.split("\n"))
        found[run_id] = list(map(Param, keys.split("\n"), typed, values.decode().split("\0"), numbers, attempts))
    return found


COUNT = """
    select count(*)
    from param
    join run on run.id = param.run_id
    where param.run_id = $1
        and is_visible(run.project_id, run.created_by, $2, $3, $4)
        and starts_with(param.key, $5)
"""


async def count(conn: Conn, scope: Scope, run_id: UUID, prefix: str) -> int:
    """How many params there are to page through."""
    return int(await conn.fetchval(COUNT, run_id, *scope.sight, prefix))


def _param(row: asyncpg.Record) -> Param:
    return Param(row["key"], TYPES[row["type"]], row["text"], row["number"], row["attempt"])


STORED = """
    select key, type, text, number, attempt
    from param
    where run_id = $1 and key = any($2::text[])
"""

INSERT = """
    insert into param (run_id, project_id, attempt, key, type, text, number)
    select run.id, run.project_id, $2, given.key, given.type, given.text, given.number
    from run
    cross join unnest($3::text[], $4::text[], $5::text[], $6::float8[]) as given (key, type, text, number)
    where run.id = $1
    on conflict (run_id, key) do nothing
"""

TOTAL = """
    select count(*) from param where run_id = $1
"""


async def log(conn: Connection, run_id: UUID, attempt: int, params: Sequence[Param]) -> int:
    """Store what is new, all or none, in the caller's transaction; how many were new.

    The same value again is a no-op, also after the run has ended.
    Raises `ParamConflict`, `RunSealed`, `Invalid` for too many.
    """
    await find_few_rows(conn)
    new = await _missing(conn, run_id, params)
    if not new:
        return 0
    await conn.execute(INSERT, run_id, attempt, *columns(new))
    await _missing(conn, run_id, new)  # another writer may have been first, with another value
    total = int(await conn.fetchval(TOTAL, run_id))
    if total > PER_RUN_MAX:
        raise Invalid(f"the run would have {total} params", path="input.params", limit=f"{PER_RUN_MAX} params per run")
    return len(new)


async def _missing(conn: Connection, run_id: UUID, params: Sequence[Param]) -> list[Param]:
    """Those that the run does not have yet. Raises `ParamConflict` for the first that it has with another value."""
    rows = await conn.fetch(STORED, run_id, [param.key for param in params])
    stored = {row["key"]: _param(row) for row in rows}
    for index, param in enumerate(params):
        has = stored.get(param.key)
        if has is not None and (has.type, has.text) != (param.type, param.text):
            raise ParamConflict(param.key, has.value, param.value, path=f"input.params[{index}]")
    return [param for param in params if param.key not in stored]


def columns(params: Sequence[Param]) -> tuple[list[str], list[ParamType], list[str], list[float | None]]:
    """Keys, types, texts and numbers."""
    return (
        [param.key for param in params],
        [param.type for param in params],
        [param.text for param in params],
        [param.number for param in params],
    )
