"""Uploads: a client's permission to send the bytes of an artifact, then the worker's errand to verify them.

An upload has the id of its artifact. It is locked before its artifact, and its row says what is to be done: a worker
claims it for a while (`next_at`) under a number (`fence`), and only the newest claim may end it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from db import artifacts, ids, runs, texts
from db import paths as names
from db.access import Action, Scope
from db.artifacts import Artifact, ArtifactState, FailureReason
from db.errors import ArtifactConflict, Invalid, NotFound, Unavailable, UploadExpired
from db.pool import Conn, Connection, Pool

FILES_PER_REQUEST_MAX: Final = 1_000
ARTIFACTS_PER_RUN_MAX: Final = 100_000
PART_NUMBER_MAX: Final = 10_000
ETAG_CHARACTERS_MAX: Final = 250
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class File:
    """A file that a client wants to send; `staging_key` is where, when it may not write the content key itself.

    With `part_size_bytes` it is sent in parts, otherwise in one PUT.
    """

    path: str
    digest: bytes
    size_bytes: int
    media_type: str | None
    staging_key: str
    part_size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Sending:
    """What a client still has to send: a row of `upload`. Without `staging_key` it writes the content key."""

    staging_key: str | None
    part_size_bytes: int | None
    multipart_id: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """An artifact, and what has to be sent for it; None when the bytes are here or being verified."""

    artifact: Artifact
    sending: Sending | None


def checked_digest(text: str, path: str) -> bytes:
    """The digest in `text`. Raises `Invalid`."""
    if not SHA256.fullmatch(text):
        raise Invalid(f"{path} is not a SHA-256", path=path, limit="64 of 0-9 a-f")
    return bytes.fromhex(text)


def checked_size(size_bytes: int, size_bytes_max: int, path: str) -> int:
    """`size_bytes` when an artifact may have it. Raises `Invalid`."""
    if not 0 <= size_bytes <= size_bytes_max:
        raise Invalid(f"{path} is {size_bytes}", path=path, limit=f"0 to {size_bytes_max} bytes")
    return size_bytes


def check_count(files: int, path: str) -> None:
    """Raises `Invalid` when one request names too many files."""
    if files > FILES_PER_REQUEST_MAX:
        raise Invalid(
            f"{path} has {files} files",
            path=path,
            limit=f"{FILES_PER_REQUEST_MAX} files per request",
            hint="send them in several requests",
        )


def checked_file(file: File, path: str) -> File:
    """`file` when its names can be stored. Raises `Invalid`."""
    names.checked(file.path, f"{path}.path")
    if file.media_type is not None:
        texts.name(file.media_type, f"{path}.mediaType")
    return file


LEAVE_ENDED = """
    with ended as (
        update upload
        set state = 'DONE'
        from artifact
        where upload.id = artifact.id and upload.state = 'SENDING'
            and artifact.run_id = $1 and artifact.path = any($2::text[]) and artifact.attempt < $3
        returning upload.id
    )
    update artifact
    set state = 'FAILED', failure_reason = 'EXPIRED', finalized_at = now(),
        failure_message = 'the run ended before these bytes were reported complete'
    from ended
    where artifact.id = ended.id
