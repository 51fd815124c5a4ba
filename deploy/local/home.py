"""The folder of one installation: its lock, its secrets and its ports."""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import CannotStart

FREE_BYTES_MIN = 200 * 1024 * 1024
# Below the range from which the kernel takes ports for outgoing connections, so that none of those can sit on ours.
PORTS = range(21000, 32000)
PORT_WAIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that this process alone uses, until it lets go of the lock."""

    path: Path
    _held: ExitStack

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def embedded_path(self) -> Path:
        """The 0600 file with the secrets and ports of the embedded services."""
        return self.path / "embedded.json"

    def folder(self, name: str) -> Path:
        """A folder of ours in here, made 0700 when missing."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def descriptor(self, folder: Path) -> int:
        """An open folder, to hand to a process that cannot walk there; closed with the lock."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._held.callback(os.close, descriptor)
        return descriptor

    def secret(self, name: str) -> str:
        """A random secret, made once."""
        kept = self._read()
        if name not in kept:
            self._write({**kept, name: secrets.token_hex(24)})
        return str(self._read()[name])

    async def port(self, name: str, host: str, preferred: int | None = None) -> int:
        """A port to listen on, the same as last time when it is still free."""
        kept = self._read().get(name)
        if isinstance(kept, int) and await comes_free(host, kept, PORT_WAIT_S):
            return kept
        port = preferred if preferred is not None and is_free(host, preferred) else free_port(host)
        self._write({**self._read(), name: port})
        return port

    def _read(self) -> dict[str, str | int]:
        try:
            kept = json.loads(self.embedded_path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise CannotStart(f"{self.embedded_path} is damaged: put back a copy of it") from error
        assert isinstance(kept, dict)
        return kept

    def _write(self, kept: dict[str, str | int]) -> None:
        """Replace the file in one step that survives a power cut."""
        new = self.embedded_path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.embedded_path)


@contextmanager
def locked(path: Path) -> Iterator[Home]:
    """The folder, made when missing and held by this process alone. Raises `CannotStart`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(
            f"Cannot write to {path} ({error.strerror}). Choose another folder with RUNSTONE_HOME."
        ) from error
    with ExitStack() as held:
        held.callback(os.close, lock)
        _take(lock, path)
        _check_space(path)
        home = Home(path, held)
        home.folder("logs")
        yield home


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(lock, 20, 0).decode().strip() or "unknown"
        raise CannotStart(
            f"Runstone already runs on {path} (process {pid}). Stop it, or choose another folder with RUNSTONE_HOME."
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _check_space(path: Path) -> None:
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < FREE_BYTES_MIN:
        raise CannotStart(
            f"The disk of {path} is full: {free_bytes >> 20} MB are free and Runstone needs {FREE_BYTES_MIN >> 20} MB. "
            "Free some space, or choose a folder on another disk with RUNSTONE_HOME."
        )


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises `CannotStart` when this machine has no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise CannotStart(
                f"Cannot listen on {host} ({error.strerror}). Choose another with RUNSTONE_HOST."
            ) from error
    return True


async def comes_free(host: str, port: int, wait_s: float) -> bool:
    """Whether the port is free or becomes so in a moment: services of a killed start may still be ending."""
    until = time.monotonic() + wait_s
    while not is_free(host, port):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.05)
    return True


def free_port(host: str) -> int:
    """A port that nobody listens on."""
    for port in random.sample(PORTS, 200):
        if is_free(host, port):
            return port
    raise CannotStart(f"No free port on {host} between {PORTS.start} and {PORTS.stop}.")


def remove(path: Path) -> None:
    """Delete a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
