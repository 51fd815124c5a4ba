"""Connections to Postgres, with an end to every wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolAcquireContext

if TYPE_CHECKING:
    _Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # asyncpg's classes take parameters only in its stubs
    _Pool = asyncpg.Pool
    Connection = asyncpg.Connection


class Pool(_Pool):
    """A pool that gives up waiting for a free connection; asyncpg's own waits for ever."""

    acquire_timeout_s: float = 2.0

    def acquire(self, *, timeout: float | None = None) -> "PoolAcquireContext[asyncpg.Record]":
        """One connection. Raises `TimeoutError` after `acquire_timeout_s` seconds when none is free."""
        return super().acquire(timeout=self.acquire_timeout_s if timeout is None else timeout)


Conn: TypeAlias = Pool | Connection


async def _prepare(conn: Any) -> None:
    """JSON columns travel as text; who needs the object parses it."""
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)


@asynccontextmanager
async def open_pool(url: str, *, size_max: int, statement_timeout_s: int, name: str) -> AsyncIterator[Pool]:
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
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        timeout=10.0,
        command_timeout=statement_timeout_s + 5,
        server_settings={
            "application_name": f"runstone {name}",
            "statement_timeout": str(statement_timeout_s * 1000),
            "idle_in_transaction_session_timeout": "30000",
            "timezone": "UTC",
        },
    )
    await pool
    try:
        yield pool
    finally:
        pool.terminate()
