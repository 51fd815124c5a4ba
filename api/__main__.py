"""`python -m api`: serve until SIGTERM."""

import gc
import logging
import sys
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from api.app import make_app
from api.aside import TURN_S
from api.guard import SAFE
from api.live_transport import SocketProtocol, WithoutSockets
from api.protocol import Protocol
from settings import Settings, SettingsError

GARBAGE_AFTER: Final = 50_000  # new objects: a request makes up to 15,000, and nearly all go without a collector
CONNECTIONS_MAX: Final = 10_000  # each training that logs keeps one open


def main(settings: Settings) -> None:
    """Serve on the settings' host and port."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold presigned addresses
    logging.getLogger("uvicorn.error").addFilter(WithoutSockets())
    serve(make_app(settings), settings)


def serve(app: ASGIApp, settings: Settings) -> None:
    """Serve any application the way ours is served; the benchmarks compare with an echo."""
    gc.set_threshold(GARBAGE_AFTER)
    sys.setswitchinterval(TURN_S)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=Protocol,
        loop="uvloop",
        ws=SocketProtocol,
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,  # costs more than making the message
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=7,
        access_log=False,
        proxy_headers=False,  # nothing asks for the client's address
        server_header=False,
        headers=SAFE,
        log_config=None,
    )


if __name__ == "__main__":
    try:
        main(Settings.from_env())
    except SettingsError as error:
        sys.exit(f"runstone server: {error}")
