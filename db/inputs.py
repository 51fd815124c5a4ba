"""Inputs: the datasets that a run read, each known by its digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from db import ids, texts
from db.access import Scope
from db.errors import Invalid
from db.pool import Conn, Connection

PER_REQUEST_MAX: Final = 1_000
URI_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Given:
    """A dataset as a client names it."""

    name: str
    digest: str
    context: str | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A row of `run_input` with its dataset; `context` says what for, such as "training"."""

    name: str
    digest: str
    context: str
    uri: str | None
    attempt: int


def checked(given: Sequence[Given], path: str = "input.inputs") -> list[Given]:
    """What can be stored. Raises `Invalid` that names the input."""
    if len(given) > PER_REQUEST_MAX:
        raise Invalid(f"{path} has {len(given)} inputs", path=path, limit=f"{PER_REQUEST_MAX} per request")
    for index, one in enumerate(given):
        at = f"{path}[{index}]"
        texts.name(one.name, f"{at}.name")
        texts.name(one.digest, f"{at}.digest")
        if one.context:
            texts.name(one.context, f"{at}.context")
        if one.uri is not None:
            texts.value(one.uri, f"{at}.uri", URI_BYTES_MAX)
    return list(given)


ENSURE = """
    insert into dataset (id, project_id, name, digest, uri)
    select id, $1, name, digest, uri
    from unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) as given (id, name, digest, uri)
    order by name, digest, uri
    on conflict on constraint dataset_identity_key do nothing
"""

# What the run has already is left out, so that repeating it is a no-op also after the run has ended.
INSERT = """
    insert into run_input (run_id, attempt, dataset_id, context)
    select distinct on (dataset.id, given.context) $1::uuid, $2::integer, dataset.id, given.context
    from unnest($4::text[], $5::text[], $6::text[], $7::text[]) as given (name, digest, uri, context)
    join dataset on dataset.project_id = $3
        and dataset.name = given.name
        and dataset.digest = given.digest
        and dataset.uri is not distinct from given.uri
    where not exists (
        select from run_input
        where run_input.run_id = $1 and run_input.dataset_id = dataset.id and run_input.context = given.context
    )
    on conflict (run_id, dataset_id, context) do nothing
"""


async def log(conn: Connection, project_id: UUID, run_id: UUID, attempt: int, given: Sequence[Given]) -> None:
    """Note the datasets, all or none, in the caller's transaction. Raises `RunSealed`."""
    if not given:
        return
    names = [one.name for one in given]
    digests = [one.digest for one in given]
    uris = [one.uri for one in given]
    await conn.execute(ENSURE, project_id, [ids.new() for _ in given], names, digests, uris)
    contexts = [one.context or "" for one in given]
    await conn.execute(INSERT, run_id, attempt, project_id, names, digests, uris, contexts)


OF_RUNS = """
    select run_input.run_id, dataset.name, dataset.digest, run_input.context, dataset.uri, run_input.attempt
    from run_input
    join dataset on dataset.id = run_input.dataset_id
    join run on run.id = run_input.run_id
    where run_input.run_id = any($1::uuid[])
        and is_visible(run.project_id, run.created_by, $2, $3, $4)
    order by run_input.run_id, dataset.name collate "C", run_input.context collate "C", dataset.digest collate "C"
"""


async def of_runs(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[UUID, list[Input]]:
    """The inputs of each run, by name."""
    found: dict[UUID, list[Input]] = {run_id: [] for run_id in run_ids}
    for row in await conn.fetch(OF_RUNS, run_ids, *scope.sight):
        found[row["run_id"]].append(Input(row["name"], row["digest"], row["context"], row["uri"], row["attempt"]))
    return found
