"""What ran, and where: git, the command line and the machine, taken when a run starts.

Taking it is bounded in time and never fails a run: what cannot be found is left out. Nothing here uses the network,
and secrets on the command line are masked before they leave the machine.
"""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

T = TypeVar("T")

CAPTURE_S: Final = 8.0
GIT_S: Final = 2.0
GPU_S: Final = 2.0
PATCH_BYTES_MAX: Final = 1024 * 1024
UNTRACKED_BYTES_MAX: Final = 256 * 1024
ARGV_BYTES_MAX: Final = 65_536
TEXT_CHARACTERS_MAX: Final = 1000

SECRET_NAME: Final = re.compile(r"KEY|TOKEN(?!I[SZ])|SECRET|PASSWORD|PASSWD", re.IGNORECASE)  # no tokenizers
OUR_TOKEN: Final = re.compile(r"\brs_[0-9A-Za-z]+_[0-9A-Za-z_-]+")
URL_PASSWORD: Final = re.compile(r"(?P<start>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#:@]*):[^\s/?#]*@")
MASK: Final = "***"


@dataclass(frozen=True, slots=True)
class Captured:
    """The source and the environment as they are sent, and files that belong to the source, by name.

    These are the uncommitted changes, and a list of the untracked files, when there are some and not too many.
    """

    source: dict[str, Any]
    environment: dict[str, Any]
    files: Mapping[str, bytes]


async def capture() -> Captured:
    """What can be found within `CAPTURE_S`."""
    async with asyncio.TaskGroup() as group:
        finding_git = group.create_task(_bounded(_git, _Git()))
        finding_untracked = group.create_task(_bounded(_untracked, b""))
        finding_machine = group.create_task(_bounded(_machine, dict[str, Any]()))
        finding_gpus = group.create_task(_bounded(_gpus, list[str]()))
        finding_packages = group.create_task(_bounded(_packages, list[dict[str, str]]()))
    git = finding_git.result()
    source = {
        "commit": git.commit,
        "branch": git.branch,
        "remote": git.remote,
        "dirty": git.dirty,
        "entryPoint": _entry_point(),
        "argv": masked(sys.argv),
        "patchDigest": f"sha256:{hashlib.sha256(git.patch).hexdigest()}" if git.patch else None,
    }
    environment = {
        **finding_machine.result(),
        "gpus": finding_gpus.result(),
        "packages": finding_packages.result(),
    }
    files = {"changes.patch": git.patch, "untracked.txt": finding_untracked.result()}
    return Captured(source, environment, {name: content for name, content in files.items() if content})


async def _bounded(find: Callable[[], T], otherwise: T) -> T:
    try:
        async with asyncio.timeout(CAPTURE_S):
            return await asyncio.to_thread(find)
    except Exception:  # noqa: BLE001  # a run without this is better than no run
        return otherwise


def masked_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that nobody picked one by one, with the values of secrets replaced by ***, at any depth."""
    shown: dict[str, Any] = {}
    for key, value in params.items():
        if SECRET_NAME.search(str(key)) and isinstance(value, str) and value:
            shown[key] = MASK
        elif isinstance(value, Mapping):
            shown[key] = masked_params(value)
        else:
            shown[key] = without_secrets(value) if isinstance(value, str) else value
    return shown


def without_secrets(text: str) -> str:
    """The text with passwords in addresses, and tokens of ours, replaced by ***."""
    return OUR_TOKEN.sub(MASK, URL_PASSWORD.sub(rf"\g<start>:{MASK}@", text))


def masked(argv: Sequence[str]) -> list[str]:
    """The command line with the values of secrets replaced by ***; cut where it is longer than the server takes."""
    shown: list[str] = []
    size_bytes = 0
    is_secret = False
    for word in argv:
        text = "".join(character for character in word if character != "\0" and not "\ud800" <= character <= "\udfff")
        name, equals, _ = text.partition("=")
        if is_secret and not text.startswith("-"):
            text, is_secret = MASK, False
        elif equals and SECRET_NAME.search(name):
            text, is_secret = f"{name}={MASK}", False
        else:
            is_secret = text.startswith("-") and not equals and bool(SECRET_NAME.search(name))
            text = without_secrets(text)
        size_bytes += len(text.encode())
        if size_bytes > ARGV_BYTES_MAX:
            break
        shown.append(text)
    return shown


@dataclass(frozen=True, slots=True)
class _Git:
    commit: str | None = None
    branch: str | None = None
    remote: str | None = None
    dirty: bool | None = None
    patch: bytes | None = None


def _git() -> _Git:
    """The state of the repository that the entry point is in."""
    folder = _folder()
    status = _run_git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return _Git()
    facts: dict[str, str] = {}
    dirty = False
    for line in status.decode(errors="replace").splitlines():
        if line.startswith("# "):
            name, _, fact = line[2:].partition(" ")
            facts[name] = fact
        else:
            dirty = True
    commit = facts.get("branch.oid")
    remote = _run_git(folder, "remote", "get-url", "origin")
    patch = _run_git(folder, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--binary") if dirty else None
    return _Git(
        commit=None if commit == "(initial)" else commit,
        branch=facts.get("branch.head"),
        remote=without_password(remote.decode(errors="replace").strip()) if remote else None,
        dirty=dirty,
        patch=patch if patch and len(patch) <= PATCH_BYTES_MAX else None,
    )


def _untracked() -> bytes:
    """The files of the repository that are neither committed nor ignored, a line each; nothing when they are many."""
    folders = ("--directory", "--no-empty-directory")  # the second leaves out those with nothing but ignored files
    listed = _run_git(_folder(), "ls-files", "--others", "--exclude-standard", *folders, "--full-name", ":/") or b""
    return listed if len(listed) <= UNTRACKED_BYTES_MAX else b""


def _run_git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints, None when it fails. It takes no locks, asks nothing and starts no program of the repository."""
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=true", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=GIT_S,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def without_password(remote: str) -> str:
    """The address of a repository without user and password."""
    try:
        parts = urlsplit(remote)
    except ValueError:
        return MASK
    if not parts.scheme or "@" not in parts.netloc:
        return remote
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _script() -> Path | None:
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    return Path(file).absolute() if file else None


def _folder() -> Path:
    script = _script()
    return script.parent if script is not None and script.parent.is_dir() else Path.cwd()


def _entry_point() -> str | None:
    """The script or module that runs, None in a notebook or at a prompt."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name:
        return f"-m {spec.name.removesuffix('.__main__')}"
    script = _script()
    if script is None:
        return None
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)


def _machine() -> dict[str, Any]:
    import platform
    import socket

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
        "cpuCount": os.cpu_count(),
        "memoryBytes": _memory_bytes(),
    }


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on this system
        return None


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GPU_S, check=True)
    return [line.strip()[:TEXT_CHARACTERS_MAX] for line in done.stdout.splitlines() if line.strip()]


@cache
def _packages() -> list[dict[str, str]]:
    """Every installed package once, by name."""
    import importlib.metadata

    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        headers = _headers(distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "")
        name = headers.get("Name")
        if name and name not in found:  # the first on the path is the one that is imported
            found[name] = headers.get("Version", "")
    return [{"name": name, "version": found[name]} for name in sorted(found, key=str.lower)]


def _headers(metadata: str) -> dict[str, str]:
    """The fields of one line each; `distribution.metadata` would parse all of a long text, 3 ms for each package."""
    head = metadata.partition("\n\n")[0]
    lines = (line.partition(": ") for line in head.splitlines())
    return {name: value.strip() for name, _, value in reversed(list(lines))}
