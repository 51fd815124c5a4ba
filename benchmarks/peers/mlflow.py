"""MLflow: its own server with its default number of workers."""

import os
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.peers.rest import Peer
from benchmarks.wire import Door
from deploy.local.home import free_port
from deploy.local.keep import Keeper, Program, answers

NAME: Final = "MLflow"
PROGRAM: Final = "mlflow"  # of the venv
DATABASE: Final = "mlflow"
NO_JOBS: Final = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # its job runners use CPU that others need
START_S: Final = 420.0  # it migrates its database first


async def start(keeper: Keeper, venv: Path, database_url: str, folder: Path) -> Peer:
    """Start it on the database. Raises `CannotStart`."""
    port = free_port("127.0.0.1")
    uri = database_url.replace("postgresql:", "postgresql+psycopg2:")
    await keeper.start(
        Program(
            name=NAME,
            argv=(
                str(venv / "bin" / PROGRAM), "server", "--backend-store-uri", uri,
                "--artifacts-destination", str(folder / "mlflow"), "--host", "127.0.0.1", "--port", str(port),
            ),
            log=folder / "mlflow.log",
            env={**os.environ, "PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": "", **NO_JOBS},
            cwd=folder,
            ready=partial(answers, f"http://127.0.0.1:{port}/health"),
            start_s=START_S,
            stop_s=10.0,
            attempts=1,
        )
    )  # fmt: skip
    # More than a few connections at once, and it answers "QueuePool limit ... reached".
    return Peer(NAME, Door("127.0.0.1", port), bulk_steps=250, points_per_request=1000, live_connections=8, venv=venv)
