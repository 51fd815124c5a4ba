"""Files from the store, brought to this machine and checked against the digests that were recorded."""

import asyncio
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from runstone import values
from runstone.errors import DigestMismatch, Invalid, NotFound, Unavailable
from runstone.progress import Progress
from runstone.transport import Transport, pause_s, unlogged
from runstone.uploads import PARALLEL, RETRYABLE_STATUS, Stores

log = logging.getLogger("runstone")

ATTEMPTS_MAX: Final = 6
CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Remote:
    """A file in the store and the address to get it from."""

    path: str
    digest: str
    size_bytes: int
    url: str


async def download(transport: Transport, run_id: str, path: str | None, to: str | os.PathLike[str]) -> Path:
    """The file `path` of the run, or all files under it, in the folder `to`; where it is then.

    Each file has the digest that the run recorded, or is not there. Nothing is written outside of `to`.
    Raises `NotFound`, `DigestMismatch`, `Invalid`, `Unavailable`.
    """
    wanted = (path or "").strip("/")
    remotes = await _listed(transport, run_id, wanted)
    if not remotes:
        raise NotFound(f"run {run_id} has no files{f' at {path!r}' if path else ''} that are ready", path="path")
    root = await asyncio.to_thread(Path(to).absolute)
    _warn_of_case([remote.path for remote in remotes])

    async def renewed(path: str) -> str:
        [fresh] = [one for one in await _listed(transport, run_id, path) if one.path == path]
        return fresh.url

    await fetch(remotes, root, renewed, f"run {run_id}")
    return root / wanted if wanted else root


async def fetch(remotes: Sequence[Remote], root: Path, renewed: Callable[[str], Awaitable[str]], source: str) -> None:
    """Bring all these files to the folder; `renewed` gives another address for a path when one has expired.

    Raises `DigestMismatch`, `Invalid`, `Unavailable`.
    """
    progress = Progress("Downloading")
    progress.expect(sum(remote.size_bytes for remote in remotes))
    progress.show()
    fetcher = _Fetcher(renewed, source, progress)
    try:
        async with asyncio.TaskGroup() as group:
            for remote in remotes:
                group.create_task(fetcher.fetch(remote, root))
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    finally:
        progress.close()
        await fetcher.close()


async def _listed(transport: Transport, run_id: str, wanted: str) -> list[Remote]:
    """The files at `wanted` and under it."""
    found: list[Remote] = []
    after = None
    while True:
        data = await transport.call("Downloads", {"id": run_id, "prefix": wanted, "after": after})
        if data["run"] is None:
            raise NotFound(f"there is no run {run_id}")
        page = data["run"]["artifacts"]
        found += [
            Remote(node["path"], node["digest"], node["sizeBytes"], node["download"]["url"])
            for node in page["nodes"]
            if node["download"] and (not wanted or node["path"] == wanted or node["path"].startswith(f"{wanted}/"))
        ]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def target(root: Path, path: str) -> Path:
    """Where the file goes. Raises `Invalid` when that is not inside of `root`, whatever the server said."""
    values.path(path)
    place = root.joinpath(*path.split("/"))
    if not place.parent.resolve().is_relative_to(root.resolve()):
        raise Invalid(f"the path {path!r} leads out of {root} through a link", path="path")
    return place


def _warn_of_case(paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(path.casefold(), path)
        if other != path:
            log.warning("%s and %s differ in case only: a disk that ignores case keeps one of them", other, path)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class _Fetcher:
    """Gets files, several at once."""

    def __init__(self, renewed: Callable[[str], Awaitable[str]], source: str, progress: Progress) -> None:
        self._renewed = renewed
        self._source = source
        self._progress = progress
        self._stores = Stores()
        self._slots = asyncio.Semaphore(PARALLEL)

    async def close(self) -> None:
        await self._stores.close()

    async def fetch(self, remote: Remote, root: Path) -> None:
        """The file, complete and as recorded, or an error and no file."""
        async with self._slots:
            place = target(root, remote.path)
            await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
            target(root, remote.path)  # again, now that the folders are there
            partial = place.with_name(f".{place.name[:100]}.{values.new_id()}.part")
            try:
                with partial.open("wb") as file:
                    digest = await self._receive(remote, file)
                if f"sha256:{digest}" != remote.digest:
                    raise DigestMismatch(
                        f"{remote.path} of {self._source} is sha256:{digest}, but {remote.digest} was recorded",
                        path=remote.path,
                    )
                partial.replace(place)
            finally:
                partial.unlink(missing_ok=True)

    async def _receive(self, remote: Remote, file: BinaryIO) -> str:
        """Write the bytes; a broken connection is taken up where it broke. The SHA-256 of them."""
        sha256 = hashlib.sha256()
        url = remote.url
        for attempt in range(ATTEMPTS_MAX):
            problem = await self._receive_some(url, file, sha256)
            if problem is None:
                return sha256.hexdigest()
            await asyncio.sleep(pause_s(attempt, 5.0))
            url = await self._renewed(remote.path)
        raise Unavailable(f"{remote.path} could not be downloaded: {problem}", path=remote.path)

    async def _receive_some(self, url: str, file: BinaryIO, sha256: Any) -> str | None:
        """Append what comes; None when that was all, else what stopped it."""
        import httpx

        client = await self._stores.client(url)
        start = file.tell()
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        try:
            with unlogged():
                response = await client.send(client.build_request("GET", url, headers=headers), stream=True)
            async with AsyncExitStack() as closing:
                closing.push_async_callback(response.aclose)
                if response.status_code in RETRYABLE_STATUS | {403}:  # 403: the address has expired
                    return f"the store answered {response.status_code}"
                if response.status_code != (206 if start else 200):
                    raise Unavailable(f"the store answered {response.status_code} {response.reason_phrase}".rstrip())
                async for chunk in response.aiter_raw(CHUNK_BYTES):
                    await asyncio.to_thread(_append, file, sha256, chunk)
                    self._progress.advance(len(chunk))
        except httpx.TransportError as error:
            return f"{type(error).__name__} {error}".strip()
        return None


def _append(file: BinaryIO, sha256: Any, chunk: bytes) -> None:
    file.write(chunk)
    sha256.update(chunk)
