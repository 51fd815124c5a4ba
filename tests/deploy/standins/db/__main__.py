"""A migration small enough to see through: one table, and the token of the first start."""

import asyncio
import secrets

import asyncpg

from settings import Settings


async def main() -> None:
    settings = Settings.from_env()
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute("create table if not exists answer (id int generated always as identity)")
    await connection.close()
    if not settings.token_path.exists():
        settings.token_path.touch(mode=0o600)
        settings.token_path.write_text(f"rs_1_{secrets.token_hex(16)}\n")


asyncio.run(main())
