"""What a process logs, kept before `log` returns: a log of records on this machine, one for each writer of a run.

A writer has a folder `<spool>/<run>/<writer>` with segments `00000001.log`, ... Each is a file of a fixed size that is
mapped into memory, so that appending is copying: no system call, no wait for another thread, and the kernel keeps what
was copied when the process is killed. A segment begins with its number and the counts of what was dropped so far; then
come records:

    magic "RSr1" | CRC-32 of the body, begun with the offset | length of the body (u64) | body | zeros up to 8 bytes

The header is written last. A damaged record is found by its checksum, and the next good one by its magic; a copy of a
record at another offset is no record. Folders belong to who holds the lock of their file `writer`.
"""

import asyncio
import json
import logging
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from zlib import crc32

from runstone.config import Spooling

try:
    import fcntl
except ImportError:  # no such locks here: the spool is kept in memory
    fcntl = None  # type: ignore[assignment]  # where there is no such module

log = logging.getLogger("runstone")

SEGMENT_BYTES: Final = 1024 * 1024
MEMORY_BYTES_MAX: Final = 64 * 1024 * 1024  # of segments for which the disk has no room
RETRY_S: Final = 0.5  # how long not to ask for room again

MAGIC: Final = b"RSr1"
HEADER: Final = struct.Struct("<4sIQ")
PACK_HEADER: Final = HEADER.pack_into
START: Final = struct.Struct("<8sQQQ")
SEGMENT_MAGIC: Final = b"RSspool1"
KIND: Final = struct.Struct("<I")
ROW: Final = struct.Struct("<IIqq")  # kind, number of values, step, time; then the values, then the keys

Kind: TypeAlias = Literal["create", "resume", "params", "tags", "inputs", "upload", "finish"]
ROWS: Final = 1
KINDS: Final[dict[Kind, int]] = {
    "create": 2,
    "resume": 3,
    "params": 4,
    "tags": 5,
    "inputs": 6,
    "upload": 7,
    "finish": 8,
}
Pack: TypeAlias = Callable[..., None]  # of a buffer, an offset there, and what is packed
# What packs a row, the bytes that it takes, the number of its values, and its keys as they are packed.
RowForm: TypeAlias = tuple[Pack, int, int, bytes]
NAMES: Final = {number: kind for kind, number in KINDS.items()}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a spool: just before a record, or at the end."""

    segment: int = 1
    offset: int = START.size


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that are no record, though a record was there; `size_bytes` until the next good one."""

    offset: int
    size_bytes: int


def row_form(keys: tuple[str, ...]) -> RowForm:
    """How rows of these keys are packed, each as (ROWS, count, step, time_ms, *values, names).

    The keys are distinct and at least one.
    """
    names = "\0".join(keys).encode()
    form = struct.Struct(f"{ROW.format}{len(keys)}d{len(names)}s")
    return form.pack_into, form.size, len(keys), names


def aligned(size_bytes: int) -> int:
    """With the zeros that follow."""
    return (size_bytes + 7) & ~7


_locks: set[int] = set()  # descriptors


def lock(path: Path) -> int | None:
    """A descriptor that holds the lock of the file, None when another has it; `unlock` it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    _locks.add(fd)
    return fd


def unlock(fd: int) -> None:
    """Give the lock back."""
    _locks.discard(fd)
    os.close(fd)


def _leave_locks() -> None:
    """In a forked child: a lock lives for as long as any process has it open."""
    while _locks:
        unlock(_locks.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks)


def is_alive(folder: Path) -> bool:
    """Whether the process that writes the spool still does."""
    try:
        fd = lock(folder / "writer")
    except OSError:
        return False
    if fd is not None:
        unlock(fd)
    return fd is None


class _Segment:
    """A stretch of the log; without a file it is in memory only."""

    def __init__(self, number: int, size_bytes: int, path: Path | None) -> None:
        self.number = number
        self.fd: int | None = None
        if path is None:
            self.data = mmap.mmap(-1, size_bytes)
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _reserve(fd, size_bytes)
            self.data = mmap.mmap(fd, size_bytes)
        except BaseException:
            os.close(fd)
            path.unlink()
            raise
        self.fd = fd

    def close(self) -> None:
        """Let go of the file; readers of the memory may go on."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)


