"""Extraction: what the selected runs recorded, as rows of the tables of an export.

The runs are read newest first, some at a time, each with all that is known of it. So the tables are of the same runs,
and how much memory it takes does not depend on how many there are.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import orjson
from asyncpg import Record

from db import exports, extracts, runs, summaries, tags
from db.access import Scope
from db.exports import Claim, ExportFailureReason, ExportTable, File
from db.filters import Span
from db.runs import Run
from storage import digest as digests
from workers.exports import Progress, Refused
from workers.parquet import SCHEMAS, Place, PointRows, TableFiles, batch
from workers.work import Deps

FORMAT_VERSION: Final = 1
RUNS_AT_ONCE: Final = 200
GROUP_BYTES_MAX: Final = 8 << 20
GROUP_SERIES_MAX: Final = 5_000
POINTS_AT_ONCE: Final = 1 << 17

# Tables that are read page by page.
PAGED: Final[Mapping[ExportTable, str]] = {
    ExportTable.PARAMS: extracts.PARAMS,
    ExportTable.TAGS: extracts.TAGS,
    ExportTable.INPUTS: extracts.INPUTS,
    ExportTable.ARTIFACTS: extracts.ARTIFACTS,
    ExportTable.PACKAGES: extracts.PACKAGES,
}


async def extract(deps: Deps, claimed: Claim, scope: Scope, progress: Progress) -> list[File]:
    """The files of the export, all stored, with the manifest at the end. Raises `Refused`, `StoreError`."""
    place = Place(deps.store, claimed.project_id, claimed.id)
    tables = {table: TableFiles(place, table) for table in claimed.tables}
    try:
        extraction = _Extraction(deps, claimed, scope, progress, tables)
        async for page in extraction.pages():
            await extraction.add(page)
            progress.runs_done += len(page)
        await extraction.finish()
    finally:
        for table in tables.values():
            await table.drop()
    files = [file for table in tables.values() for file in table.finished]
    return [*files, await _store_manifest(place, _manifest(claimed, progress, files))]


class _Extraction:
    """Fills the tables from the database."""

    def __init__(
        self, deps: Deps, claimed: Claim, scope: Scope, progress: Progress, tables: Mapping[ExportTable, TableFiles]
    ) -> None:
        self._pool = deps.pool
        self._points_max = deps.settings.export_points_max
        self._claimed = claimed
        self._scope = scope
        self._progress = progress
        self._tables = tables
        self._reader = extracts.PointReader()
        self._rows = PointRows()

    async def pages(self) -> AsyncIterator[list[Run]]:
        """The selected runs, newest first."""
        after = None
        while True:
            page = await runs.page(
                self._pool, self._scope, self._claimed.selection, span=Span(RUNS_AT_ONCE, after=after)
            )
            if page:
                yield [placed.run for placed in page]
            if len(page) < RUNS_AT_ONCE:
                return
            after = page[-1].position

    async def add(self, page: Sequence[Run]) -> None:
        """All that is known of these runs."""
        run_ids = [run.id for run in page]
        for table in PAGED.keys() & self._tables.keys():
            async for rows in extracts.rows(self._pool, PAGED[table], run_ids):
                await self._tables[table].add(batch(table, _columns(table, rows)))
        if ExportTable.RUNS in self._tables or ExportTable.METRICS in self._tables:
            by_id = {run.id: run for run in page}
            for group in await extracts.groups(
                self._pool, run_ids, bytes_max=GROUP_BYTES_MAX, series_max=GROUP_SERIES_MAX
            ):
                await self._add_group([by_id[run_id] for run_id in group])
        if ExportTable.POINTS in self._tables:
            async for points in self._reader.read(self._pool, run_ids):
                await self._add_points(points)

    async def _add_group(self, group: Sequence[Run]) -> None:
        if ExportTable.RUNS in self._tables:
            await self._tables[ExportTable.RUNS].add(batch(ExportTable.RUNS, await self._of_runs(group)))
        if ExportTable.METRICS in self._tables:
            await self._tables[ExportTable.METRICS].add(batch(ExportTable.METRICS, await self._of_metrics(group)))

    async def _of_runs(self, group: Sequence[Run]) -> dict[str, list[Any]]:
        run_ids = [run.id for run in group]
        about = await extracts.about(self._pool, run_ids)
        tagged = await tags.of_runs(self._pool, self._scope, run_ids)
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMAS[ExportTable.RUNS].names}
        for run in group:
            row = {
                **about[run.id],
                "run_id": str(run.id),
                "name": run.name,
                "status": run.status.value,
                "project": self._claimed.project,
                "experiment_id": str(run.experiment_id),
                "parent_id": run.parent_id and str(run.parent_id),
                "group": run.group_name,
                "attempt": run.attempt,
                "created_at": run.created_at,
                "started_at": run.started_at,
                "finished_at": run.finished_at,
                "duration_seconds": run.finished_at and (run.finished_at - run.created_at).total_seconds(),
                "tags": [(tag.key, tag.value) for tag in tagged[run.id]],
            }
            patch = row["source_patch_digest"]
            row["source_patch_digest"] = patch and digests.text(patch)
            for name, column in columns.items():
                column.append(row[name])
        return columns

    async def _of_metrics(self, group: Sequence[Run]) -> dict[str, list[Any]]:
        found = await summaries.page(self._pool, self._scope, [run.id for run in group])
        names = SCHEMAS[ExportTable.METRICS].names[1:]
        columns: dict[str, list[Any]] = {name: [] for name in ("run_id", *names)}
        for run_id, of_run in found.items():
            columns["run_id"] += [str(run_id)] * len(of_run)
            for name in names:
                columns[name] += [getattr(summary, name) for summary in of_run]
        return columns

    async def _add_points(self, found: Sequence[extracts.Points]) -> None:
        for points in found:
            self._rows.add(points)
            self._progress.points += points.values.size
            if self._progress.points > self._points_max:
                raise Refused(
                    ExportFailureReason.TOO_LARGE,
                    f"the runs have more points than the {self._points_max} of an export; select fewer runs, "
                    "or leave the points out",
                )
            if self._rows.count >= POINTS_AT_ONCE:
                await self._write_points()

    async def finish(self) -> None:
        """Store what is left in memory."""
        await self._write_points()
        for table in self._tables.values():
            await table.finish()

    async def _write_points(self) -> None:
        if self._rows.count:
            await self._tables[ExportTable.POINTS].add(self._rows.taken())


def _columns(table: ExportTable, rows: Sequence[Record]) -> dict[str, list[Any]]:
    """The columns of a table that is read page by page."""
    if table is ExportTable.PACKAGES:
        every = [(str(row["run_id"]), *one) for row in rows for one in orjson.loads(row["packages"]).items()]
        return {name: [one[place] for one in every] for place, name in enumerate(SCHEMAS[table].names)}
    columns = {name: [row[name] for row in rows] for name in SCHEMAS[table].names}
    columns["run_id"] = [str(run_id) for run_id in columns["run_id"]]
    if table is ExportTable.ARTIFACTS:
        columns["digest"] = [digests.text(digest) for digest in columns["digest"]]
    return columns


def _manifest(claimed: Claim, progress: Progress, files: Sequence[File]) -> dict[str, Any]:
    """What the files are, for people and programs."""
    return {
        "format": "runstone-export",
        "version": FORMAT_VERSION,
        "id": str(claimed.id),
        "project": claimed.project,
        "selection": orjson.Fragment(exports.to_json(claimed.selection)),
        "requestedBy": claimed.account,
        "requestedAt": claimed.created_at,
        "readFrom": claimed.started_at,
        "readUntil": datetime.now(UTC),
        "runs": progress.runs_done,
        "points": progress.points,
        "files": [
            {
                "name": file.name,
                "table": file.of_table,
                "rows": file.rows,
                "sizeBytes": file.size_bytes,
                "digest": digests.text(file.digest),
            }
            for file in files
        ],
    }


async def _store_manifest(place: Place, manifest: Mapping[str, Any]) -> File:
    content = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
    digest = sha256(content).digest()
    writing = place.store.writing(place.new_key())
    await writing.finish(content, digest)
    return File("manifest.json", None, None, len(content), digest, writing.key)
