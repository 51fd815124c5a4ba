"""FastTrackML: its own server over its MLflow-compatible API."""

import os
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.peers.rest import Peer
from benchmarks.wire import Door
from deploy.local.home import free_port
from deploy.local.keep import Keeper, Program, answers

NAME: Final = "FastTrackML"
PROGRAM: Final = "fml"  # of the venv
DATABASE: Final = "fasttrackml"


async def start(keeper: Keeper, venv: Path, database_url: str, folder: Path) -> Peer:
    """Start it on the database. Raises `CannotStart`."""
    port = free_port("127.0.0.1")
    uri = database_url.replace("postgresql:", "postgres:")
    await keeper.start(
        Program(
            name=NAME,
            argv=(
                str(venv / "bin" / PROGRAM), "server", "--database-uri", uri,
                "--default-artifact-root", str(folder / "fasttrackml"), "--listen-address", f"127.0.0.1:{port}",
            ),
            log=folder / "fasttrackml.log",
            env=dict(os.environ),
            cwd=folder,
            ready=partial(answers, f"http://127.0.0.1:{port}/health"),
            start_s=60.0,
            attempts=1,
        )
    )  # fmt: skip
    return Peer(NAME, Door("127.0.0.1", port), bulk_steps=1000, points_per_request=1000, live_connections=64)