def _reserve(fd: int, size_bytes: int) -> None:
    """Make room on the disk now: a mapped page for which there is none later would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size_bytes)
    else:
        os.write(fd, bytes(size_bytes))


class Spool:
    """The end of a writer's log, where its process appends; from any thread, and from signal handlers.

    `parent` is the writer from whose process this one was forked.
    """

    def __init__(self, folder: Path, settings: Spooling, parent: str | None = None) -> None:
        self.folder = folder
        self.writer_id = folder.name
        self.memory: dict[int, mmap.mmap] = {}  # the segments that have no file
        self.dropped_points = 0
        self.dropped_records = 0
        self.settings = settings
        self._lock = threading.RLock()
        self._is_synced_always = not settings.fsync_s
        self._unsynced: list[_Segment] = []
        self._folder_synced = 0
        self._retry_at = 0.0
        self._warned: set[str] = set()
        self._alive: int | None = None
        self._on_disk = self._claim(parent)
        self._offset = 0
        self.copies = folder if self._on_disk else Path(tempfile.mkdtemp(prefix="runstone-"))  # of files to upload
        segment = self._room(0, SEGMENT_BYTES)
        assert segment is not None, "memory has room for the first"
        self._begin(segment)
        self._seen = Position()

    def _claim(self, parent: str | None) -> bool:
        """Make the folder and hold its lock; False when that cannot be done."""
        if fcntl is None:
            self._warn("this system has no locks for a spool; what is logged is kept in memory until it is sent")
            return False
        making = self.folder.with_name(f".{self.folder.name}")
        try:
            making.mkdir(mode=0o700, parents=True)
            self._alive = lock(making / "writer")
            if parent is not None:
                (making / "parent").write_text(parent, "ascii")
            making.rename(self.folder)
        except OSError as error:
            self._warn(f"there is no spool at {self.folder} ({error.strerror}); what is logged is kept in memory")
            return False
        return True

    def append(self, kind: Kind, content: dict[str, Any]) -> bool:
        """Append another record, for which there is room when the disk has any; False when it has none."""
        text = json.dumps(content, separators=(",", ":")).encode()
        form = struct.Struct(f"{KIND.format}{len(text)}s")
        return self.append_packed(form.pack_into, form.size, 0, (KINDS[kind], text))

    def append_packed(self, pack: Pack, length: int, points: int, content: Sequence[Any]) -> bool:
        """Append a row with so many points, or with none another record; False when there is no room.

        `pack` makes a body of that length of the content. Every name that is looked up here is paid for by each `log`.
        """
        size = 16 + length
        with self._lock:
            start = self._offset
            if start + size > self._size:
                if not self._next(size, within_bounds=points > 0):
                    self._drop(points)
                    return False
                start = self._offset
            # Taken before it is filled: a signal handler that logs meanwhile writes behind it.
            self._offset = start + ((size + 7) & ~7)
            data = self._data
            try:
                pack(data, start + 16, *content)
                PACK_HEADER(data, start, MAGIC, crc32(data[start + 16 : start + size], start), length)
            except BaseException:
                _fill(data, start, size)
                raise
        if self._is_synced_always:
            self.sync()
        return True

    def _next(self, size_bytes: int, *, within_bounds: bool) -> bool:
        """Go on in a new segment; False when there is no room for one."""
        if within_bounds and time.monotonic() < self._retry_at:
            return False
        segment = self._room(self._segment.number, START.size + size_bytes, within_bounds)
        if segment is None:
            self._retry_at = time.monotonic() + RETRY_S
            return False
        self._begin(segment)
        return True

    def _begin(self, segment: _Segment) -> None:
        if segment.fd is None:
            self.memory[segment.number] = segment.data
        else:
            self._unsynced.append(segment)
        self._segment = segment
        self._data = memoryview(segment.data)
        self._size = len(segment.data)
        self._offset = START.size
        self._note_dropped()

    def _room(self, after: int, size_bytes: int, within_bounds: bool = False) -> _Segment | None:
        """The segment after that number: on the disk, else in memory, else None."""
        size_bytes = aligned(max(size_bytes, SEGMENT_BYTES))
        if self._on_disk:
            try:
                if within_bounds and self._used() + size_bytes > self.settings.bytes_max:
                    self._warn(
                        f"the spool {self.folder} has {self.settings.bytes_max:,} bytes that are not sent yet; points"
                        " that are logged now are dropped and counted (RUNSTONE_SPOOL_BYTES_MAX)"
                    )
                    return None
                return _Segment(after + 1, size_bytes, self.folder / name(after + 1))
            except OSError as error:
                self._warn(f"the spool {self.folder} cannot grow ({error.strerror}); it goes on in memory")
        if sum(map(len, self.memory.values())) + size_bytes > MEMORY_BYTES_MAX:
            self._warn("there is no room for what is not sent yet; points that are logged now are dropped and counted")
            return None
        return _Segment(after + 1, size_bytes, None)

    def _used(self) -> int:
        """Bytes of the segments on the disk."""
        used = 0
        for entry in os.scandir(self.folder):
            with suppress(FileNotFoundError):  # it was sent and deleted since the folder was read
                used += entry.stat().st_size if entry.name.endswith(".log") else 0
        return used

    def _drop(self, points: int) -> None:
        self.dropped_points += points
        self.dropped_records += not points
        self._note_dropped()

    def _note_dropped(self) -> None:
        START.pack_into(
            self._segment.data, 0, SEGMENT_MAGIC, self._segment.number, self.dropped_points, self.dropped_records
        )

    def _warn(self, text: str) -> None:
        """Say it once."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)

    def end(self) -> Position:
        """Where the last record ends. While a signal handler has interrupted `append`, what it was before."""
        if self._lock.acquire(blocking=False):
            try:
                self._seen = Position(self._segment.number, self._offset)
            finally:
                self._lock.release()
        return self._seen

    def sync(self) -> None:
        """Have the disk itself store what was appended, so that it survives a crash of the machine."""
        with self._lock:
            segments = list(self._unsynced)
        for segment in segments:
            fd = segment.fd
            if fd is not None:
                os.fsync(fd)
        with self._lock:
            for segment in segments:
                if segment is not self._segment and segment in self._unsynced:
                    self._unsynced.remove(segment)
                    segment.close()
        if segments and segments[-1].number != self._folder_synced:
            self._folder_synced = segments[-1].number
            fsync_folder(self.folder)

    async def keep_synced(self) -> None:
        """Have the disk itself store what is appended, every `fsync_s`, until cancelled."""
        synced = Position()
        while self.settings.fsync_s:
            await asyncio.sleep(self.settings.fsync_s)
            if synced != (end := self.end()):
                try:
                    await asyncio.to_thread(self.sync)
                except OSError as error:
                    self._warn(f"the disk does not store the spool {self.folder}: {error.strerror}")
                synced = end

    def forget(self, before: int) -> None:
        """Let go of the segments in memory before that number."""
        for number in [number for number in self.memory if number < before]:
            del self.memory[number]

    def close(self) -> None:
        """Give back the lock; also in a forked child, which must write nothing here."""
        for segment in {*self._unsynced, self._segment}:
            segment.close()
        alive, self._alive = self._alive, None
        if alive in _locks:
            unlock(alive)


