"""Compaction: blocks of points become chunks, which are small and fast to read. Readers see no difference."""

import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from db import chunks
from workers import memory
from workers.work import Deps, Sweep

log = logging.getLogger(__name__)


async def compact(deps: Deps) -> None:
    """Compact the runs that are due, some at a time; then again those that still have many blocks, until none has."""
    due = await chunks.due(deps.pool)
    while due:
        blocks = sum([await _compact(deps, group) for group in chunks.grouped(due)])
        log.debug("%d blocks of %d runs are compacted", blocks, len(due))
        # when nothing was, another worker has them
        due = await chunks.due(deps.pool, more_than=chunks.BACKLOG_BLOCKS) if blocks else {}
        memory.give_back()


async def _compact(deps: Deps, run_ids: Sequence[UUID]) -> int:
    """How many blocks became chunks; a run that cannot be compacted keeps no other from it."""
    try:
        return await chunks.compact(deps.pool, run_ids)
    except Exception:
        if len(run_ids) == 1:
            log.exception("run %s is not compacted", run_ids[0])
            return 0
    return sum([await _compact(deps, [run_id]) for run_id in run_ids])


SWEEPS: Final = (Sweep("compact series", compact, every_s=1),)
