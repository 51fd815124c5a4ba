"""Upkeep: what clients left behind, runs that fell silent, bytes that nobody will ask for."""

import logging
from typing import Final

from db import runs, uploads
from workers import queue
from workers.work import Deps, Sweep

LEFTOVER_S: Final = 12 * 3600.0

log = logging.getLogger(__name__)


async def expire_uploads(deps: Deps) -> None:
    """Fail the uploads that clients abandoned."""
    expired = await uploads.expire(deps.pool)
    if expired:
        log.info("%d abandoned uploads have failed", expired)
        await queue.tell_of_events(deps.redis)


async def lose_runs(deps: Deps) -> None:
    """Mark the runs LOST whose client has been silent for too long."""
    lost = await runs.mark_lost(deps.pool, deps.settings.lost_after_s)
    if lost:
        log.info("%d runs are lost", lost)
        await queue.tell_of_events(deps.redis)


async def delete_leftovers(deps: Deps) -> None:
    """Delete staged bytes and parts that no upload needs any more."""
    staged = await deps.store.stale_stagings(LEFTOVER_S)
    multiparts = await deps.store.stale_multiparts(LEFTOVER_S)
    needed = await uploads.staged(deps.pool, [*staged, *(key for key, _ in multiparts)])
    for key in set(staged) - needed:
        await deps.store.delete(key)
    for key, multipart_id in multiparts:
        if key not in needed:
            await deps.store.drop_multipart(key, multipart_id)


SWEEPS: Final = (
    Sweep("expire uploads", expire_uploads, every_s=5),
    Sweep("lose runs", lose_runs, every_s=5),
    Sweep("delete leftovers", delete_leftovers, every_s=600),
)
