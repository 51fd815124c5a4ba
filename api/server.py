"""The server: its version, what its store enforces, and its limits."""

from importlib.metadata import PackageNotFoundError, version

import strawberry

from api.context import Info
from api.scalars import Int64
from api.selections import SELECTED_MAX
from db import metrics, params, tags, texts, uploads
from storage.store import PART_BYTES, StoreError


@strawberry.type(description="What the object store was found to enforce; where it does not, a worker checks instead.")
class StorageInfo:
    checksum_enforced: bool = strawberry.field(description="Whether it refuses bytes that differ from the digest.")
    overwrite_refused: bool = strawberry.field(description="Whether it refuses to overwrite when told not to.")


@strawberry.type(description="The bounds of what clients may send.")
class Limits:
    name_characters: int = strawberry.field(description="Of a name or key, in characters.")
    value_bytes: int = strawberry.field(description="Of a param or tag, in bytes of UTF-8.")
    params_per_run: int = strawberry.field(description="Params of a run.")
    tags_per_run: int = strawberry.field(description="Tags of a run.")
    points_per_batch: int = strawberry.field(description="Points in one logMetrics.")
    keys_per_run: int = strawberry.field(description="Different metric keys of a run.")
    files_per_request: int = strawberry.field(description="Files in one createUploads.")
    request_bytes: int = strawberry.field(description="Of a request body, unpacked, in bytes.")
    artifact_bytes: Int64 = strawberry.field(description="Of an artifact, in bytes.")
    part_bytes: Int64 = strawberry.field(description="Files above this are uploaded in parts of this size, in bytes.")
    runs_compared: int = strawberry.field(description="Runs in one compareRuns.")


@strawberry.type(description="This server.")
class ServerInfo:
    version: str = strawberry.field(description="The version of Runstone.")
    limits: Limits = strawberry.field(description="The bounds of what clients may send.")
    artifact_origin: str = strawberry.field(
        description="Where the links to artifacts lead, as scheme, host and port; pages fetch previews from there."
    )

    @strawberry.field(description="What the object store enforces; null while it does not answer.")
    async def storage(self, info: Info) -> StorageInfo | None:
        try:
            probe = await info.context.deps.prober.answers()
        except StoreError:
            return None
        return StorageInfo(checksum_enforced=probe.checksum_enforced, overwrite_refused=probe.overwrite_refused)


def _version() -> str:
    try:
        return version("runstone")
    except PackageNotFoundError:  # run from an unpacked source tree
        return "unknown"


@strawberry.type
class ServerQuery:
    @strawberry.field(description="This server: its version, its limits, what its store enforces.")
    def server_info(self, info: Info) -> ServerInfo:
        settings = info.context.deps.settings
        limits = Limits(
            name_characters=texts.NAME_CHARACTERS_MAX,
            value_bytes=texts.VALUE_BYTES_MAX,
            params_per_run=params.PER_RUN_MAX,
            tags_per_run=tags.PER_RUN_MAX,
            points_per_batch=metrics.POINTS_PER_BATCH_MAX,
            keys_per_run=metrics.KEYS_PER_RUN_MAX,
            files_per_request=uploads.FILES_PER_REQUEST_MAX,
            request_bytes=settings.request_body_bytes_max,
            artifact_bytes=Int64(settings.artifact_size_bytes_max),
            part_bytes=Int64(PART_BYTES),
            runs_compared=SELECTED_MAX,
        )
        origin = info.context.deps.store.public_origin
        return ServerInfo(version=_version(), limits=limits, artifact_origin=origin)
