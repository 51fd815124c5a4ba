"""Compaction: blocks of points become chunks, which are small and fast to read. Readers see no difference."""

import logging
from typing import Final
from uuid import UUID

from db import chunks
from workers.work import Deps, Sweep

log = logging.getLogger(__name__)


async def compact(deps: Deps) -> None:
    """Compact the runs that are due, a bounded part of each in turn, until none is."""
    while run_ids := await chunks.due(deps.pool):
        blocks = sum([await _compact(deps, run_id) for run_id in run_ids])
        if not blocks:  # another worker has them
            break
        log.debug("%d blocks of %d runs are compacted", blocks, len(run_ids))


async def _compact(deps: Deps, run_id: UUID) -> int:
    """How many blocks became chunks; a run that cannot be compacted keeps no other from it."""
    try:
        return await chunks.compact(deps.pool, run_id)
    except Exception:
        log.exception("run %s is not compacted", run_id)
        return 0


SWEEPS: Final = (Sweep("compact series", compact, every_s=2),)
