"""The worker process: its jobs and sweeps on Postgres, and an ear for Redis, which may come and go."""

import asyncio
import logging
import signal
from collections.abc import Mapping
from typing import Any, Final, cast

from arq.connections import ArqRedis
from arq.worker import Worker, func

from db.pool import open_pool
from settings import Settings, SettingsError
from storage.store import open_store
from workers import artifacts, events, exports, queue, series, sweep
from workers.work import Deps, Job, Sweep, keep_sweeping, keep_working

JOBS: Final[tuple[Job[Any], ...]] = (artifacts.JOB, exports.JOB)
SWEEPS: Final[tuple[Sweep, ...]] = (*sweep.SWEEPS, *series.SWEEPS, *events.SWEEPS, *exports.SWEEPS)

LISTEN_AGAIN_S: Final = 1.0
HEALTH_INTERVAL_S: Final = 10
POLL_S: Final = 0.1

Bells = Mapping[str, asyncio.Event]

log = logging.getLogger(__name__)


async def main(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises `SettingsError`."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, stop)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set. What is begun then is let go, for any worker to begin again."""
    if settings.database_url is None or settings.redis_url is None or settings.s3 is None:
        raise SettingsError(
            "set RUNSTONE_DATABASE_URL, RUNSTONE_REDIS_URL and RUNSTONE_S3_*, or use `runstone up` for embedded ones"
        )
    bells = {job.name: asyncio.Event() for job in JOBS}
    async with (
        open_pool(
            settings.database_url,
            size_max=settings.database_pool_max,
            statement_timeout_s=settings.statement_timeout_s,
            name="worker",
        ) as pool,
        open_store(settings.s3) as store,
        queue.open_redis(settings.redis_url) as redis,
        asyncio.TaskGroup() as tasks,
    ):
        deps = Deps(pool, store, settings, redis)
        working = [tasks.create_task(keep_listening(settings.redis_url, bells), name="listen")]
        for job in JOBS:
            for number in range(job.at_once):
                working.append(tasks.create_task(keep_working(deps, job, bells[job.name]), name=f"{job.name} {number}"))
        working += [tasks.create_task(keep_sweeping(deps, each), name=each.name) for each in SWEEPS]
        log.info("worker is ready")
        await stop.wait()
        await queue.ended(working)


async def keep_listening(url: str, bells: Bells) -> None:
    """Ring the bell that a client asks for, for as long as there is Redis, and again when it is back."""
    is_heard = True
    while True:
        try:
            async with queue.open_redis(url) as redis:
                await redis.ping()
                if not is_heard:
                    log.info("Redis is back")
                    is_heard = True
                await _listen(redis, bells)
        except queue.UNREACHABLE as error:
            if is_heard:
                log.warning("Redis does not answer (%s); looking every few seconds instead", type(error).__name__)
                is_heard = False
        except Exception:
            log.exception("arq failed")
        await asyncio.sleep(LISTEN_AGAIN_S)


async def _listen(redis: ArqRedis, bells: Bells) -> None:
    """Run arq until Redis is lost, which arq itself does not survive."""

    async def wake(_: dict[Any, Any], *works: Any, **__: Any) -> None:
        for work in works:
            if work in bells:
                bells[work].set()

    worker = Worker(
        [func(cast(Any, wake), name=queue.WAKE)],
        queue_name=queue.NAME,
        redis_pool=redis,
        handle_signals=False,
        poll_delay=POLL_S,
        job_timeout=1,
        keep_result=0,
        max_tries=1_000_000,
        health_check_interval=HEALTH_INTERVAL_S,
        job_serializer=queue.dumps,
        job_deserializer=queue.loads,
        log_results=False,
    )
    running = asyncio.create_task(worker.main(), name="arq")
    try:
        await asyncio.wait([running])  # not awaited itself: arq may overhear that it is cancelled
        running.result()
    finally:
        await queue.ended([running, *worker.tasks.values()], again_s=queue.OVERHEARD_S)
