"""Exports: runs as Parquet files, written by the worker and downloaded from the object store."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import strawberry

from api.accounts import Account, account
from api.artifacts import Download, store_answers
from api.auth import mutation
from api.connections import After, Connection, First, page
from api.context import Info, found
from api.errors import Conflict, Invalid, NotFound, QuotaExceeded, Unavailable
from api.nodes import Node
from api.projects import Project
from api.scalars import Int64
from api.selections import RunSelection
from db import errors, exports, ids
from db.exports import Asked, ExportFailureReason, ExportState, ExportTable
from storage import digest
from storage.presign import GET_EXPIRES_S
from workers import queue

WORK: Final = "exports"


@strawberry.type(description="How far the worker is.")
class ExportProgress:
    runs_done: Int64 = strawberry.field(description="How many runs it has read; an interrupted one begins anew.")
    runs_total: Int64 = strawberry.field(description="How many runs were selected when the export was asked for.")
    points: Int64 = strawberry.field(description="How many points it has read.")


@strawberry.type(description="Why an export failed.")
class ExportFailure:
    reason: ExportFailureReason = strawberry.field(description="The kind of failure.")
    message: str = strawberry.field(description="What was found, for a person.")


@strawberry.type(description="A file of an export: Parquet, or the manifest.")
class ExportFile:
    name: str = strawberry.field(description="Its name, such as `params-00001.parquet` or `manifest.json`.")
    table: ExportTable | None = strawberry.field(description="The table whose rows it has; null for the manifest.")
    rows: Int64 | None = strawberry.field(description="How many rows it has; null for the manifest.")
    size_bytes: Int64 = strawberry.field(description="Its size in bytes.")
    digest: str = strawberry.field(description="`sha256:<hex>` of its bytes.")
    row: strawberry.Private[exports.File]
    is_kept: strawberry.Private[bool]

    @strawberry.field(description="Where to get its bytes from; null once they are deleted. Ask when you need it.")
    async def download(self, info: Info) -> Download | None:
        if not self.is_kept:
            return None
        with store_answers():
            signer = await info.context.deps.store.signer()
        expires_at = datetime.now(UTC) + timedelta(seconds=GET_EXPIRES_S)
        return Download(url=signer.get(self.row.object_key, self.row.name).url, expires_at=expires_at)


@strawberry.type(description="Runs as files for other programs: what they recorded, table by table.")
class Export(Node):
    state: ExportState = strawberry.field(description="How far it is.")
    tables: list[ExportTable] = strawberry.field(description="What it has files of.")
    where: str | None = strawberry.field(
        description="What was asked of the runs, as a text; times such as '-7d' are counted from when it was asked."
    )
    progress: ExportProgress = strawberry.field(description="How far the worker is.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    finished_at: datetime | None = strawberry.field(description="When it became READY or FAILED.")
    expires_at: datetime | None = strawberry.field(
        description="How long its files are kept; null until it is finished."
    )
    row: strawberry.Private[exports.Export]

    @classmethod
    def from_row(cls, row: exports.Export) -> "Export":
        return cls(
            id=strawberry.ID(str(row.id)),
            state=row.state,
            tables=row.tables,
            where=row.where,
            progress=ExportProgress(
                runs_done=Int64(row.runs_done), runs_total=Int64(row.runs_total), points=Int64(row.points)
            ),
            created_at=row.created_at,
            finished_at=row.finished_at,
            expires_at=row.expires_at,
            row=row,
        )

    @strawberry.field(description="Why it failed; null unless it is FAILED.")
    def failure(self) -> ExportFailure | None:
        if self.row.failure_reason is None:
            return None
        return ExportFailure(reason=self.row.failure_reason, message=self.row.failure_message or "")

    @strawberry.field(description="Its files, the manifest last; empty until all of them are stored.")
    async def files(self, info: Info) -> list[ExportFile]:
        if self.row.state not in {ExportState.READY, ExportState.EXPIRED}:  # it may have become READY since it was read
            return []
        return [
            ExportFile(
                name=row.name,
                table=row.of_table,
                rows=None if row.rows is None else Int64(row.rows),
                size_bytes=Int64(row.size_bytes),
                digest=digest.text(row.digest),
                row=row,
                is_kept=self.row.state is ExportState.READY,
            )
            for row in await info.context.loaders.export_files.load(self.row.id)
        ]

    @strawberry.field(description="The project it is of.")
    async def project(self, info: Info) -> Project:
        row = await info.context.loaders.project.load(self.row.project_id)
        assert row is not None, "who sees an export sees its project"
        return Project.from_row(row)

    @strawberry.field(description="Who asked for it, by the token that was sent.")
    async def created_by(self, info: Info) -> Account:
        return await account(info, self.row.created_by)


@strawberry.type
class ExportQuery:
    @strawberry.field(description="One export; null when there is none for you to see.")
    async def export(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Export | None:
        row = await found(info.context.loaders.export, id)
        return Export.from_row(row) if row else None

    @strawberry.field(description="The exports of a project, the newest first.")
    async def exports(
        self,
        info: Info,
        project_id: Annotated[strawberry.ID, strawberry.argument(description="The project.")],
        first: First = 50,
        after: After = None,
    ) -> Connection[Export]:
        context = info.context
        of_project = ids.parse(project_id, "projectId")

        async def fetch(start: list[Any] | None, limit: int) -> list[exports.Export]:
            position = (datetime.fromisoformat(start[0]), UUID(start[1])) if start else None
            return await exports.page(context.pool, context.scope, of_project, after=position, limit=limit)

        async def count() -> int:
            return await exports.count(context.pool, context.scope, of_project)

        return await page(
            context,
            "exports",
            [project_id],
            first,
            after,
            fetch=fetch,
            position=lambda row: [row.created_at, row.id],
            node=Export.from_row,
            count=count,
        )


@strawberry.input(description="An export to make.")
class StartExportInput:
    id: strawberry.ID = strawberry.field(
        description="A UUIDv7 that you make, so that asking again is safe: the same request returns the same export."
    )
    select: RunSelection = strawberry.field(description="The runs, of one project, which must be named.")
    tables: list[ExportTable] | None = strawberry.field(default=None, description="What to export; absent: everything.")

    def checked(self) -> Asked:
        """What is asked, in the database's words. Raises `Invalid`."""
        tables = list(ExportTable) if self.tables is None else [table for table in ExportTable if table in self.tables]
        if not tables:
            raise errors.Invalid("input.tables is empty", path="input.tables", hint="leave it out to export everything")
        export_id, selection = ids.parse(self.id, "input.id"), self.select.checked()
        return Asked(export_id, selection, tables, request=orjson.dumps(asdict(self), default=str).decode())


@strawberry.type(description="There is such an export.")
class StartExportPayload:
    export: Export = strawberry.field(description="The export, as it is by now.")


StartExportResult = Annotated[
    StartExportPayload | NotFound | Invalid | Conflict | QuotaExceeded | Unavailable,
    strawberry.union("StartExportResult", description="What startExport answers."),
]


@strawberry.type
class ExportMutation:
    @mutation(
        "Have runs written as Parquet files. It holds what you see now; ask `export` until it is READY. "
        "The same request again returns the same export.",
        is_event=False,
    )
    async def start_export(
        self, info: Info, input: Annotated[StartExportInput, strawberry.argument(description="The export.")]
    ) -> StartExportResult:
        deps = info.context.deps
        row = await exports.start(
            deps.pool, info.context.scope, input.checked(), runs_max=deps.settings.export_runs_max
        )
        await queue.wake(deps.redis, WORK)
        return StartExportPayload(export=Export.from_row(row))
