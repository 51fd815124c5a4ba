"""A gate in Postgres: whoever changes a table waits there between its statement's work and its commit.

Points are stored, and uploads are finalized, by single statements, which commit by themselves. To kill someone exactly
then, a deferred trigger makes the commit wait for a lock that the test holds.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

LOCK = 7471
WAIT_S = 30.0
GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

INSTALL = f"""
    create or replace function pass_gate() returns trigger language plpgsql as $$
    begin
        perform pg_advisory_xact_lock_shared({LOCK});
        return null;
    end $$;
    drop trigger if exists gate on {{table}};
    create constraint trigger gate after insert or update on {{table}}
        deferrable initially deferred for each row execute function pass_gate();
"""

WAITING = f"""
    select pid from pg_locks where locktype = 'advisory' and objid = {LOCK} and not granted order by pid limit 1
"""


class Gate:
    """The closed gate of a table."""

    def __init__(self, url: str, table: str) -> None:
        self._url = url
        self._table = table
        self._holder: asyncpg.Connection[asyncpg.Record] | None = None

    async def close(self) -> None:
        """Let nobody through from now on."""
        self._holder = await asyncpg.connect(self._url)
        await self._holder.execute(INSTALL.format(table=self._table))
        await self._holder.execute(f"select pg_advisory_lock({LOCK})")

    async def waiting(self) -> int:
        """The process of Postgres that waits at the gate, once one does."""
        assert self._holder is not None
        async with asyncio.timeout(WAIT_S):
            while (pid := await self._holder.fetchval(WAITING)) is None:
                await asyncio.sleep(0.01)
        return int(pid)

    async def open(self) -> None:
        """Let everybody through; and take the gate away, also after Postgres was killed."""
        if self._holder is not None:
            with suppress(*GONE):
                await self._holder.close(timeout=2)
            self._holder.terminate()
        async with asyncio.timeout(2 * WAIT_S):
            while True:
                with suppress(*GONE):
                    await self._remove()
                    return
                await asyncio.sleep(0.05)

    async def _remove(self) -> None:
        conn = await asyncpg.connect(self._url, timeout=5, server_settings={"lock_timeout": "2s"})
        try:
            await conn.execute(f"drop trigger if exists gate on {self._table}")
        finally:
            conn.terminate()


@asynccontextmanager
async def gate(url: str, table: str) -> AsyncIterator[Gate]:
    """A gate that is closed until `open` is called, or the block ends."""
    made = Gate(url, table)
    try:
        await made.close()
        yield made
    finally:
        await made.open()
