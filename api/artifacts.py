"""Artifacts: the files of a run. Their bytes go between the client and the object store, never through here."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from uuid import UUID

import strawberry

from api import previews
from api.accounts import Account, account
from api.auth import mutation
from api.connections import Connection, page
from api.context import Deps, Info, found
from api.errors import ArtifactConflict, Forbidden, Invalid, NotFound, RunSealed, Unavailable, UploadExpired
from api.nodes import Node
from api.scalars import Int64
from db import artifacts, errors, ids, texts, uploads
from db.artifacts import ArtifactState, FailureReason
from storage import digest, keys
from storage.presign import GET_EXPIRES_S, PUT_EXPIRES_S, Request, Signer
from storage.store import StoreError, part_size_bytes
from workers import queue

if TYPE_CHECKING:
    from api.runs import Run

STORE_TIMEOUT_S: Final = 15.0
MULTIPARTS_AT_ONCE: Final = 8
WORK: Final = "artifacts"
SAME_MAX: Final = 100


@strawberry.type(description="Why an artifact failed.")
class ArtifactFailure:
    reason: FailureReason = strawberry.field(description="The kind of failure.")
    message: str = strawberry.field(description="What was found, for a person.")


@strawberry.type(description="Where to get the bytes of an artifact from. Whoever has the address can read them.")
class Download:
    url: str = strawberry.field(description="GET it from the object store; it is always saved, never shown.")
    expires_at: datetime = strawberry.field(description="When the address stops working, some minutes from now.")


@strawberry.type(description="What a page needs to show the beginning of a file.")
class Preview:
    kind: previews.PreviewKind = strawberry.field(description="What it is taken for; it is still only data.")
    url: str = strawberry.field(
        description="GET it from the object store, with a Range header for the beginning. A link to it saves the file."
    )
    size_bytes: Int64 = strawberry.field(description="The size of the whole file, in bytes.")
    expires_at: datetime = strawberry.field(description="When the address stops working, some minutes from now.")


@strawberry.type(description="A file of a run. Once it is READY it never changes.")
class Artifact(Node):
    path: str = strawberry.field(description="Its path in the run, such as `model/model.joblib`.")
    state: ArtifactState = strawberry.field(description="How far it is.")
    digest: str = strawberry.field(description="`sha256:<hex>` of its bytes; a promise until it is READY.")
    size_bytes: Int64 = strawberry.field(description="Its size in bytes; a promise until it is READY.")
    media_type: str | None = strawberry.field(description="What its logger said it is; never acted on.")
    attempt: int = strawberry.field(description="The attempt that logged it.")
    created_at: datetime = strawberry.field(description="When its upload was asked for.")
    finalized_at: datetime | None = strawberry.field(description="When it became READY or FAILED.")
    row: strawberry.Private[artifacts.Artifact]

    @classmethod
    def from_row(cls, row: artifacts.Artifact) -> "Artifact":
        return cls(
            id=strawberry.ID(str(row.id)),
            path=row.path,
            state=ArtifactState(row.state),
            digest=digest.text(row.digest),
            size_bytes=Int64(row.size_bytes),
            media_type=row.media_type,
            attempt=row.attempt,
            created_at=row.created_at,
            finalized_at=row.finalized_at,
            row=row,
        )

    @strawberry.field(description="Why it failed; null unless it is FAILED.")
    def failure(self) -> ArtifactFailure | None:
        if self.row.failure_reason is None:
            return None
        return ArtifactFailure(reason=FailureReason(self.row.failure_reason), message=self.row.failure_message or "")

    @strawberry.field(description="Who asked for its upload, by the token that was sent.")
    async def created_by(self, info: Info) -> Account:
        return await account(info, self.row.created_by)

    @strawberry.field(description="The run it belongs to.")
    async def run(self, info: Info) -> Annotated["Run", strawberry.lazy("api.runs")]:
        from api.runs import Run

        row = await info.context.loaders.run.load(self.row.run_id)
        assert row is not None, "who sees an artifact sees its run"
        return Run.from_row(row)

    @strawberry.field(description="Where to get its bytes from; null unless it is READY. Ask for it when you need it.")
    async def download(self, info: Info) -> Download | None:
        if self.row.object_key is None:
            return None
        with store_answers():
            signer = await info.context.deps.store.signer()
        expires_at = datetime.now(UTC) + timedelta(seconds=GET_EXPIRES_S)
        return Download(url=signer.get(self.row.object_key, self.row.path).url, expires_at=expires_at)

    @strawberry.field(
        description="How a page shows it: text, JSON, CSV, PNG or JPEG, by its name or else its media type; null for "
        "others, and unless it is READY. Ask for it when you need it."
    )
    async def preview(self, info: Info) -> Preview | None:
        kind = previews.kind_of(self.row.path, self.row.media_type)
        if self.row.object_key is None or kind is None:
            return None
        with store_answers():
            signer = await info.context.deps.store.signer()
        return Preview(
            kind=kind,
            url=signer.get(self.row.object_key, self.row.path, previews.answered_as(kind)).url,
            size_bytes=self.size_bytes,
            expires_at=datetime.now(UTC) + timedelta(seconds=GET_EXPIRES_S),
        )

    @strawberry.field(
        description="Artifacts of other runs of the project that have the same bytes, the newest first; none unless it "
        "is READY."
    )
    async def same_bytes(
        self, info: Info, first: Annotated[int, strawberry.argument(description="How many at most, 1 to 100.")] = 10
    ) -> "list[Artifact]":
        if not 1 <= first <= SAME_MAX:
            raise errors.Invalid(f"first is {first}", path="first", limit=f"1 to {SAME_MAX}")
        if self.row.object_key is None:
            return []
        rows = await artifacts.same_bytes(info.context.pool, info.context.scope, self.row, limit=first)
        return [Artifact.from_row(row) for row in rows]


@contextmanager
def store_answers() -> Iterator[None]:
    """Raise `Unavailable` when the store does not."""
    try:
        yield
    except (StoreError, TimeoutError) as error:
        raise errors.Unavailable("the object store does not answer now", hint="send the same request again") from error


async def artifact_page(
    info: Info, run_id: UUID, prefix: str, states: Sequence[ArtifactState] | None, first: int, after: str | None
) -> Connection[Artifact]:
    """The artifacts of a run, by path. Raises `Invalid`."""
    context = info.context
    texts.storable(prefix, "prefix")

    async def fetch(start: list[Any] | None, limit: int) -> list[artifacts.Artifact]:
        position = (start[0], UUID(start[1])) if start else None
        return await artifacts.page(
            context.pool, context.scope, run_id, prefix=prefix, states=states, after=position, limit=limit
        )

    async def count() -> int:
        return await artifacts.count(context.pool, context.scope, run_id, prefix=prefix, states=states)

    return await page(
        context,
        "artifacts",
        [str(run_id), prefix, states],
        first,
        after,
        fetch=fetch,
        position=lambda row: [row.path, row.id],
        node=Artifact.from_row,
        count=count,
    )


@strawberry.type
class ArtifactQuery:
    @strawberry.field(description="One artifact; null when there is none for you to see.")
    async def artifact(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Artifact | None:
        row = await found(info.context.loaders.artifact, id)
        return Artifact.from_row(row) if row else None


@strawberry.type(description="A header to send with a request, exactly as it is.")
class Header:
    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value.")


@strawberry.type(description="A request to send to the object store, with a stretch of the file as its body.")
class UploadRequest:
    part_number: int | None = strawberry.field(description="Which part it is, from 1; null when it is the whole file.")
    offset: Int64 = strawberry.field(description="Where in the file its body begins, in bytes.")
    size_bytes: Int64 = strawberry.field(description="How long its body is, in bytes.")
    method: str = strawberry.field(description="Its HTTP method.")
    url: str = strawberry.field(description="Where to. Whoever has the address can send these bytes until it expires.")
    headers: list[Header] = strawberry.field(description="All are signed: the store refuses the request without them.")


@strawberry.type(description="What to send for a file.")
class Upload:
    id: strawberry.ID | None = strawberry.field(
        description="For completeUploads; null when there is nothing to send, because the bytes are there."
    )
    artifact: Artifact = strawberry.field(description="What the file becomes.")
    requests: list[UploadRequest] = strawberry.field(
        description="What to send, in any order. 412 says that the store has the bytes: go on as after 200."
    )
    part_size_bytes: Int64 | None = strawberry.field(
        description="The size of all parts but the last, in bytes; null when it is not sent in parts."
    )
    expires_at: datetime = strawberry.field(
        description="When the addresses stop working. Ask createUploads again for the same file to get new ones."
    )


@strawberry.input(description="A file to upload.")
class FileInput:
    path: str = strawberry.field(
        description="Its path in the run: relative, folders separated by /, at most 1,024 bytes and 32 segments."
    )
    size_bytes: Int64 = strawberry.field(description="Its size in bytes.")
    sha256: str = strawberry.field(description="The SHA-256 of its bytes, 64 digits of 0-9 a-f.")
    media_type: str | None = strawberry.field(default=None, description="What it is, such as `image/png`.")


@strawberry.input(description="Files to upload.")
class CreateUploadsInput:
    run_id: strawberry.ID = strawberry.field(description="The run they belong to.")
    files: list[FileInput] = strawberry.field(description="At most 1,000; all are taken, or none.")


@strawberry.type(description="What to send.")
class CreateUploadsPayload:
    uploads: list[Upload] = strawberry.field(description="One for each file, in the order asked.")


CreateUploadsResult = Annotated[
    CreateUploadsPayload | NotFound | Forbidden | Invalid | ArtifactConflict | RunSealed | Unavailable,
    strawberry.union("CreateUploadsResult", description="What createUploads answers."),
]


@strawberry.input(description="A part that was sent.")
class CompletedPartInput:
    part_number: int = strawberry.field(description="Which part, from 1.")
    etag: str = strawberry.field(description="The ETag header of the store's answer to it.")


@strawberry.input(description="An upload of which everything was sent.")
class CompletedUploadInput:
    upload_id: strawberry.ID = strawberry.field(description="The upload.")
    parts: list[CompletedPartInput] | None = strawberry.field(
        default=None,
        description="Its parts, when it was sent in parts and they are known; others must not replace them.",
    )


@strawberry.input(description="Uploads of which everything was sent.")
class CompleteUploadsInput:
    uploads: list[CompletedUploadInput] = strawberry.field(description="At most 1,000; all are completed, or none.")


@strawberry.type(description="The worker compares the bytes with what was promised.")
class CompleteUploadsPayload:
    artifacts: list[Artifact] = strawberry.field(description="The artifact of each upload, in the order asked.")


CompleteUploadsResult = Annotated[
    CompleteUploadsPayload | NotFound | Forbidden | Invalid | RunSealed | UploadExpired | Unavailable,
    strawberry.union("CompleteUploadsResult", description="What completeUploads answers."),
]


@strawberry.input(description="An upload to give up.")
class AbortUploadInput:
    upload_id: strawberry.ID = strawberry.field(description="The upload.")


@strawberry.type(description="The upload is over.")
class AbortUploadPayload:
    artifact: Artifact = strawberry.field(
        description="FAILED now, unless everything was sent before: then it is as it would have been."
    )


AbortUploadResult = Annotated[
    AbortUploadPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("AbortUploadResult", description="What abortUpload answers."),
]


@strawberry.type
class ArtifactMutation:
    @mutation(
        "Ask where to send files. The same file again gives the same upload with fresh addresses; other bytes at a "
        "path that the run has are refused."
    )
    async def create_uploads(
        self, info: Info, input: Annotated[CreateUploadsInput, strawberry.argument(description="The files.")]
    ) -> CreateUploadsResult:
        deps = info.context.deps
        files = _checked(deps, input.files)
        with store_answers():
            probe = await deps.prober.answers()
        rows = await uploads.create(
            deps.pool,
            info.context.scope,
            ids.parse(input.run_id, "input.runId"),
            files,
            direct=probe.is_trusted,
            expiry_s=deps.settings.upload_expiry_s,
        )
        rows = await _with_multiparts(deps, rows)
        with store_answers():
            signer = await deps.store.signer()
        shown = await asyncio.to_thread(_signed, signer, deps.store.settings.prefix, rows)
        return CreateUploadsPayload(uploads=shown)

    @mutation("Say that everything was sent for these uploads; the worker then makes their artifacts READY or FAILED.")
    async def complete_uploads(
        self, info: Info, input: Annotated[CompleteUploadsInput, strawberry.argument(description="The uploads.")]
    ) -> CompleteUploadsResult:
        deps = info.context.deps
        uploads.check_count(len(input.uploads), "input.uploads")
        completed = [_completed(each, f"input.uploads[{index}]") for index, each in enumerate(input.uploads)]
        rows = await uploads.complete(deps.pool, info.context.scope, completed, expiry_s=deps.settings.upload_expiry_s)
        await queue.wake(deps.redis, WORK)
        return CompleteUploadsPayload(artifacts=[Artifact.from_row(row) for row in rows])

    @mutation("Give an upload up. One of which everything was sent stays as it is.")
    async def abort_upload(
        self, info: Info, input: Annotated[AbortUploadInput, strawberry.argument(description="The upload.")]
    ) -> AbortUploadResult:
        upload_id = ids.parse(input.upload_id, "input.uploadId")
        row = await uploads.abort(info.context.pool, info.context.scope, upload_id)
        return AbortUploadPayload(artifact=Artifact.from_row(row))


def _checked(deps: Deps, files: Sequence[FileInput]) -> list[uploads.File]:
    """What can be uploaded. Raises `Invalid` that names the file."""
    uploads.check_count(len(files), "input.files")
    size_bytes_max = deps.settings.artifact_size_bytes_max
    return [
        uploads.checked_file(
            uploads.File(
                path=file.path,
                digest=uploads.checked_digest(file.sha256, f"{at}.sha256"),
                size_bytes=uploads.checked_size(file.size_bytes, size_bytes_max, f"{at}.sizeBytes"),
                media_type=file.media_type,
                staging_key=keys.staging(deps.store.settings.prefix),
                part_size_bytes=part_size_bytes(file.size_bytes),
            ),
            at,
        )
        for at, file in ((f"input.files[{index}]", file) for index, file in enumerate(files))
    ]


def _completed(upload: CompletedUploadInput, at: str) -> uploads.Completed:
    parts = {part.part_number: part.etag for part in upload.parts or []}
    return uploads.Completed(ids.parse(upload.upload_id, f"{at}.uploadId"), uploads.checked_parts(parts, f"{at}.parts"))


async def _with_multiparts(deps: Deps, rows: Sequence[uploads.Upload]) -> list[uploads.Upload]:
    """The uploads, with a multipart upload begun for each that needs one. Raises `Unavailable`."""
    keys_without = {
        row.artifact.id: row.sending.staging_key
        for row in rows
        if row.sending and row.sending.staging_key and row.sending.part_size_bytes and not row.sending.multipart_id
    }
    begun = await _begun(deps, list(keys_without.values()))
    kept: dict[UUID, str | None] = {}
    for upload_id, key in keys_without.items():
        kept[upload_id] = await uploads.start_multipart(deps.pool, upload_id, begun[key])
        if kept[upload_id] != begun[key]:  # another request was faster
            with store_answers():
                await deps.store.drop_multipart(key, begun[key])
    return [
        replace(row, sending=replace(row.sending, multipart_id=kept[row.artifact.id]))
        if row.sending and row.artifact.id in kept
        else row
        for row in rows
    ]


async def _begun(deps: Deps, staging_keys: Sequence[str]) -> dict[str, str]:
    """A new multipart upload for each key. Raises `Unavailable`."""
    slots = asyncio.Semaphore(MULTIPARTS_AT_ONCE)

    async def begin(key: str) -> str:
        async with slots:
            return await deps.store.start_multipart(key)

    with store_answers():
        async with asyncio.timeout(STORE_TIMEOUT_S):
            found = await asyncio.gather(*map(begin, staging_keys), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
    return dict(zip(staging_keys, cast(list[str], found), strict=True))


def _signed(signer: Signer, prefix: str, rows: Sequence[uploads.Upload]) -> list[Upload]:
    """What clients are shown. Signing takes a while when there are many, so this is done in a thread."""
    expires_at = datetime.now(UTC) + timedelta(seconds=PUT_EXPIRES_S)
    return [
        Upload(
            id=None if row.sending is None else strawberry.ID(str(row.artifact.id)),
            artifact=Artifact.from_row(row.artifact),
            requests=[] if row.sending is None else _requests(signer, prefix, row.artifact, row.sending),
            part_size_bytes=None if row.sending is None else _int64(row.sending.part_size_bytes),
            expires_at=expires_at,
        )
        for row in rows
    ]


def _requests(
    signer: Signer, prefix: str, artifact: artifacts.Artifact, sending: uploads.Sending
) -> list[UploadRequest]:
    size_bytes, part_bytes = artifact.size_bytes, sending.part_size_bytes
    if sending.staging_key is None:
        key = keys.content(prefix, artifact.project_id, artifact.digest)
        return [_request(signer.put_content(key, artifact.digest, size_bytes), None, 0, size_bytes)]
    if part_bytes is None:
        return [_request(signer.put_staging(sending.staging_key, size_bytes), None, 0, size_bytes)]
    assert sending.multipart_id is not None, "it was begun before"
    found = []
    for number, offset in enumerate(range(0, size_bytes, part_bytes), start=1):
        length = min(part_bytes, size_bytes - offset)
        request = signer.put_part(sending.staging_key, sending.multipart_id, number, length)
        found.append(_request(request, number, offset, length))
    return found


def _request(request: Request, part_number: int | None, offset: int, size_bytes: int) -> UploadRequest:
    return UploadRequest(
        part_number=part_number,
        offset=Int64(offset),
        size_bytes=Int64(size_bytes),
        method=request.method,
        url=request.url,
        headers=[Header(name=name, value=value) for name, value in request.headers.items()],
    )


def _int64(number: int | None) -> Int64 | None:
    return None if number is None else Int64(number)
