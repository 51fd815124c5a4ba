"""`python -P -m workers`: the worker process."""

import asyncio
import logging
import sys

import asyncpg

from settings import Settings, SettingsError
from workers import memory
from workers.main import main

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
logging.getLogger("arq").setLevel(logging.ERROR)  # a wake-up is not worth a line
logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold presigned addresses

memory.share_arena()
try:
    asyncio.run(main(Settings.from_env()))
except (SettingsError, OSError, asyncpg.PostgresError) as error:
    sys.exit(f"runstone worker: {error}")