def fsync_folder(folder: Path) -> None:
    """Have the disk itself store which files the folder has."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def name(segment: int) -> str:
    """The file of the segment."""
    return f"{segment:08}.log"


def _fill(data: memoryview, start: int, size_bytes: int) -> None:
    """Put an empty record where one was interrupted, so that readers go on behind it."""
    body = bytes(size_bytes - HEADER.size)
    data[start + HEADER.size : start + size_bytes] = body
    HEADER.pack_into(data, start, MAGIC, crc32(body, start), len(body))


def bodies(data: mmap.mmap, start: int, end: int, *, is_final: bool) -> Iterator[tuple[int, bytes | Damage]]:
    """The bodies of the records from `start` on, each with the offset behind it, and what is damaged between them.

    Unless `is_final`, what is not whole yet may still become so: then it ends there.
    """
    offset = start
    while offset < end:
        body = _body(data, offset, end)
        if body is not None:
            offset += aligned(HEADER.size + len(body))
            yield offset, body
            continue
        is_blank = not any(data[offset : offset + HEADER.size])
        if is_blank and not is_final:
            return
        found = _resync(data, offset + 8, end)
        if found is not None:
            if any(data[offset:found]):
                yield found, Damage(offset, found - offset)
            offset = found
            continue
        if is_final and not is_blank:  # else the process died before the record was whole, or at the end
            yield end, Damage(offset, len(data[offset:end].rstrip(b"\0")))
        return


def _body(data: mmap.mmap, offset: int, end: int) -> bytes | None:
    """The body of the record there; None when there is no good one."""
    start = offset + HEADER.size
    if start > end:
        return None
    magic, checksum, length = HEADER.unpack_from(data, offset)
    if magic != MAGIC or length > end - start:
        return None
    body = data[start : start + length]
    return body if crc32(body, offset) == checksum else None


def _resync(data: mmap.mmap, offset: int, end: int) -> int | None:
    """Where the next good record begins.

    It searches a copy: before Python 3.11.5, `find` of a map reads a byte behind the end, where there may be no memory
    (CPython issue 105235).
    """
    rest, at = data[offset:end], -1
    while (at := rest.find(MAGIC, at + 1)) >= 0:
        found = offset + at
        if found % 8 == 0 and _body(data, found, end) is not None:
            return found
    return None


class Reader:
    """The other end of a log: of the writer of this process, or, without `spool`, of another one."""

    def __init__(self, folder: Path, spool: Spool | None = None) -> None:
        self.folder = folder
        self._spool = spool
        self._open: tuple[int, int, mmap.mmap] | None = None

    def records(self, position: Position) -> Iterator[tuple[Position, bytes | Damage]]:
        """The bodies from `position` on, each with the position behind it."""
        segment, offset = position.segment, position.offset
        while True:
            is_alive_now = self._spool is not None or is_alive(self.folder)
            has_next = self._has(segment + 1)
            data = self._data(segment)
            if data is not None:
                end = self._end(segment, data)
                for after, body in bodies(data, offset, end, is_final=has_next or not is_alive_now):
                    yield Position(segment, after), body
            if not has_next:
                return
            segment, offset = self._following(segment), START.size
            yield Position(segment, offset), b""

    def has_more(self, position: Position) -> bool:
        """Whether there is something behind `position`."""
        if self._spool is not None:
            return position < self._spool.end()
        return next((True for _, body in self.records(position) if body), False)

    def dropped(self) -> tuple[int, int]:
        """Points and other records that the writer had no room for."""
        if self._spool is not None:
            return self._spool.dropped_points, self._spool.dropped_records
        numbers = self._numbers()
        data = self._data(numbers[-1]) if numbers else None
        if data is None or len(data) < START.size:
            return 0, 0
        magic, _, points, records = START.unpack_from(data)
        return (points, records) if magic == SEGMENT_MAGIC else (0, 0)

    def trim(self, before: int) -> None:
        """Delete the segments before that number."""
        if self._spool is not None:
            self._spool.forget(before)
        for number in self._numbers():
            if number < before:
                (self.folder / name(number)).unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        with suppress(OSError):
            return sorted(int(path.stem) for path in self.folder.glob("*.log") if path.stem.isdecimal())
        return []

    def _has(self, segment: int) -> bool:
        if self._spool is not None:
            return segment <= self._spool.end().segment
        return any(number >= segment for number in self._numbers())

    def _following(self, segment: int) -> int:
        """The next segment that is there: one may have been lost."""
        if self._spool is not None:
            return segment + 1
        return next(number for number in self._numbers() if number > segment)

    def _end(self, segment: int, data: mmap.mmap) -> int:
        if self._spool is not None:
            end = self._spool.end()
            return end.offset if end.segment == segment else len(data)
        return len(data)

    def _data(self, segment: int) -> mmap.mmap | None:
        """The bytes of the segment; None when there are none."""
        if self._spool is not None and segment in self._spool.memory:
            return self._spool.memory[segment]
        try:
            with (self.folder / name(segment)).open("rb") as file:
                size_bytes = os.fstat(file.fileno()).st_size
                if self._open is None or self._open[:2] != (segment, size_bytes):
                    self._open = segment, size_bytes, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return self._open[2]
        except (OSError, ValueError):  # it is gone, or empty
            return None


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether the lock of the file is ours in this block."""
    fd = lock(path)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            unlock(fd)
