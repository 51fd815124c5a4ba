"""Closings: the last points of runs and their ends, in one step where two would take as many groups and commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final
from uuid import UUID

from db import blocks, runs
from db.blocks import Batch
from db.pool import Conn
from db.runs import Ended, Ending

SIZE_BYTES: Final = 500  # of an end, about


@dataclass(frozen=True, slots=True)
class Closing:
    """Points of one writer and the end of the same run: both are stored or neither is."""

    batch: Batch
    ending: Ending

    @property
    def size_bytes(self) -> int:
        """About what it takes on its way."""
        return self.batch.size_bytes + SIZE_BYTES


@dataclass(frozen=True, slots=True)
class Closed:
    """A run whose last points are stored, and whether somebody wanted it to end."""

    ended: Ended
    stop_requested: bool


LOG_AND_END: Final = """
    select * from log_and_end($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


async def close(conn: Conn, closings: Sequence[Closing]) -> list[Closed | None]:
    """The runs that end now, in the order given; None for one that was left as it is.

    That is one whose newest attempt has ended, or whose writer's next block is another, or one that is given twice.
    Raises `CheckViolationError` by the name `run_keys_max` when one of them would have too many keys.
    """
    by_id: dict[UUID, Closing] = {}
    for one in closings:
        by_id.setdefault(one.batch.run_id, one)
    batches = [one.batch for one in by_id.values()]
    endings = [one.ending for one in by_id.values()]
    rows = await conn.fetch(
        LOG_AND_END,
        [batch.writer_id for batch in batches],
        list(by_id),
        [batch.account_id for batch in batches],
        [ending.status for ending in endings],
        [ending.client_finished_at for ending in endings],
        list(accumulate((len(batch.blocks) for batch in batches), initial=0)),
        *blocks.columns([block for batch in batches for block in batch.blocks]),
    )
    closed = {row["id"]: Closed(runs.ended(row), row["stop_requested"]) for row in rows}
    return [closed.get(one.batch.run_id) if by_id[one.batch.run_id] is one else None for one in closings]
