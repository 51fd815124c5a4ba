"""Artifacts: the files of a run, their promised digest, and whether the bytes were found to match it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from db.access import Scope
from db.pool import Conn

SETTLED_POLL_S: Final = 0.1


class ArtifactState(StrEnum):
    """PENDING: the client sends. VALIDATING: a worker compares. READY and FAILED are final."""

    PENDING = "PENDING"
    VALIDATING = "VALIDATING"
    READY = "READY"
    FAILED = "FAILED"


class FailureReason(StrEnum):
    """Why an artifact is FAILED."""

    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    SIZE_MISMATCH = "SIZE_MISMATCH"
    MISSING = "MISSING"
    EXPIRED = "EXPIRED"
    ABORTED = "ABORTED"
    POISON = "POISON"
    STORAGE = "STORAGE"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A row of `artifact`; `object_key` says where the verified bytes are, and is None unless READY."""

    id: UUID
    project_id: UUID
    run_id: UUID
    attempt: int
    path: str
    state: ArtifactState
    digest: bytes
    size_bytes: int
    media_type: str | None
    failure_reason: FailureReason | None
    failure_message: str | None
    created_by: UUID
    created_at: datetime
    finalized_at: datetime | None
    object_key: str | None


BY_IDS = """
    select artifact.id, artifact.project_id, artifact.run_id, artifact.attempt, artifact.path, artifact.state,
        artifact.digest, artifact.size_bytes, artifact.media_type, artifact.failure_reason,
        artifact.failure_message, artifact.created_by, artifact.created_at, artifact.finalized_at, object.object_key
    from artifact
    join run on run.id = artifact.run_id
    left join object on object.project_id = artifact.project_id and object.digest = artifact.stored_digest
    where artifact.id = any($1::uuid[]) and is_visible(run.project_id, run.created_by, $2, $3, $4)
"""


async def by_ids(conn: Conn, scope: Scope, artifact_ids: Sequence[UUID]) -> list[Artifact | None]:
    """Artifacts in the order asked; None where there is none to see."""
    rows = await conn.fetch(BY_IDS, artifact_ids, *scope.sight)
    found = {row["id"]: Artifact(**row) for row in rows}
    return [found.get(artifact_id) for artifact_id in artifact_ids]


SAME_BYTES = """
    select artifact.id, artifact.project_id, artifact.run_id, artifact.attempt, artifact.path, artifact.state,
        artifact.digest, artifact.size_bytes, artifact.media_type, artifact.failure_reason,
        artifact.failure_message, artifact.created_by, artifact.created_at, artifact.finalized_at, object.object_key
    from artifact
    join run on run.id = artifact.run_id
    join object on object.project_id = artifact.project_id and object.digest = artifact.stored_digest
    where artifact.project_id = $1 and artifact.stored_digest = $2 and artifact.run_id <> $3
        and is_visible(run.project_id, run.created_by, $4, $5, $6)
    order by artifact.created_at desc, artifact.id desc
    limit $7
"""


async def same_bytes(conn: Conn, scope: Scope, artifact: Artifact, *, limit: int) -> list[Artifact]:
    """Artifacts of other runs of the project that were verified to have the same bytes, the newest first."""
    rows = await conn.fetch(SAME_BYTES, artifact.project_id, artifact.digest, artifact.run_id, *scope.sight, limit)
    return [Artifact(**row) for row in rows]


BY_PATHS = """
    select distinct on (artifact.run_id, artifact.path)
        artifact.id, artifact.project_id, artifact.run_id, artifact.attempt, artifact.path, artifact.state,
        artifact.digest, artifact.size_bytes, artifact.media_type, artifact.failure_reason,
        artifact.failure_message, artifact.created_by, artifact.created_at, artifact.finalized_at, object.object_key
    from unnest($1::uuid[], $2::text[]) as given (run_id, path)
    join artifact on artifact.run_id = given.run_id and artifact.path = given.path
    join run on run.id = artifact.run_id
    left join object on object.project_id = artifact.project_id and object.digest = artifact.stored_digest
    where is_visible(run.project_id, run.created_by, $3, $4, $5)
    order by artifact.run_id, artifact.path, artifact.state = 'FAILED', artifact.created_at desc, artifact.id desc
"""


async def by_paths(conn: Conn, scope: Scope, asked: Sequence[tuple[UUID, str]]) -> list[Artifact | None]:
    """The artifact at each (run id, path), in the order asked.

    A path has at most one that has not failed; when all have failed it is the newest, which says why.
    """
    run_ids, paths = [run_id for run_id, _ in asked], [path for _, path in asked]
    rows = await conn.fetch(BY_PATHS, run_ids, paths, *scope.sight)
    found = {(row["run_id"], row["path"]): Artifact(**row) for row in rows}
    return [found.get(each) for each in asked]


PAGE = """
    select artifact.id, artifact.project_id, artifact.run_id, artifact.attempt, artifact.path, artifact.state,
        artifact.digest, artifact.size_bytes, artifact.media_type, artifact.failure_reason,
        artifact.failure_message, artifact.created_by, artifact.created_at, artifact.finalized_at, object.object_key
    from artifact
    join run on run.id = artifact.run_id
    left join object on object.project_id = artifact.project_id and object.digest = artifact.stored_digest
    where artifact.run_id = $1 and is_visible(run.project_id, run.created_by, $2, $3, $4)
        and artifact.path >= $5 and starts_with(artifact.path, $5)
        and ($6::text[] is null or artifact.state = any($6))
        and ($7::text is null or (artifact.path, artifact.id) > ($7, $8::uuid))
    order by artifact.path, artifact.id
    limit $9
"""


async def page(
    conn: Conn,
    scope: Scope,
    run_id: UUID,
    *,
    prefix: str = "",
    states: Sequence[ArtifactState] | None = None,
    after: tuple[str, UUID] | None,
    limit: int,
) -> list[Artifact]:
    """Of one run by path, strictly after the position `after` = (path, id)."""
    path, artifact_id = after or (None, None)
    rows = await conn.fetch(PAGE, run_id, *scope.sight, prefix, states, path, artifact_id, limit)
    return [Artifact(**row) for row in rows]


COUNT = """
    select count(*)
    from artifact
    join run on run.id = artifact.run_id
    where artifact.run_id = $1 and is_visible(run.project_id, run.created_by, $2, $3, $4)
        and artifact.path >= $5 and starts_with(artifact.path, $5)
        and ($6::text[] is null or artifact.state = any($6))
"""


async def count(
    conn: Conn, scope: Scope, run_id: UUID, *, prefix: str = "", states: Sequence[ArtifactState] | None = None
) -> int:
    """How many artifacts there are to page through."""
    return int(await conn.fetchval(COUNT, run_id, *scope.sight, prefix, states))


VALIDATING = """
    select count(*) from artifact where run_id = $1 and state = 'VALIDATING'
"""


async def validating(conn: Conn, run_id: UUID) -> int:
    """How many artifacts of the run a worker has yet to find good or bad."""
    return int(await conn.fetchval(VALIDATING, run_id))


async def wait_settled(conn: Conn, run_id: UUID, timeout_s: float) -> int:
    """Wait until no artifact of the run is validated any more; how many still are after `timeout_s` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    while True:
        left = await validating(conn, run_id)
        if not left or loop.time() >= until:
            return left
        await asyncio.sleep(SETTLED_POLL_S)
