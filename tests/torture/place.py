"""The Runstone that is tortured: started by the code of `make run`, with a bad network between its parts."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import asyncpg
import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy import up
from deploy.local.home import free_port
from deploy.local.keep import Program, answers
from deploy.local.stack import services
from settings import S3Settings, Settings
from tests.deploy.processes import children
from tests.failpoints import Failpoints
from tests.torture.proxy import Proxy, open_proxy

LOGS = {"api": "api", "worker": "workers", "postgres": "postgres", "redis": "valkey", "s3": "s3"}


@contextmanager
def with_failpoints(folder: Path) -> Iterator[Failpoints]:
    """Whatever API and worker are started meanwhile have failpoints."""
    ordinary = up._program

    def program(name: str, package: str, settings: Settings, **more: Any) -> Program:
        made = ordinary(name, package, settings, **more)
        if package == "db":
            return made
        return replace(made, argv=(sys.executable, "-P", "-m", "tests.failpoints", str(folder), package))

    folder.mkdir(exist_ok=True)
    with patch.object(up, "_program", program):
        yield Failpoints(folder)


@dataclass(frozen=True, slots=True)
class Place:
    """A running Runstone, the networks between its parts, and its failpoints."""

    settings: Settings  # as the API and the worker have them: their database and their store are behind proxies
    database_url: str  # straight to Postgres
    redis_url: str
    s3_url: str
    homes: tuple[Path, ...]
    failpoints: Failpoints
    clients: Proxy
    database: Proxy
    store: Proxy

    @property
    def url(self) -> str:
        """Where clients find the API, through a bad network."""
        return f"http://127.0.0.1:{self.clients.port}"

    @property
    def direct_url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def token(self) -> str:
        """The admin's."""
        return self.settings.token_path.read_text().strip()

    def stretch(self, name: str) -> Proxy:
        """The network before the API, the database or the store."""
        return {"clients": self.clients, "database": self.database, "store": self.store}[name]

    def process(self, part: str) -> psutil.Process | None:
        """The process that is this part now; None when there is none at the moment."""
        found = [child for home in self.homes for child in children(home, LOGS[part])]
        return found[0] if found else None

    async def is_well(self) -> bool:
        """Whether every part does its work."""
        probes = (self._api, self._worker, self._postgres, self._redis, self._s3)
        return all(await asyncio.gather(*(probe() for probe in probes)))

    async def _api(self) -> bool:
        return await answers(f"{self.direct_url}/readyz")

    async def _worker(self) -> bool:
        """It opens its connections last before it works."""
        process = self.process("worker")
        with suppress(psutil.Error):
            return process is not None and any(
                each.raddr and each.raddr.port == self.database.port for each in process.net_connections("tcp")
            )
        return False

    async def _postgres(self) -> bool:
        try:
            conn = await asyncpg.connect(self.database_url, timeout=2)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False
        conn.terminate()
        return True

    async def _redis(self) -> bool:
        with suppress(RedisError, OSError, TimeoutError):
            async with Redis.from_url(self.redis_url, socket_timeout=1, socket_connect_timeout=1) as client:
                return bool(await client.ping())
        return False

    async def _s3(self) -> bool:
        return await answers(f"{self.s3_url}/healthcheck")


@asynccontextmanager
async def open_place(home: Path) -> AsyncIterator[Place]:
    """Start everything below this folder."""
    async with AsyncExitStack() as opened:
        asked = Settings(home=home / "services", port=free_port("127.0.0.1"))
        complete = await opened.enter_async_context(services(asked))
        assert complete.database_url is not None
        assert complete.redis_url is not None
        assert complete.s3 is not None
        database = await opened.enter_async_context(open_proxy(_port(complete.database_url)))
        store = await opened.enter_async_context(open_proxy(_port(complete.s3.endpoint_url)))
        failpoints = opened.enter_context(with_failpoints(home / "failpoints"))
        settings = replace(
            complete,
            home=home / "server",
            database_url=_through(database, complete.database_url),
            s3=_store_through(store, complete.s3),
        )
        running = await opened.enter_async_context(up.running(settings))
        clients = await opened.enter_async_context(open_proxy(running.port))
        assert complete.s3.endpoint_url is not None
        yield Place(
            settings=running,
            database_url=complete.database_url,
            redis_url=complete.redis_url,
            s3_url=complete.s3.endpoint_url,
            homes=(home / "services", home / "server"),
            failpoints=failpoints,
            clients=clients,
            database=database,
            store=store,
        )


def _port(url: str | None) -> int:
    port = urlsplit(url or "").port
    assert port is not None
    return port


def _through(proxy: Proxy, url: str) -> str:
    """The same address, by way of the proxy."""
    return url.replace(f":{_port(url)}", f":{proxy.port}", 1)


def _store_through(proxy: Proxy, s3: S3Settings) -> S3Settings:
    assert s3.endpoint_url is not None
    url = _through(proxy, s3.endpoint_url)
    return replace(s3, endpoint_url=url, public_endpoint_url=url)