"""

# What a viewer of the whole project could read anyway need not be sent again ($8). Others must send what they claim,
# and to a staging key, so that neither our answer nor the store's tells them whether the project has it.
INSERT = """
    with given as (
        select id, path, digest, size_bytes, media_type, staging_key, part_size_bytes
        from unnest($1::uuid[], $2::text[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::bigint[])
            as given (id, path, digest, size_bytes, media_type, staging_key, part_size_bytes)
    ), fresh as (
        insert into artifact (id, project_id, run_id, attempt, path, digest, size_bytes, media_type, created_by, state,
            finalized_at)
        select given.id, $10, $11, $12, given.path, given.digest, given.size_bytes, given.media_type, $13,
            case when object.digest is null then 'PENDING' else 'READY' end,
            case when object.digest is null then null else now() end
        from given
        left join object on $8 and object.project_id = $10 and object.digest = given.digest
            and object.size_bytes = given.size_bytes
        where not exists (
            select from artifact
            where artifact.run_id = $11 and artifact.path = given.path and artifact.state <> 'FAILED'
        )
        order by given.path
        on conflict (run_id, path) where state <> 'FAILED' do nothing
        returning id, state
    )
    insert into upload (id, staging_key, part_size_bytes, expires_at)
    select given.id,
        case when $8 and $9 and given.part_size_bytes is null then null else given.staging_key end,
        given.part_size_bytes,
        now()
    from given
    join fresh on fresh.id = given.id
    where fresh.state = 'PENDING'
"""

COUNT_OF_RUN = """
    select count(*) from artifact where run_id = $1
"""

SENDING = """
    update upload
    set expires_at = now() + make_interval(secs => $3)
    from artifact
    where upload.id = artifact.id and upload.state = 'SENDING'
        and artifact.run_id = $1 and artifact.path = any($2::text[])
    returning upload.id, upload.staging_key, upload.part_size_bytes, upload.multipart_id, upload.expires_at
"""

LIVE = """
    select artifact.id, artifact.project_id, artifact.run_id, artifact.attempt, artifact.path, artifact.state,
        artifact.digest, artifact.size_bytes, artifact.media_type, artifact.failure_reason,
        artifact.failure_message, artifact.created_by, artifact.created_at, artifact.finalized_at, object.object_key
    from artifact
    left join object on object.project_id = artifact.project_id and object.digest = artifact.stored_digest
    where artifact.run_id = $1 and artifact.path = any($2::text[]) and artifact.state <> 'FAILED'
"""


async def create(
    pool: Pool, scope: Scope, run_id: UUID, files: Sequence[File], *, direct: bool, expiry_s: float
) -> list[Upload]:
    """An artifact and what to send for each file, in the order asked; all or none.

    `direct` says that the store itself refuses wrong bytes and overwriting, so that clients may write content keys.
    The same file again returns the same artifact, and gives the client `expiry_s` seconds more.
    Raises `NotFound`, `Forbidden`, `Invalid`, `RunSealed`, `ArtifactConflict`.
    """
    paths = [file.path for file in files]
    async with pool.acquire() as conn, conn.transaction():
        run = await runs.get(conn, scope, Action.APPEND, run_id)
        await conn.execute(LEAVE_ENDED, run_id, paths, run.attempt)
        await conn.execute(
            INSERT,
            [ids.new() for _ in files],
            paths,
            [file.digest for file in files],
            [file.size_bytes for file in files],
            [file.media_type for file in files],
            [file.staging_key for file in files],
            [file.part_size_bytes for file in files],
            run.project_id in scope.readable,
            direct,
            run.project_id,
            run_id,
            run.attempt,
            scope.account_id,
        )
        if await conn.fetchval(COUNT_OF_RUN, run_id) > ARTIFACTS_PER_RUN_MAX:
            raise Invalid(
                "the run would have too many artifacts",
                path="input.files",
                limit=f"{ARTIFACTS_PER_RUN_MAX} artifacts per run",
                hint="pack small files into an archive",
            )
        sending = {
            artifact_id: Sending(*rest) for artifact_id, *rest in await conn.fetch(SENDING, run_id, paths, expiry_s)
        }
        live = {row["path"]: Artifact(**row) for row in await conn.fetch(LIVE, run_id, paths)}
        for index, file in enumerate(files):
            if file.path not in live:
                raise Unavailable(f"the upload of {file.path!r} just ended", hint="send the same request again")
            artifact = live[file.path]
            if (artifact.digest, artifact.size_bytes) != (file.digest, file.size_bytes):
                raise ArtifactConflict(file.path, path=f"input.files[{index}].path")
    return [Upload(live[path], sending.get(live[path].id)) for path in paths]


START_MULTIPART = """
    update upload set multipart_id = $2 where id = $1 and state = 'SENDING' and multipart_id is null
"""

MULTIPART = """
    select multipart_id from upload where id = $1
"""


async def start_multipart(conn: Conn, upload_id: UUID, multipart_id: str) -> str | None:
    """The multipart upload of this upload: the given one, or the one that another request noted before."""
    await conn.execute(START_MULTIPART, upload_id, multipart_id)
    found: str | None = await conn.fetchval(MULTIPART, upload_id)
    return found


@dataclass(frozen=True, slots=True)
class Completed:
    """A client's report that it has sent everything; `parts` maps part numbers to the ETags it was given."""

    upload_id: UUID
    parts: Mapping[int, str]


def checked_parts(parts: Mapping[int, str], path: str) -> Mapping[int, str]:
    """`parts` when they can be stored. Raises `Invalid`."""
    for number, etag in parts.items():
        if not 1 <= number <= PART_NUMBER_MAX:
            raise Invalid(f"{path} has part {number}", path=path, limit=f"1 to {PART_NUMBER_MAX}")
        texts.value(etag, path, ETAG_CHARACTERS_MAX)
    return parts


COMPLETE = """
    with locked as materialized (
        select upload.id
        from upload
        where upload.id = any($1::uuid[])
        order by upload.id
        for no key update
    ), sent as (
        update upload
        set state = 'CHECKING', parts = given.parts::jsonb, next_at = now(),
            expires_at = now() + make_interval(secs => $3)
        from unnest($1::uuid[], $2::text[]) as given (id, parts)
        join locked on locked.id = given.id
        where upload.id = given.id and upload.state = 'SENDING' and upload.expires_at > now()
        returning upload.id
    )
    update artifact
    set state = 'VALIDATING'
    from sent
    where artifact.id = sent.id
"""

# What a client did or left undone, as opposed to what was found in the store.
GIVEN_UP = frozenset({FailureReason.EXPIRED, FailureReason.ABORTED})


async def complete(pool: Pool, scope: Scope, completed: Sequence[Completed], *, expiry_s: float) -> list[Artifact]:
    """The artifacts, VALIDATING from now on, in the order asked; all or none. Again: as they are by then.

    A store that does not answer for `expiry_s` seconds fails them. Raises `NotFound`, `Forbidden`, `RunSealed`,
    `UploadExpired`.
    """
    upload_ids = [each.upload_id for each in completed]
    parts = [orjson.dumps({str(n): etag for n, etag in each.parts.items()}).decode() for each in completed]
    async with pool.acquire() as conn, conn.transaction():
        await _require_append(conn, scope, upload_ids)
        await conn.execute(COMPLETE, upload_ids, parts, expiry_s)
        done = await _required(conn, scope, upload_ids)
        for index, artifact in enumerate(done):
            if artifact.state == ArtifactState.PENDING or artifact.failure_reason in GIVEN_UP:
                raise UploadExpired(
                    f"the upload of {artifact.path!r} is over: {artifact.failure_message or 'it took too long'}",
                    path=f"input.uploads[{index}].uploadId",
                    hint="create the upload again",
                )
        return done


ABORT = """
    with aborted as (
        update upload set state = 'DONE' where id = $1 and state = 'SENDING' returning id
    )
    update artifact
    set state = 'FAILED', failure_reason = 'ABORTED', failure_message = 'the client gave the upload up',
        finalized_at = now()
    from aborted
    where artifact.id = aborted.id
"""


async def abort(pool: Pool, scope: Scope, upload_id: UUID) -> Artifact:
    """The artifact, FAILED when its bytes were still being sent; later than that it stays as it is.

    Raises `NotFound`, `Forbidden`.
    """
    async with pool.acquire() as conn, conn.transaction():
        await _require_append(conn, scope, [upload_id])
        await conn.execute(ABORT, upload_id)
        [artifact] = await _required(conn, scope, [upload_id])
        return artifact


async def _require_append(conn: Connection, scope: Scope, upload_ids: Sequence[UUID]) -> None:
    """Raises `NotFound`, `Forbidden` unless the viewer may append to the runs of all these uploads."""
    for run_id in {artifact.run_id for artifact in await _required(conn, scope, upload_ids)}:
        await runs.get(conn, scope, Action.APPEND, run_id)


async def _required(conn: Connection, scope: Scope, upload_ids: Sequence[UUID]) -> list[Artifact]:
    found = await artifacts.by_ids(conn, scope, upload_ids)
    for upload_id, artifact in zip(upload_ids, found, strict=True):
        if artifact is None:
            raise NotFound(f"there is no upload {upload_id}", path="input")
    return [artifact for artifact in found if artifact is not None]


@dataclass(frozen=True, slots=True)
class Claim:
    """An upload that a worker holds until its lease ends: what was promised, and where the client sent it.

    `attempts` counts the claims that did not say how they ended, with this one. An overdue one is not tried for ever.
    """

    id: UUID
    project_id: UUID
    digest: bytes
    size_bytes: int
    staging_key: str | None
    part_size_bytes: int | None
    multipart_id: str | None
    parts: Mapping[int, str]
    fence: int
    attempts: int
    is_overdue: bool


CLAIM = """
    with due as (
        select id
        from upload
        where state = 'CHECKING' and next_at <= now()
        order by next_at
        limit $1
        for no key update skip locked
    ), claimed as (
        update upload
        set fence = fence + 1, attempts = attempts + 1, next_at = now() + make_interval(secs => $2)
        from due
        where upload.id = due.id
        returning upload.id, upload.staging_key, upload.part_size_bytes, upload.multipart_id, upload.parts,
            upload.fence, upload.attempts, upload.expires_at
    )
    select artifact.id, artifact.project_id, artifact.digest, artifact.size_bytes, claimed.staging_key,
        claimed.part_size_bytes, claimed.multipart_id, claimed.parts::text, claimed.fence, claimed.attempts,
        claimed.expires_at < now() as is_overdue
    from claimed
    join artifact on artifact.id = claimed.id
"""


async def claim(conn: Conn, limit: int, *, lease_s: float) -> list[Claim]:
    """Up to `limit` uploads that wait for a worker, now the caller's for `lease_s` seconds."""
    return [_claim(dict(row)) for row in await conn.fetch(CLAIM, limit, lease_s)]


def _claim(row: dict[str, Any]) -> Claim:
    parts = orjson.loads(row["parts"] or "{}")
    return Claim(**{**row, "parts": {int(number): etag for number, etag in parts.items()}})


RENEW = """
    update upload
    set next_at = now() + make_interval(secs => $3)
    where id = $1 and fence = $2 and state = 'CHECKING'
"""


async def renew(conn: Conn, claimed: Claim, *, lease_s: float) -> bool:
    """Hold the claim for `lease_s` seconds more; False when it is no longer the caller's."""
    return await conn.execute(RENEW, claimed.id, claimed.fence, lease_s) == "UPDATE 1"


RELEASE = """
    update upload
    set next_at = now() + make_interval(secs => $3), attempts = attempts - case when $4 then 0 else 1 end
    where id = $1 and fence = $2 and state = 'CHECKING'
"""


async def release(conn: Conn, claimed: Claim, *, delay_s: float, counts: bool) -> None:
    """Let another claim begin after `delay_s` seconds; `counts` says that this one was a failed attempt."""
    await conn.execute(RELEASE, claimed.id, claimed.fence, delay_s, counts)


FINALIZE = """
    with ended as (
        update upload set state = 'DONE' where id = $1 and fence = $2 and state = 'CHECKING' returning id
    ), stored as (
        insert into object (project_id, digest, size_bytes, object_key)
        select artifact.project_id, artifact.digest, artifact.size_bytes, $3
        from artifact
        join ended on ended.id = artifact.id
        on conflict (project_id, digest) do nothing
    )
    update artifact
    set state = 'READY', finalized_at = now()
    from ended
    where artifact.id = ended.id
"""


async def finalize(conn: Conn, claimed: Claim, object_key: str) -> bool:
    """The verified bytes are at `object_key`: the artifact is READY. False when the claim is no longer the caller's."""
    return await conn.execute(FINALIZE, claimed.id, claimed.fence, object_key) == "UPDATE 1"


FAIL = """
    with ended as (
        update upload set state = 'DONE' where id = $1 and fence = $2 and state = 'CHECKING' returning id
    )
    update artifact
    set state = 'FAILED', failure_reason = $3, failure_message = $4, finalized_at = now()
    from ended
    where artifact.id = ended.id
"""


async def fail(conn: Conn, claimed: Claim, reason: FailureReason, message: str) -> bool:
    """The artifact is FAILED. False when the claim is no longer the caller's."""
    return await conn.execute(FAIL, claimed.id, claimed.fence, reason, message) == "UPDATE 1"


EXPIRE = """
    with due as (
        select upload.id, attempt.finished_at is not null as is_ended
        from upload
        join artifact on artifact.id = upload.id
        join attempt on attempt.run_id = artifact.run_id and attempt.number = artifact.attempt
        where upload.state = 'SENDING' and (upload.expires_at < now() or attempt.finished_at is not null)
        order by upload.id
        limit $1
        for no key update of upload skip locked
    ), expired as (
        update upload set state = 'DONE' from due where upload.id = due.id returning upload.id, due.is_ended
    )
    update artifact
    set state = 'FAILED', failure_reason = 'EXPIRED', finalized_at = now(),
        failure_message = case when expired.is_ended
            then 'the run ended before these bytes were reported complete'
            else 'the bytes were not reported complete in time' end
    from expired
    where artifact.id = expired.id
"""


async def expire(conn: Conn, limit: int = 1_000) -> int:
    """Fail uploads that clients abandoned, or can no longer complete because the run has ended; how many."""
    return int((await conn.execute(EXPIRE, limit)).removeprefix("UPDATE "))


STAGED = """
    select staging_key from upload where staging_key = any($1::text[]) and state <> 'DONE'
"""


async def staged(conn: Conn, staging_keys: Sequence[str]) -> set[str]:
    """Which of these staging keys are still needed."""
    return {row["staging_key"] for row in await conn.fetch(STAGED, staging_keys)}
