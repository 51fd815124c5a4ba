"""Redis is disposable: without it the worker looks a little later, and nothing else is lost."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from deploy.local.home import free_port
from deploy.local.valkey import _server as valkey_server
from settings import Settings, SettingsError
from tests.workers.conftest import Place, says
from workers import main as worker
from workers import queue
from workers.work import Job, Sweep, keep_sweeping, keep_working

BODY = b"weights" * 100
NOWHERE = "redis://127.0.0.1:9/0"


@pytest.fixture
def port() -> int:
    return free_port("127.0.0.1")


async def start_redis(port: int) -> asyncio.subprocess.Process:
    """A Redis that forgets everything when it ends."""
    config = f"bind 127.0.0.1\nport {port}\nsave ''\nappendonly no\nmaxmemory 2mb\nmaxmemory-policy noeviction\n"
    process = await asyncio.create_subprocess_exec(
        str(valkey_server()), "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(config.encode())
    process.stdin.close()
    async with queue.open_redis(f"redis://127.0.0.1:{port}/0") as redis, asyncio.timeout(20):
        while not await answers(redis):
            await asyncio.sleep(0.05)
    return process


async def answers(redis: ArqRedis) -> bool:
    try:
        return bool(await redis.ping())
    except (RedisError, OSError):
        return False


@asynccontextmanager
async def redis_at(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start_redis(port)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.wait()


async def test_uploads_end_without_redis(place: Place) -> None:
    async with place.working(redis_url=NOWHERE):
        assert (await place.final(await place.uploaded("weights.bin", BODY))).state == "READY"


async def test_wake_up_is_heard_at_once(place: Place, port: int) -> None:
    bell = asyncio.Event()
    url = f"redis://127.0.0.1:{port}/0"
    async with redis_at(port), queue.open_redis(url) as redis:
        listening = asyncio.create_task(worker.keep_listening(url, {"artifacts": bell}))
        await queue.wake(redis, "something newer")
        await queue.wake(redis, "artifacts")
        async with asyncio.timeout(20):
            await bell.wait()
        listening.cancel()
        await asyncio.wait([listening])


async def test_redis_that_was_killed_is_heard_again(port: int) -> None:
    bell = asyncio.Event()
    url = f"redis://127.0.0.1:{port}/0"
    listening = asyncio.create_task(worker.keep_listening(url, {"artifacts": bell}))
    async with queue.open_redis(url) as redis:
        for _ in range(2):
            async with redis_at(port):
                await queue.wake(redis, "artifacts")
                async with asyncio.timeout(20):
                    await bell.wait()
            bell.clear()
    listening.cancel()
    await asyncio.wait([listening])


async def test_worker_survives_a_redis_that_is_killed_in_the_middle(place: Place, port: int) -> None:
    async with place.working(redis_url=f"redis://127.0.0.1:{port}/0"):
        async with redis_at(port):
            first = await place.uploaded("first.bin", BODY)
            assert (await place.final(first)).state == "READY"
        second = await place.uploaded("second.bin", BODY[::-1])
        assert (await place.final(second)).state == "READY"
        async with redis_at(port):
            third = await place.uploaded("third.bin", b"third")
            assert (await place.final(third)).state == "READY"


async def test_asking_waits_a_second_at_most(port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    loop = asyncio.get_running_loop()
    async with redis_at(port) as process, queue.open_redis(url) as redis:
        await queue.wake(redis, "artifacts")
        process.send_signal(signal.SIGSTOP)
        started = loop.time()
        await queue.wake(redis, "artifacts")
        assert loop.time() - started < 2
    async with queue.open_redis(NOWHERE) as redis:
        await queue.wake(redis, "artifacts")


async def test_full_redis_does_not_fail_the_asker(port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    async with redis_at(port), queue.open_redis(url) as redis:
        with pytest.raises(RedisError):
            await asyncio.gather(*(redis.set(f"full:{number}", bytes(100_000)) for number in range(100)))
        await queue.wake(redis, "artifacts")


async def test_worker_says_what_it_lacks(place: Place) -> None:
    with pytest.raises(SettingsError, match="RUNSTONE_DATABASE_URL"):
        await worker.run(Settings(home=place.settings.home), asyncio.Event())


async def test_worker_stops_on_sigterm(place: Place) -> None:
    process = await place.worker_process()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(8):
        assert await process.wait() == 0


CUT_OFF = """
    select pg_terminate_backend(pid)
    from pg_stat_activity
    where datname = current_database() and application_name = 'runstone worker'
"""


async def test_worker_outlives_its_database(place: Place) -> None:
    process = await place.worker_process()
    conn = await asyncpg.connect(place.settings.database_url)
    await conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runstone worker'"
    )
    await conn.close()
    await says(process, "failed")
    assert (await place.final(await place.uploaded("weights.bin", BODY))).state == "READY"
    process.kill()
    await process.wait()


async def test_failing_work_and_sweeps_are_tried_again(place: Place) -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def claim(_: object, limit: int) -> list[str]:
        if len(seen) < 2:
            raise ConnectionError
        return ["item"] if len(seen) == 2 else []

    async def do(_: object, item: str) -> None:
        seen.append(item)
        if len(seen) > 5:
            done.set()
        raise ZeroDivisionError

    async def upkeep(_: object) -> None:
        seen.append("swept")
        if len(seen) > 5:
            done.set()
        raise ZeroDivisionError

    job = Job("job", claim=claim, do=do, look_every_s=0.01)
    tasks = [
        asyncio.create_task(keep_working(place.deps, job, asyncio.Event())),
        asyncio.create_task(keep_sweeping(place.deps, Sweep("sweep", upkeep, every_s=0.01))),
    ]
    async with asyncio.timeout(10):
        await done.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert "item" in seen
