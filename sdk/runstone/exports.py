"""Exports: runs as Parquet files, written by the server and brought to this machine."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from runstone import downloads, values
from runstone.downloads import Remote
from runstone.errors import ExportFailed, Invalid, NotFound, TimedOut
from runstone.progress import Progress
from runstone.transport import Transport

log = logging.getLogger("runstone")

MANIFEST: Final = "manifest.json"
POLL_FIRST_S: Final = 0.2
POLL_MOST_S: Final = 2.0
UNTOUCHED_S: Final = 30.0  # without a worker, before we say so
TIMEOUT_S: Final = 7 * 3600.0  # the server gives up before


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export: `digest` is `sha256:...`; the manifest has neither a table nor rows."""

    name: str
    table: str | None
    rows: int | None
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Export:
    """Runs as files: QUEUED, RUNNING, READY, FAILED or EXPIRED. `folder` is where they were downloaded to."""

    id: str
    state: str
    runs_done: int
    runs_total: int
    points: int
    files: tuple[ExportedFile, ...] = ()
    folder: Path | None = None


async def start(
    transport: Transport, select: Mapping[str, Any], tables: Sequence[str] | None, export_id: str | None
) -> Export:
    """The export, which a worker writes from now on."""
    given = {
        "id": export_id or values.new_id(),
        "select": select,
        "tables": None if tables is None else [table.upper() for table in tables],
    }
    return _read((await transport.mutate("StartExport", {"input": given}))["export"])


async def follow(transport: Transport, export: Export, timeout_s: float = TIMEOUT_S) -> Export:
    """The export once it is READY. Raises `ExportFailed`, `TimedOut`."""
    loop = asyncio.get_running_loop()
    begun, pause_s, told = loop.time(), POLL_FIRST_S, False
    progress = Progress("Exporting", "runs")
    progress.expect(export.runs_total)
    progress.show()
    shown = 0
    try:
        while export.state in {"QUEUED", "RUNNING"}:
            waited_s = loop.time() - begun
            if waited_s > timeout_s:
                raise TimedOut(f"export {export.id} was not done in {timeout_s:g} s")
            if export.state == "QUEUED" and waited_s > UNTOUCHED_S and not told:
                told = True
                log.warning("no worker has begun with export %s yet", export.id)
            await asyncio.sleep(pause_s)
            pause_s = min(POLL_MOST_S, pause_s * 1.5)
            export = _read(await _asked(transport, export.id))
            progress.advance(export.runs_done - shown)
            shown = export.runs_done
    finally:
        progress.close()
    return export


async def download(transport: Transport, export: Export, to: str | os.PathLike[str]) -> Export:
    """The export with its files in the folder `to`: the manifest comes last, when all others are there."""
    folder = await asyncio.to_thread(checked, Path(to))
    source = f"export {export.id}"

    async def renewed(path: str) -> str:
        return (await _remotes(transport, export.id))[path].url

    remotes = await _remotes(transport, export.id)
    await downloads.fetch([one for one in remotes.values() if one.path != MANIFEST], folder, renewed, source)
    await downloads.fetch([remotes[MANIFEST]], folder, renewed, source)
    return replace(export, folder=folder)


def checked(folder: Path) -> Path:
    """The folder, when no other export is in it. Raises `Invalid`."""
    if any((*folder.glob("*.parquet"), *folder.glob(MANIFEST))):
        raise Invalid(f"{folder} has an export already", path="to", hint="name another folder, or empty this one")
    return folder.absolute()


async def _asked(transport: Transport, export_id: str) -> dict[str, Any]:
    """The export as it is now. Raises `NotFound`, `ExportFailed`."""
    answer: dict[str, Any] | None = (await transport.call("Export", {"id": export_id}))["export"]
    if answer is None:
        raise NotFound(f"there is no export {export_id}")
    if answer["state"] == "FAILED":
        raise ExportFailed(f"export {export_id} has failed: {answer['failure']['message']}")
    if answer["state"] == "EXPIRED":
        raise ExportFailed(f"the files of export {export_id} are deleted", hint="export again")
    return answer


async def _remotes(transport: Transport, export_id: str) -> dict[str, Remote]:
    """The files in the store, by name."""
    return {
        file["name"]: Remote(file["name"], file["digest"], file["sizeBytes"], file["download"]["url"])
        for file in (await _asked(transport, export_id))["files"]
    }


def _read(answer: Mapping[str, Any]) -> Export:
    progress = answer["progress"]
    return Export(
        answer["id"],
        answer["state"],
        progress["runsDone"],
        progress["runsTotal"],
        progress["points"],
        tuple(
            ExportedFile(file["name"], file["table"], file["rows"], file["sizeBytes"], file["digest"])
            for file in answer.get("files", ())
        ),
    )
