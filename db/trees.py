"""Trees of runs: what is below a run. What is above it stands in its own row."""

from collections.abc import Sequence
from uuid import UUID

from db.access import Scope
from db.pool import Conn

COUNTS = """
    select ancestor.id, below.runs
    from unnest($1::uuid[]) as ancestor (id)
    cross join lateral (
        select count(*) as runs
        from run
        where run.parent_id is not null and run.ancestor_ids @> array[ancestor.id]
            and is_visible(run.project_id, run.created_by, $2, $3, $4)
    ) as below
"""


async def counts(conn: Conn, scope: Scope, run_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many runs are below each."""
    return {row["id"]: row["runs"] for row in await conn.fetch(COUNTS, run_ids, *scope.sight)}
