"""Connections to Postgres, with an end to every wait."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolAcquireContext

if TYPE_CHECKING:
    _Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # asyncpg's classes take parameters only in its stubs
    _Pool = asyncpg.Pool
    Connection = asyncpg.Connection


class _Connection(asyncpg.Connection):
    """A connection that goes back to its pool as it is: nobody leaves settings, session locks or listeners behind."""

    def get_reset_query(self) -> str:
        """Nothing: resetting would cost as much as most statements do."""
        return ""


class Pool(_Pool):
    """A pool that gives up waiting for a free connection; asyncpg's own waits for ever."""

    acquire_timeout_s: float = 2.0

    def acquire(self, *, timeout: float | None = None) -> "PoolAcquireContext[asyncpg.Record]":
        """One connection. Raises `TimeoutError` after `acquire_timeout_s` seconds when none is free."""
        return super().acquire(timeout=self.acquire_timeout_s if timeout is None else timeout)


class Portion:
    """Some connections of a pool: who asks for many things at once waits for its own, not for all others' too."""

    def __init__(self, pool: Pool, size: int) -> None:
        self._pool = pool
        self._places = asyncio.Semaphore(size)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["Connection"]:
        """One connection. Raises `TimeoutError` when the pool has none free for too long."""
        async with self._places, self._pool.acquire() as conn:
            yield conn

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows."""
        async with self.acquire() as conn:
            return await conn.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: object) -> asyncpg.Record | None:
        """The first row."""
        async with self.acquire() as conn:
            return await conn.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """The first value of the first row."""
        async with self.acquire() as conn:
            return await conn.fetchval(query, *arguments)


Conn: TypeAlias = Pool | Connection

ANY_PLANS: Final[Mapping[str, str]] = {}
# A prepared plan stays while its tables grow. These stay good: they find few rows of large tables by their indexes.
# Else Postgres would plan small groups anew, as few rows look cheaper than many: half of what the end of a run took.
FEW_ROWS_PLANS: Final[Mapping[str, str]] = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


# The same for the statements of one transaction; the tables of points fill and empty faster than statistics follow.
FIND_FEW_ROWS = """
    select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
"""


async def find_few_rows(conn: Connection) -> None:
    """Until the transaction ends, plan for few rows of large tables, whatever the tables look like now: plans stay."""
    await conn.execute(FIND_FEW_ROWS)


async def _prepare(conn: Any) -> None:
    """JSON columns travel as text; who needs the object parses it."""
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)


@asynccontextmanager
async def open_pool(
    url: str, *, size_max: int, statement_timeout_s: int, name: str, plans: Mapping[str, str] = ANY_PLANS
) -> AsyncIterator[Pool]:
    """A pool whose statements end after `statement_timeout_s` seconds; `name` shows in pg_stat_activity."""
    pool = Pool(
        url,
        min_size=1,
        max_size=size_max,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        connect=None,
        setup=None,
        init=_prepare,
        reset=None,
        loop=None,
        connection_class=_Connection,
        record_class=asyncpg.Record,
        timeout=10.0,
        command_timeout=statement_timeout_s + 5,
        server_settings={
            "application_name": f"runstone {name}",
            "statement_timeout": str(statement_timeout_s * 1000),
            "idle_in_transaction_session_timeout": "30000",
            "timezone": "UTC",
            **plans,
        },
    )
    await pool
    try:
        yield pool
    finally:
        pool.terminate()
