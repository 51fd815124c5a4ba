"""Exports: write what the selected runs recorded as files into the store, and delete them after some days."""

import asyncio
import importlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from db import exports
from db.exports import Claim, ExportFailureReason, File
from storage import keys
from storage.store import StoreError
from workers import memory
from workers.work import Deps, Job, Sweep

LEASE_S: Final = 45.0
TELL_S: Final = 1.0
RETRY_S: Final = 5.0
RELEASE_TIMEOUT_S: Final = 2.0
ATTEMPTS_MAX: Final = 5
WAITED_S_MAX: Final = 6 * 3600.0  # less than what is being written is left alone by the sweep of leftovers
CLEARED_AT_ONCE: Final = 100

log = logging.getLogger(__name__)


class Refused(Exception):
    """The export cannot be written, and never will be."""

    def __init__(self, reason: ExportFailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(slots=True)
class Progress:
    """How far the writing of an export is."""

    runs_done: int = 0
    points: int = 0


async def claim(deps: Deps, limit: int) -> Sequence[Claim]:
    """Exports that wait to be written."""
    return await exports.claim(deps.pool, limit, lease_s=LEASE_S)


async def write(deps: Deps, claimed: Claim) -> None:
    """Write the files, then make the export READY or FAILED. Until then it has none."""
    try:
        await _write(deps, claimed)
    finally:
        memory.give_back()


async def _write(deps: Deps, claimed: Claim) -> None:
    progress = Progress()
    expiry_s = deps.settings.export_expiry_s
    try:
        files = await _while_held(deps, claimed, progress)
    except Refused as refused:
        if await exports.fail(deps.pool, claimed, refused.reason, refused.message, expiry_s=expiry_s):
            log.info("export %s has failed: %s", claimed.id, refused.message)
            with suppress(StoreError):
                await _delete_files(deps, claimed.project_id, claimed.id)
    except StoreError as error:
        log.warning("export %s waits: %s", claimed.id, error)
        await exports.release(deps.pool, claimed, delay_s=RETRY_S, counts=False)
    except TimeoutError:
        log.warning("the claim on export %s was lost to another worker", claimed.id)
    except asyncio.CancelledError:
        async with asyncio.timeout(RELEASE_TIMEOUT_S):
            await exports.release(deps.pool, claimed, delay_s=0, counts=False)
        raise
    except Exception:
        await exports.release(deps.pool, claimed, delay_s=RETRY_S, counts=True)
        raise
    else:
        await exports.finish(deps.pool, claimed, progress.runs_done, progress.points, files, expiry_s=expiry_s)


JOB: Final = Job("exports", claim=claim, do=write, at_once=1)


async def _while_held(deps: Deps, claimed: Claim, progress: Progress) -> list[File]:
    """The files. Raises `TimeoutError` when the claim could not be renewed in time, `Refused`, `StoreError`."""
    async with asyncio.timeout(LEASE_S) as lease:
        telling = asyncio.create_task(_tell(deps, claimed, progress, lease))
        try:
            return await _written(deps, claimed, progress)
        finally:
            telling.cancel()
            await asyncio.wait([telling])


async def _tell(deps: Deps, claimed: Claim, progress: Progress, lease: asyncio.Timeout) -> None:
    """Say how far it is, which renews the claim."""
    while True:
        await asyncio.sleep(TELL_S)
        with suppress(Exception):  # then the lease runs out, unless the next try succeeds
            is_held = await exports.advance(deps.pool, claimed, progress.runs_done, progress.points, lease_s=LEASE_S)
            if not is_held:
                lease.reschedule(asyncio.get_running_loop().time())
                return
            lease.reschedule(asyncio.get_running_loop().time() + LEASE_S)


async def _written(deps: Deps, claimed: Claim, progress: Progress) -> list[File]:
    """The files, all stored. What earlier attempts left in the store is gone."""
    if claimed.scope is None:
        raise Refused(ExportFailureReason.FORBIDDEN, f"{claimed.account} may no longer see these runs")
    if claimed.attempts > ATTEMPTS_MAX:
        raise Refused(ExportFailureReason.POISON, f"{ATTEMPTS_MAX} attempts to write it ended without a result")
    left_s = WAITED_S_MAX - claimed.waited_s
    if left_s <= 0:
        raise _too_slow()
    await _delete_files(deps, claimed.project_id, claimed.id)
    # Arrow takes more memory than the rest of a worker, which may never export anything.
    extraction = await asyncio.to_thread(importlib.import_module, "workers.extraction")
    limit = asyncio.timeout(left_s)
    try:
        async with limit:
            files: list[File] = await extraction.extract(deps, claimed, claimed.scope, progress)
            return files
    except TimeoutError as error:
        if limit.expired():
            raise _too_slow() from error
        raise


def _too_slow() -> Refused:
    return Refused(ExportFailureReason.TOO_SLOW, f"it was not done within {WAITED_S_MAX / 3600:g} hours")


async def _delete_files(deps: Deps, project_id: UUID, export_id: UUID) -> None:
    await deps.store.delete_all(keys.exports(deps.store.settings.prefix, project_id, export_id))


async def expire(deps: Deps) -> None:
    """Delete the files that were kept long enough; nobody is shown them any more when that begins."""
    expired = await exports.expire(deps.pool)
    if expired:
        log.info("%d exports have expired", expired)
    for export_id, project_id in await exports.uncleared(deps.pool, CLEARED_AT_ONCE):
        await _delete_files(deps, project_id, export_id)
        await exports.cleared(deps.pool, export_id)


SWEEPS: Final = (Sweep("expire exports", expire, every_s=60),)
