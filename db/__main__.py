"""`python -m db`: migrate the database of the settings, and make the first account, project and token."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg

from db import access, migrate, projects
from settings import Settings, SettingsError

FIRST_PROJECT = "default"

ADMIN = """
    select id from account where is_admin and disabled_at is null order by created_at, id limit 1
"""


async def main(settings: Settings) -> None:
    """Migrate; on the first start also write the admin's token to `settings.token_path`."""
    if settings.database_url is None:
        raise SettingsError("set RUNSTONE_DATABASE_URL, or use `runstone up` for the embedded database")
    for name in await migrate.migrate(settings.database_url):
        print(f"applied {name}")
    await _set_up(settings.database_url, settings.token_path)


async def _set_up(url: str, token_path: Path) -> None:
    """The account `admin`, the project `default` and a token, made once; a lost token file gets a new token.

    That is of the first account which manages the instance, whatever its name is by now.
    """
    conn = await asyncpg.connect(url, timeout=10)
    try:
        async with conn.transaction():
            await conn.execute("select pg_advisory_xact_lock($1)", migrate.LOCK_KEY)
            admin_id = await conn.fetchval(ADMIN)
            if admin_id is None:
                admin_id = await access.create_account(conn, "admin", is_admin=True)
                await projects.insert(conn, admin_id, FIRST_PROJECT, "")
            if not await asyncio.to_thread(token_path.exists):
                write_token(token_path, await access.create_token(conn, admin_id))
                print(f"wrote a token to {token_path}")
    finally:
        await conn.close(timeout=10)


def write_token(path: Path, token: str) -> None:
    """Write the token so that no other user can ever read it and no reader sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    partial.replace(path)


if __name__ == "__main__":
    try:
        asyncio.run(main(Settings.from_env()))
    except (SettingsError, migrate.MigrationError, OSError, asyncpg.PostgresError) as error:
        sys.exit(f"runstone migrate: {error}")
