"""Compaction: blocks of points become chunks, which are small and fast to read. Readers see no difference."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from db import chunks
from workers import memory
from workers.work import Deps, Sweep

FEW_RUNS: Final = 500  # their blocks may wait some seconds longer, so that who logs meanwhile need not
RESTS: Final = 4  # times as long as the runs before took
REST_MOST_S: Final = 0.5

log = logging.getLogger(__name__)


async def compact(deps: Deps) -> float:
    """Compact the runs that are due, some at a time; then again those that still have many blocks, until none has.

    Rests in between while there are few, and gives the seconds that it did.
    """
    clock = asyncio.get_running_loop().time
    rested_s = 0.0
    due = await chunks.due(deps.pool)
    while due:
        can_wait = len(due) <= FEW_RUNS and max(due.values()) <= chunks.LIVE_BLOCKS_MAX
        blocks = 0
        for group in chunks.grouped(due):
            begun = clock()
            blocks += await _compact(deps, group)
            rest_s = min(RESTS * (clock() - begun), REST_MOST_S) if can_wait else 0.0
            await asyncio.sleep(rest_s)
            rested_s += rest_s
        log.debug("%d blocks of %d runs are compacted", blocks, len(due))
        # when nothing was, another worker has them
        due = await chunks.due(deps.pool, more_than=chunks.BACKLOG_BLOCKS) if blocks else {}
        memory.give_back()
    return rested_s


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
