"""`python -P -m deploy.doctor`: is everything that Runstone stands on there, and does it keep its promises?"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg
import httpx
import redis.asyncio as redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from db import migrate
from deploy.local import environment
from settings import Settings, SettingsError
from storage import probe
from storage.store import StoreError, open_store

TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do when something is not as it should be."""

    is_fine: bool
    state: str
    advice: str = ""


async def check_database(settings: Settings) -> Finding:
    """Postgres answers, syncs its commits to disk, and has the newest schema."""
    assert settings.database_url is not None
    try:
        conn = await asyncpg.connect(settings.database_url, timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        return Finding(False, f"does not answer: {error}", "check RUNSTONE_DATABASE_URL")
    try:
        version = await conn.fetchval("show server_version")
        unsafe = [name for name in ("fsync", "full_page_writes") if await conn.fetchval(f"show {name}") != "on"]
        missing = await migrate.missing(conn)
    finally:
        await conn.close(timeout=5)
    state = f"Postgres {version}"
    if conn.get_server_version().major < 15:
        return Finding(False, state, "use Postgres 15 or newer")
    if unsafe:
        return Finding(False, f"{state}, {' and '.join(unsafe)} off", "switch them on: a crash loses what was logged")
    if missing:
        return Finding(False, f"{state}, {len(missing)} migrations missing", "run `runstone migrate`")
    return Finding(True, f"{state}, schema {migrate.newest()}")


async def check_redis(settings: Settings) -> Finding:
    """Redis answers and evicts nothing."""
    assert settings.redis_url is not None
    client: redis.Redis = redis.Redis.from_url(settings.redis_url, socket_timeout=5, socket_connect_timeout=5)
    try:
        info = await client.info()
    except (RedisError, OSError) as error:
        return Finding(False, f"does not answer: {error}", "check RUNSTONE_REDIS_URL; until then the worker polls")
    finally:
        await client.aclose()
    state = f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"
    if info["maxmemory_policy"] != "noeviction":
        return Finding(False, f"{state}, evicts by {info['maxmemory_policy']}", "set maxmemory-policy noeviction")
    return Finding(True, state)


async def check_store(settings: Settings) -> Finding:
    """The object store answers, and refuses what presigned requests do not allow."""
    assert settings.s3 is not None
    try:
        async with open_store(settings.s3) as store:
            answers = await probe.ask(store)
            is_open = await probe.lets_read(store, settings.url)
    except StoreError as error:
        return Finding(False, str(error), "check RUNSTONE_S3_*: endpoint, bucket, credentials")
    if not is_open:
        state = f"bucket {settings.s3.bucket}, does not let the dashboard at {settings.url} read"
        return Finding(False, state, "allow its origin in the bucket's CORS rules: docs/settings.md")
    if answers.is_trusted:
        return Finding(True, f"bucket {settings.s3.bucket}, enforces checksums and refuses to overwrite")
    gaps = ", ".join(answers.gaps)
    return Finding(
        True, f"bucket {settings.s3.bucket}; not kept: {gaps}", "uploads are staged and copied: slower, as safe"
    )


async def check_api(settings: Settings) -> Finding:
    """The server says that it is ready."""
    local = not settings.public_url and urlsplit(settings.url).hostname in {"127.0.0.1", "localhost", "::1"}
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=not local) as client:
            answer = await client.get(f"{settings.url}/readyz")
    except httpx.HTTPError as error:
        return Finding(False, f"{settings.url} does not answer: {type(error).__name__}", "start it: `runstone up`")
    if answer.status_code != 200:
        return Finding(False, f"{settings.url} is not ready: {answer.text[:200]}", "look at its log")
    return Finding(True, settings.url)


CHECKS: dict[str, Callable[[Settings], Awaitable[Finding]]] = {
    "Database": check_database,
    "Redis": check_redis,
    "Object store": check_store,
    "API": check_api,
}


async def main(settings: Settings) -> int:
    """Print what each check found; the exit code, 1 when something is wrong."""
    complete = _complete(settings)
    async with asyncio.timeout(TIMEOUT_S * len(CHECKS)):
        findings = {name: await check(complete) for name, check in CHECKS.items()}
    table = Table("", "Part", "State", "What to do", box=None)
    for name, finding in findings.items():
        table.add_row("[green]✓[/]" if finding.is_fine else "[red]✗[/]", name, finding.state, finding.advice)
    Console().print(table)
    return 0 if all(finding.is_fine for finding in findings.values()) else 1


def _complete(settings: Settings) -> Settings:
    if settings.database_url and settings.redis_url and settings.s3:
        return settings
    running = environment.of_running(settings)
    if running is None:
        raise SettingsError(
            f"no Runstone runs on {settings.home}: start it with `runstone up`, "
            "or set RUNSTONE_DATABASE_URL, RUNSTONE_REDIS_URL and RUNSTONE_S3_*"
        )
    return running


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(Settings.from_env())))
    except SettingsError as error:
        sys.exit(f"runstone doctor: {error}")
