"""Files on their way to the object store.

The server says where each file goes; the bytes go straight there, several at once, and the server is told. Nothing
of ours is sent to the store but the bytes and the headers that the server gave.
"""

import asyncio
import concurrent.futures
import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runstone import files
from runstone.errors import (
    ArtifactConflict,
    Forbidden,
    Invalid,
    NotFound,
    RunSealed,
    RunstoneError,
    Unauthenticated,
    UploadFailed,
)
from runstone.files import LocalFile
from runstone.progress import Progress
from runstone.transport import Transport, open_http, pause_s, unlogged

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("runstone")

FILES_PER_REQUEST: Final = 1000
PARALLEL: Final = 8
DIGESTS_AT_ONCE: Final = 2
COMPLETE_AFTER_S: Final = 2.0
LINGER_S: Final = 10.0  # how long a file that can wait does so, to travel with others
CONNECT_S: Final = 10.0
TRANSFER_S: Final = 60.0  # without a byte moving
REFRESHES_MAX: Final = 5
RETRYABLE_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
RETRYABLE_CODES: Final = frozenset({"RequestTimeout", "SlowDown", "InternalError"})
STORE_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
FILE_INDEX: Final = re.compile(r"\bfiles\[(\d+)\]")


class Upload:
    """Files that are being uploaded: `wait()` for them, or `await` this on the event loop."""

    def __init__(self, paths: Sequence[str], loop: asyncio.AbstractEventLoop) -> None:
        self.paths = tuple(paths)
        self._loop = loop
        self._future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until the bytes are in the store and the server knows. Raises the failure, `TimeoutError`."""
        if not self.done() and _is_running(self._loop):
            raise RuntimeError("await the upload: wait() would stop the event loop that does it")
        self._future.result(timeout_s)

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def settle(self, failure: BaseException | None) -> None:
        """End it; the first end counts."""
        if self.done():
            return
        if failure is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(failure)

    def __repr__(self) -> str:
        shown = ", ".join(self.paths[:3]) + ", ..." * (len(self.paths) > 3)
        return f"<upload of {shown}: {'ended' if self.done() else 'under way'}>"


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this code runs on the loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


@dataclass(slots=True, eq=False)
class Job:
    """The files of one call; `can_wait` lets them travel with the next ones. `on_end` hears how they ended, if so."""

    files: list[LocalFile]
    upload: Upload
    can_wait: bool = False
    on_end: Callable[[RunstoneError | None], None] = field(default=lambda failure: None)
    left: set[str] = field(init=False)  # paths that have not ended
    failure: RunstoneError | None = None

    def __post_init__(self) -> None:
        self.left = {file.path for file in self.files}

    def ended(self, path: str) -> None:
        """Note that one file has ended; with the last the job has."""
        self.left.discard(path)
        if not self.left:
            self.close()

    def close(self) -> None:
        """It has ended: tell who waits."""
        self.on_end(self.failure)
        self.upload.settle(self.failure)


@dataclass(slots=True, eq=False)
class Transfer:
    """One file, and what the server said about where it goes; `renewals` counts how often it said so."""

    file: LocalFile
    job: Job
    upload_id: str | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    etags: dict[int, str] = field(default_factory=dict)
    renewals: int = 0
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: bool = False

    def directed(self, ticket: dict[str, Any]) -> None:
        """Take what createUploads answered; without an id the bytes are there already."""
        self.upload_id = ticket["id"]
        self.requests = ticket["requests"]


class Uploader:
    """Uploads the files of one run in the background; calls at about the same time travel together."""

    def __init__(self, transport: Transport, run_id: str, on_progress: Callable[[], None]) -> None:
        self._transport = transport
        self._run_id = run_id
        self._on_progress = on_progress
        self._jobs: list[Job] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._stores = Stores()
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_hurried = False
        self._digesting = asyncio.Semaphore(DIGESTS_AT_ONCE)
        self.progress = Progress("Uploading")
        self.stored = 0
        self.failures: dict[str, RunstoneError] = {}

    def add(self, job: Job) -> None:
        """Take the files of a call; on the event loop."""
        if not job.files:
            job.close()
            return
        self._jobs.append(job)
        self._arrived.set()
        if not job.can_wait:
            self._hurry.set()

    async def run(self) -> None:
        """Upload what is added, until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                await self._linger()
                self._arrived.clear()
                jobs, self._jobs = self._jobs, []
                batch = asyncio.create_task(self._upload(jobs))
                self._batches.add(batch)
                batch.add_done_callback(self._ended)
        finally:
            for batch in self._batches:
                batch.cancel()
            await asyncio.gather(*self._batches, return_exceptions=True)
            self._give_up(self._jobs)
            self.progress.close()
            await self._stores.close()

    @property
    def is_idle(self) -> bool:
        """Whether everything that was added has ended, well or not."""
        return not self._batches and not self._jobs

    def hurry(self) -> None:
        """Let no file wait for others any more."""
        self._is_hurried = True
        self._hurry.set()
        self.progress.show()

    async def _linger(self) -> None:
        if self._is_hurried:
            return
        try:
            async with asyncio.timeout(LINGER_S):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    def _ended(self, batch: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        self._on_progress()
        if not batch.cancelled() and batch.exception() is not None:
            log.error("uploads of run %s stopped", self._run_id, exc_info=batch.exception())

    async def _upload(self, jobs: list[Job]) -> None:
        try:
            self.progress.expect(sum(file.size_bytes for job in jobs for file in job.files))
            if self._is_hurried:
                self.progress.show()
            transfers = [Transfer(file, job) for job in jobs for file in job.files]
            async with asyncio.TaskGroup() as group:
                for transfer in transfers:
                    group.create_task(self._digest(transfer))
            for chunk in _chunks([transfer for transfer in transfers if not transfer.ended]):
                await self._send_all(chunk)
        finally:
            self._give_up(jobs)

    def _give_up(self, jobs: Sequence[Job]) -> None:
        """Tell who waits that these do not end here; they are in the spool."""
        for job in jobs:
            for path in sorted(job.left):
                job.upload.settle(UploadFailed(f"{path} is not uploaded yet", path=path, hint="run: runstone sync"))

    async def _digest(self, transfer: Transfer) -> None:
        async with self._digesting:
            try:
                transfer.file = await asyncio.to_thread(transfer.file.digested)
            except Invalid as error:
                self._fail(transfer, error)
            except OSError as error:
                self._fail(transfer, _unreadable(transfer.file, error))

    async def _send_all(self, transfers: list[Transfer]) -> None:
        """Ask where the files go, send them, and tell the server as they arrive."""
        await self._direct(transfers)
        moving = []
        for transfer in transfers:
            if transfer.upload_id is not None:
                moving.append(transfer)
            elif not transfer.ended:
                self.progress.advance(transfer.file.size_bytes)
                self._store(transfer)
        arrived: asyncio.Queue[Transfer] = asyncio.Queue(len(moving))
        async with asyncio.TaskGroup() as group:
            for transfer in moving:
                group.create_task(self._move(transfer, arrived))
            await self._complete_all(arrived, len(moving))

    async def _direct(self, transfers: Sequence[Transfer]) -> None:
        """Fill in where each file goes; a file that the server refuses fails alone."""
        waiting = [list(transfers)]
        while waiting:
            asked = waiting.pop()
            if not asked:
                continue
            try:
                tickets = await self._ask(asked)
            except RunstoneError as error:
                at_fault = _at_fault(error, asked)
                for transfer in at_fault:
                    self._fail(transfer, error)
                rest = [transfer for transfer in asked if transfer not in at_fault]
                half = len(rest) // 2 if not at_fault else 0
                waiting += [rest[half:], rest[:half]]
            else:
                for transfer, ticket in zip(asked, tickets, strict=True):
                    transfer.directed(ticket)

    async def _ask(self, transfers: Sequence[Transfer]) -> list[dict[str, Any]]:
        wanted = [
            {
                "path": transfer.file.path,
                "sizeBytes": transfer.file.size_bytes,
                "sha256": transfer.file.sha256,
                "mediaType": transfer.file.media_type,
            }
            for transfer in transfers
        ]
        variables = {"input": {"runId": self._run_id, "files": wanted}}
        answer = await self._transport.mutate("CreateUploads", variables, patience_s=math.inf)
        self._on_progress()
        tickets: list[dict[str, Any]] = answer["uploads"]
        return tickets

    async def _move(self, transfer: Transfer, arrived: "asyncio.Queue[Transfer]") -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(len(transfer.requests)):
                    group.create_task(self._move_part(transfer, index))
        except* RunstoneError as group_of_one:
            self._fail(transfer, _first(group_of_one))
        except* OSError as group_of_one:
            self._fail(transfer, _unreadable(transfer.file, _first(group_of_one)))
        finally:
            arrived.put_nowait(transfer)

    async def _move_part(self, transfer: Transfer, index: int) -> None:
        """Send one part, or the whole of a small file, until the store has it."""
        attempt = 0
        while transfer.upload_id is not None:
            renewals, request = transfer.renewals, transfer.requests[index]
            outcome = await self._stores.put(transfer.file, request, self._advance)
            match outcome:
                case Stored(etag):
                    if request["partNumber"] is not None:
                        transfer.etags[request["partNumber"]] = etag
                    return
                case Refused(message) if renewals >= REFRESHES_MAX:
                    raise UploadFailed(f"{transfer.file.path}: {message}")
                case Refused():
                    await self._renew(transfer, renewals)
                case NotNow(message):
                    await asyncio.to_thread(transfer.file.require_unchanged)
                    if attempt == 3:
                        log.warning("the upload of %s is slow to succeed: %s", transfer.file.path, message)
            await asyncio.sleep(pause_s(attempt))
            attempt += 1

    def _advance(self, size_bytes: int) -> None:
        self.progress.advance(size_bytes)
        if size_bytes > 0:
            self._on_progress()

    async def _renew(self, transfer: Transfer, renewals: int) -> None:
        """Ask again where the file goes; once, however many of its parts want to know."""
        async with transfer.renewing:
            if transfer.renewals == renewals:
                [ticket] = await self._ask([transfer])
                transfer.directed(ticket)
                transfer.renewals += 1

    async def _complete_all(self, arrived: "asyncio.Queue[Transfer]", expected: int) -> None:
        """Tell the server of files that arrived, a few seconds' worth at a time."""
        loop = asyncio.get_running_loop()
        seen, told_at = 0, loop.time()
        here: list[Transfer] = []
        while seen < expected:
            transfer = await arrived.get()
            seen += 1
            if not transfer.ended:
                here.append(transfer)
            if here and (seen == expected or loop.time() - told_at > COMPLETE_AFTER_S):
                await self._complete(here)
                here, told_at = [], loop.time()

    async def _complete(self, transfers: list[Transfer]) -> None:
        """Tell the server; one that it refuses fails alone."""
        wanted = [transfer for transfer in transfers if transfer.upload_id is not None]
        for transfer in transfers:
            if transfer.upload_id is None:  # found out when asked again: the bytes were there
                self._store(transfer)
        waiting = [wanted]
        while waiting:
            asked = waiting.pop()
            if not asked:
                continue
            variables = {"input": {"uploads": [_completed(transfer) for transfer in asked]}}
            try:
                answer = await self._transport.mutate("CompleteUploads", variables, patience_s=math.inf)
            except RunstoneError as error:
                if len(asked) == 1:
                    self._fail(asked[0], error)
                else:
                    half = len(asked) // 2
                    waiting += [asked[half:], asked[:half]]
            else:
                for transfer, artifact in zip(asked, answer["artifacts"], strict=True):
                    self._settle(transfer, artifact)

    def _settle(self, transfer: Transfer, artifact: dict[str, Any]) -> None:
        failure = artifact["failure"]
        if failure is not None:
            message = f"{transfer.file.path} failed ({failure['reason']}): {failure['message']}"
            self._fail(transfer, UploadFailed(message, path=transfer.file.path))
        else:
            self._store(transfer)

    def _store(self, transfer: Transfer) -> None:
        transfer.ended = True
        self.stored += 1
        self._on_progress()
        transfer.job.ended(transfer.file.path)

    def _fail(self, transfer: Transfer, error: RunstoneError) -> None:
        if transfer.ended:
            return
        transfer.ended = True
        if not self.failures:
            log.warning("%s was not uploaded: %s", transfer.file.path, error)
        self.failures[transfer.file.path] = error
        transfer.job.failure = transfer.job.failure or error
        transfer.job.ended(transfer.file.path)


def _chunks(transfers: Sequence[Transfer]) -> Iterator[list[Transfer]]:
    """What fits into one request each; no path comes twice in one."""
    chunk: dict[str, Transfer] = {}
    for transfer in transfers:
        if len(chunk) == FILES_PER_REQUEST or transfer.file.path in chunk:
            yield list(chunk.values())
            chunk = {}
        chunk[transfer.file.path] = transfer
    if chunk:
        yield list(chunk.values())


def _at_fault(error: RunstoneError, asked: list[Transfer]) -> list[Transfer]:
    """Whose fault it is: all when the run takes nothing more, one when the error names it, none when unknown."""
    if len(asked) == 1 or isinstance(error, RunSealed | NotFound | Forbidden | Unauthenticated):
        return asked
    if isinstance(error, ArtifactConflict):
        return [transfer for transfer in asked if transfer.file.path == error.artifact_path]
    index = FILE_INDEX.search(error.path or "")
    return [asked[int(index[1])]] if index and int(index[1]) < len(asked) else []


def _completed(transfer: Transfer) -> dict[str, Any]:
    parts = [{"partNumber": number, "etag": etag} for number, etag in sorted(transfer.etags.items())]
    return {"uploadId": transfer.upload_id, "parts": parts or None}


def _unreadable(file: LocalFile, error: BaseException) -> UploadFailed:
    return UploadFailed(f"{file.source} could not be read: {error}", path=file.path)


def _first(group: BaseExceptionGroup[Any]) -> Any:
    [first, *_] = group.exceptions
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


@dataclass(frozen=True, slots=True)
class Stored:
    """The store has the bytes."""

    etag: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The store takes no more from this address; another may do."""

    message: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """It may go better in a moment."""

    message: str


class Stores:
    """The object stores that the server named, spoken to with the headers that it gave and no others of ours."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(PARALLEL)
        self._opening = asyncio.Lock()
        self._clients: dict[tuple[str, str], httpx.AsyncClient] = {}

    async def client(self, url: str) -> "httpx.AsyncClient":
        """The connections to the host of `url`."""
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        async with self._opening:
            if key not in self._clients:
                import httpx

                timeout = httpx.Timeout(TRANSFER_S, connect=CONNECT_S, pool=None)
                self._clients[key] = await open_http(url, timeout=timeout)
            return self._clients[key]

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                stack.push_async_callback(client.aclose)
            self._clients = {}

    async def put(
        self, file: LocalFile, request: dict[str, Any], on_bytes: Callable[[int], None]
    ) -> Stored | Refused | NotNow:
        """Send the bytes that `request` asks for. Raises `UploadFailed`, `Invalid`, `OSError`."""
        async with self._slots:
            client = await self.client(request["url"])
            headers = [(header["name"], header["value"]) for header in request["headers"]]
            if not any(name.lower() == "content-length" for name, _ in headers):
                headers.append(("Content-Length", str(request["sizeBytes"])))
            body = _Body(file, request["offset"], request["sizeBytes"], on_bytes)
            import httpx

            try:
                with unlogged():
                    response = await client.request(
                        request["method"], request["url"], headers=headers, content=body.chunks()
                    )
            except httpx.TransportError as error:
                body.rewind()
                return NotNow(f"{type(error).__name__} {error}".strip())
        outcome = _outcome(file, response)
        if not isinstance(outcome, Stored):
            body.rewind()
        return outcome


def _outcome(file: LocalFile, response: "httpx.Response") -> Stored | Refused | NotNow:
    status = response.status_code
    if response.is_success or status == 412:  # 412: the object is there, and its name is its digest
        return Stored(response.headers.get("etag", ""))
    found = STORE_CODE.search(response.text[:4096])
    code = found[1] if found else ""
    message = f"the store answered {status} {code or response.reason_phrase}".rstrip()
    if status in RETRYABLE_STATUS or code in RETRYABLE_CODES:
        return NotNow(message)
    if status in {401, 403, 404}:
        return Refused(message)
    file.require_unchanged()
    raise UploadFailed(f"{file.path}: {message}", path=file.path)


class _Body:
    """A stretch of a file, read while it is sent; `rewind` takes back what was counted as sent."""

    def __init__(self, file: LocalFile, offset: int, size_bytes: int, on_bytes: Callable[[int], None]) -> None:
        self._file = file
        self._offset = offset
        self._size_bytes = size_bytes
        self._on_bytes = on_bytes
        self._sent = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        source = await asyncio.to_thread(self._file.source.open, "rb")
        try:
            source.seek(self._offset)
            while self._sent < self._size_bytes:
                chunk = await asyncio.to_thread(source.read, min(files.CHUNK_BYTES, self._size_bytes - self._sent))
                if not chunk:
                    raise Invalid(f"{self._file.source} became shorter while it was uploaded", path=self._file.path)
                yield chunk
                self._sent += len(chunk)
                self._on_bytes(len(chunk))
        finally:
            source.close()

    def rewind(self) -> None:
        self._on_bytes(-self._sent)
        self._sent = 0
