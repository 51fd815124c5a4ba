"""Brings a database to the newest schema: numbered SQL files, each applied once, in one transaction."""

import logging
from pathlib import Path

import asyncpg

from db.pool import Connection

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x52554E53  # "RUNS": one migrator at a time in this database

log = logging.getLogger(__name__)


class MigrationError(RuntimeError):
    """The database cannot be brought to this version; the message says what to do."""


async def migrate(url: str, *, lock_timeout_s: int = 60) -> list[str]:
    """Names of the files applied now, in order. Raises `MigrationError`.

    Waits up to `lock_timeout_s` seconds for another migrator, and as long for each table lock.
    """
    conn = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "runstone migrate"})
    try:
        await conn.execute(f"set lock_timeout = '{lock_timeout_s}s'")
        try:
            await conn.execute("select pg_advisory_lock($1)", LOCK_KEY)
        except asyncpg.LockNotAvailableError as error:
            raise MigrationError("another process is migrating this database; try again later") from error
        return await _apply_missing(conn)
    finally:
        await conn.close(timeout=10)


HISTORY = """
    create table if not exists migration (
        name text primary key,
        applied_at timestamptz not null default now()
    )
"""


async def _apply_missing(conn: Connection) -> list[str]:
    """Apply what is not in the history; the caller holds the advisory lock."""
    await conn.execute(HISTORY)
    names = await missing(conn)
    for name in names:
        async with conn.transaction():
            await conn.execute((MIGRATIONS / f"{name}.sql").read_text())
            await conn.execute("insert into migration (name) values ($1)", name)
        log.info("applied %s", name)
    return names


async def missing(conn: Connection) -> list[str]:
    """Names of the migrations that this database lacks, in order. Raises `MigrationError` when it has others."""
    has_history = await conn.fetchval("select to_regclass('migration') is not null")
    applied = {row["name"] for row in await conn.fetch("select name from migration")} if has_history else set()
    known = _names()
    unknown = applied - set(known)
    if unknown:
        raise MigrationError(
            f"the database is newer than this server (it has {max(unknown)}); install the newer Runstone"
        )
    return [name for name in known if name not in applied]


def newest() -> str:
    """The name of the newest migration."""
    return _names()[-1]


def _names() -> list[str]:
    return sorted(file.stem for file in MIGRATIONS.glob("*.sql"))
