"""The processes behind a running server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil

from tests.conftest import Server

TOLD_TO_MEASURE = "COVERAGE_PROCESS_CONFIG"


def pid_of(server: Server, part: str) -> int:
    """The process that serves this part."""
    settings = server.settings
    assert settings.s3 is not None
    if part == "worker":
        return next(
            process.pid
            for process in psutil.Process().children(recursive=True)
            if process.cmdline()[-2:] == ["-m", "workers"]
            and process.environ().get("RUNSTONE_PORT") == str(settings.port)
        )
    url = {
        "api": settings.url,
        "postgres": settings.database_url,
        "redis": settings.redis_url,
        "s3": settings.s3.endpoint_url,
    }[part]
    port = urlsplit(url or "").port
    listening = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
    return next(each.pid for each in listening if each.laddr and each.laddr.port == port and each.pid)


@contextmanager
def without_coverage() -> Iterator[None]:
    """What is started meanwhile is not measured: who is killed hands in nothing, and starts in half the time."""
    told = os.environ.pop(TOLD_TO_MEASURE, None)
    try:
        yield
    finally:
        if told is not None:
            os.environ[TOLD_TO_MEASURE] = told
