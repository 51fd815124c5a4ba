"""The database's own time, by pg_stat_statements: of what ran, not of waiting for who asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from db.pool import Pool

# Planning is counted only when asked for. The setting is of the whole server, which is ours.
SETTING: Final = "pg_stat_statements.track_planning"

SPENT: Final = """
    select coalesce(sum(total_plan_time + total_exec_time), 0)
    from pg_stat_statements
    where dbid = (select oid from pg_database where datname = current_database())
        and calls >= $1 and query not like '%pg_stat_statements%'
"""


@dataclass(slots=True)
class Spent:
    """Milliseconds for each request, known when the block has ended."""

    ms: float = 0.0


class Statements:
    """Counts what statements take."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def of(self, requests: int, *, others: bool = False) -> AsyncIterator[Spent]:
        """What the block's requests took, each.

        Statements that ran less often than once a request are not theirs and left out, unless `others` count too.
        """
        await self._pool.execute("select pg_stat_statements_reset()")
        spent = Spent()
        yield spent
        spent.ms = float(await self._pool.fetchval(SPENT, 1 if others else requests)) / requests


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
