"""Compaction: blocks of points become chunks, which are small and fast to read. Readers see no difference."""

import logging
from typing import Final

from db import chunks
from workers.work import Deps, Sweep

log = logging.getLogger(__name__)


async def compact(deps: Deps) -> None:
    """Compact the runs that are due, a bounded part of each in turn, until none is."""
    blocks = 0
    while run_ids := await chunks.due(deps.pool):
        compacted = sum([await chunks.compact(deps.pool, run_id) for run_id in run_ids])
        blocks += compacted
        if not compacted:  # another worker has them
            break
    if blocks:
        log.debug("%d blocks are compacted", blocks)


SWEEPS: Final = (Sweep("compact series", compact, every_s=2),)
