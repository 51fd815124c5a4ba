"""The embedded services keep what they were given, and come back when they are killed."""

import os
import re
import stat
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.errors import CannotStart
from deploy.local.stack import services
from settings import S3Settings, Settings
from tests.deploy.processes import children, healed


async def value(settings: Settings, statement: str) -> object:
    """The first column of the first row."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_postgres_keeps_every_commit_on_disk(running: Settings) -> None:
    assert await value(running, "show fsync") == "on"
    assert await value(running, "show synchronous_commit") == "on"
    assert await value(running, "show full_page_writes") == "on"
    assert await value(running, "show data_checksums") == "on"
    assert await value(running, "show server_version_num") >= "180000"  # type: ignore[operator]


async def test_postgres_wants_the_password(running: Settings) -> None:
    wrong = re.sub(r":[0-9a-f]+@", ":wrong@", running.database_url or "")

    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong)


async def test_postgres_killed_comes_back_with_its_rows(running: Settings) -> None:
    await value(running, "create table kept as select 17 as number")

    [postgres] = children(running.home, "postgres")
    postgres.kill()

    assert await healed(lambda: value(running, "select number from kept"), OSError, asyncpg.PostgresError) == 17


async def test_valkey_refuses_to_forget_and_wants_the_password(running: Settings) -> None:
    async with Redis.from_url(running.redis_url or "") as redis:
        assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert (await redis.config_get("appendonly"))["appendonly"] == "yes"

    async with Redis.from_url(re.sub(r":[0-9a-f]+@", ":wrong@", running.redis_url or "")) as stranger:
        with pytest.raises(RedisError):
            await stranger.ping()


async def test_valkey_killed_comes_back_with_its_keys(running: Settings) -> None:
    async with Redis.from_url(running.redis_url or "") as redis:
        await redis.set("kept", "17")

    [valkey] = children(running.home, "valkey")
    valkey.kill()

    async with Redis.from_url(running.redis_url or "") as redis:
        assert await healed(lambda: redis.get("kept"), RedisError) == b"17"


async def test_no_secret_is_in_an_argument(running: Settings) -> None:
    secrets = {*re.findall(r"[0-9a-f]{48}", f"{running.database_url} {running.redis_url}")}
    assert running.s3 is not None
    assert running.s3.secret_access_key is not None
    secrets.add(running.s3.secret_access_key)
    assert len(secrets) == 3

    arguments = " ".join(argument for child in children(running.home) for argument in child.cmdline())

    assert not [secret for secret in secrets if secret in arguments]


async def test_files_are_for_their_owner_only(running: Settings) -> None:
    for path in (running.home, *running.home.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_a_second_start_on_the_same_folder_is_refused(running: Settings) -> None:
    with pytest.raises(CannotStart, match=rf"already runs on .* \(process {os.getpid()}\)"):
        async with services(Settings(home=running.home)):
            pass


async def test_a_restart_keeps_addresses_secrets_and_data(home: Path) -> None:
    async with services(Settings(home=home)) as first:
        await value(first, "create table kept as select 17 as number")

    async with services(Settings(home=home)) as second:
        assert await value(second, "select number from kept") == 17

    assert second == first
    assert not children(home)


async def test_what_the_user_brings_is_not_started(home: Path) -> None:
    own = Settings(home=home, database_url="postgresql://db/own", redis_url="redis://own", s3=S3Settings(bucket="own"))

    async with services(own) as settings:
        assert settings == own
        assert not children(home)

    assert set(os.listdir(home)) == {"lock", "logs"}  # noqa: PTH208


async def test_one_part_can_be_replaced_alone(running: Settings, home: Path) -> None:
    own = Settings(home=home, database_url=running.database_url, s3=running.s3)

    async with services(own) as settings:
        assert settings.database_url == running.database_url
        async with Redis.from_url(settings.redis_url or "") as redis:
            assert await redis.ping()

    assert not (home / "postgres").exists()
    assert not (home / "s3").exists()


async def test_an_error_in_the_block_stops_the_services_and_rises(running: Settings, home: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with services(Settings(home=home, database_url=running.database_url, s3=running.s3)):
            raise ZeroDivisionError

    assert not children(home)


async def test_a_damaged_queue_is_set_aside(running: Settings, home: Path) -> None:
    own = Settings(home=home, database_url=running.database_url, s3=running.s3)
    async with services(own):
        pass
    damage(home / "valkey")

    async with services(own) as settings, Redis.from_url(settings.redis_url or "") as redis:
        assert await redis.ping()

    assert list((home / "valkey").glob("appendonlydir.damaged-*"))


async def test_a_lost_password_is_told_at_once(running: Settings, home: Path) -> None:
    own = Settings(home=home, redis_url=running.redis_url, s3=running.s3)
    async with services(own):
        pass
    (home / "embedded.json").unlink()

    with pytest.raises(CannotStart, match=r"does not know the password in .*embedded\.json"):
        async with services(own):
            pass

    assert not children(home)


def damage(valkey: Path) -> None:
    """Write what is no command into the log of commands."""
    [log] = valkey.glob("appendonlydir/*.incr.aof")
    log.write_text("no command\n" * 10)
