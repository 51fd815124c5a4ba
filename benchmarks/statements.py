"""The database's own time, by pg_stat_statements: of what ran, not of waiting for who asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from db.pool import Pool

# Planning is counted only when asked for. The setting is of the whole server, which is ours.
SETTING: Final = "pg_stat_statements.track_planning"

SPENT: Final = """
    select coalesce(sum(ms) filter (where calls >= $1), 0) as ms, coalesce(sum(ms) filter (where calls < $1), 0) as rest
    from (
        select calls, total_plan_time + total_exec_time as ms
        from pg_stat_statements
        where dbid = (select oid from pg_database where datname = current_database())
            and query not like '%pg_stat_statements%'
    ) as counted
"""


@dataclass(slots=True)
class Spent:
    """Milliseconds for each request, known when the block has ended.

    `ms` is of statements that ran at least once a request, `rest_ms` of those that ran less often: the worker's.
    """

    ms: float = 0.0
    rest_ms: float = 0.0


class Statements:
    """Counts what statements take."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def of(self, requests: int) -> AsyncIterator[Spent]:
        """What so many requests took, which the block makes."""
        await self._pool.execute("select pg_stat_statements_reset()")
        spent = Spent()
        yield spent
        row = await self._pool.fetchrow(SPENT, requests)
        assert row is not None
        spent.ms, spent.rest_ms = row["ms"] / requests, row["rest"] / requests


@asynccontextmanager
async def counting(pool: Pool) -> AsyncIterator[Statements]:
    """Statements are counted, with their planning, until the block ends."""
    await pool.execute("create extension if not exists pg_stat_statements")
    await pool.execute(f"alter system set {SETTING} = on")
    await pool.execute("select pg_reload_conf()")
    try:
        yield Statements(pool)
    finally:
        await pool.execute(f"alter system reset {SETTING}")
        await pool.execute("select pg_reload_conf()")
