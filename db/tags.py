"""Tags: annotations of a run, changeable at any time, every change kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from db import texts
from db.access import Scope
from db.errors import Invalid
from db.pool import Conn, Connection, find_few_rows

PER_RUN_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Tag:
    """A row of `tag` that has a value."""

    key: str
    value: str
    changed_by: UUID
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What a tag became; `before` is None for a new tag, `after` for a removed one."""

    key: str
    before: str | None
    after: str | None
    changed_by: UUID
    changed_at: datetime


def checked(given: Sequence[tuple[str, str | None]], path: str = "input.tags") -> dict[str, str | None]:
    """Key to value, None to remove. Raises `Invalid` that names the tag."""
    if len(given) > PER_RUN_MAX:
        raise Invalid(f"{path} has {len(given)} tags", path=path, limit=f"{PER_RUN_MAX} tags per run")
    tags: dict[str, str | None] = {}
    for index, (key, value) in enumerate(given):
        texts.name(key, f"{path}[{index}].key")
        if key in tags:
            raise Invalid(f"{path} has the key {key!r} twice", path=f"{path}[{index}].key")
        tags[key] = None if value is None else texts.value(value, f"{path}[{index}].value")
    return tags


SET = """
    insert into tag (run_id, project_id, key, value, changed_by)
    select run.id, run.project_id, given.key, given.value, $4
    from run
    cross join unnest($2::text[], $3::text[]) as given (key, value)
    where run.id = $1
    order by given.key
    on conflict (run_id, key) do update
    set value = excluded.value, changed_by = excluded.changed_by, changed_at = now()
    where tag.value is distinct from excluded.value
"""

TOTAL = """
    select count(*) from tag where run_id = $1 and value is not null
"""


async def set(conn: Connection, account_id: UUID, run_id: UUID, tags: dict[str, str | None]) -> None:
    """Set or remove, all or none, in the caller's transaction. Raises `Invalid` for too many."""
    if not tags:
        return
    await find_few_rows(conn)
    await conn.execute(SET, run_id, list(tags), list(tags.values()), account_id)
    total = int(await conn.fetchval(TOTAL, run_id))
    if total > PER_RUN_MAX:
        raise Invalid(f"the run would have {total} tags", path="input.tags", limit=f"{PER_RUN_MAX} tags per run")


OF_RUNS = """
    select tag.run_id, tag.key, tag.value, tag.changed_by, tag.changed_at
    from tag
    join run on run.id = tag.run_id
    where tag.run_id = any($1::uuid[])
        and tag.value is not null
        and is_visible(run.project_id, run.created_by, $2, $3, $4)
    order by tag.run_id, tag.key collate "C"
"""


async def of_runs(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[UUID, list[Tag]]:
    """The tags of each run, by key."""
    found: dict[UUID, list[Tag]] = {run_id: [] for run_id in run_ids}
    for row in await conn.fetch(OF_RUNS, run_ids, *scope.sight):
        found[row["run_id"]].append(Tag(row["key"], row["value"], row["changed_by"], row["changed_at"]))
    return found


# A tag is its newest change; `tag_change` has those before it.
HISTORY = """
    select change.key, change.before, change.after, change.changed_by, change.changed_at
    from (
        select run_id, change_id, key, before, value, changed_by, changed_at from tag
        union all
        select run_id, id, key, before, after, changed_by, changed_at from tag_change
    ) as change (run_id, id, key, before, after, changed_by, changed_at)
    join run on run.id = change.run_id
    where change.run_id = $1
        and is_visible(run.project_id, run.created_by, $2, $3, $4)
        and ($5::text is null or change.key = $5)
    order by change.id desc
    limit $6
"""


async def history(conn: Conn, scope: Scope, run_id: UUID, key: str | None, *, limit: int) -> list[Change]:
    """Changes of the run's tags, of one key or of all, the newest first."""
    return [Change(**row) for row in await conn.fetch(HISTORY, run_id, *scope.sight, key, limit)]
