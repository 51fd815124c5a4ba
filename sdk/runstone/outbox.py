"""What of a spool is on its way to the server, and what the server has.

The records of the next request are numbered and written down before they leave, so that whoever continues after a
crash, this process or `runstone sync`, sends exactly the same again and the server stores it once. Whatever is under
way is in the file `state` of the spool's folder, twice, so that one damaged byte costs nothing.
"""

import json
import logging
import os
import shutil
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zlib import crc32

from runstone import spool as spools
from runstone import values
from runstone.batches import NOUNS, Ending, Gathering, Items, Kind, Opening, Points, Record, of_json
from runstone.errors import RunstoneError
from runstone.spool import Damage, Position, Reader, Spool

log = logging.getLogger("runstone")

STATE: Final = struct.Struct("<IQ")
REASONS_MAX: Final = 100
NOTHING: Final[dict[Kind, int]] = {"params": 0, "metrics": 0, "tags": 0, "inputs": 0}


class SpoolDamaged(RunstoneError):
    """A spool says no longer what of it was sent; nothing of it is sent, so that nothing is stored twice."""

    code = "SPOOL_DAMAGED"


class Outbox:
    """The one end of a spool from which records leave; `fill`, send `records`, `settle` them, within `mine`.

    With `spool` it is that of this process, otherwise one that another process writes or has left.
    """

    def __init__(self, folder: Path, spool: Spool | None = None) -> None:
        self.folder = folder
        self.name = folder.name
        self.parent = _parent(folder)  # the writer whose process was forked to make this one's
        self.opening: Opening | None = None
        self.ending: Ending | None = None
        self.records: list[Record] = []
        self.uploads: dict[str, dict[str, Any]] = {}  # by id, those that have not ended
        self._over: list[str] = []  # uploads that have, while `state` may still name them
        self.stored = dict(NOTHING)
        self.refused = dict(NOTHING)
        self.reasons: list[str] = []
        self.damaged = 0
        self.is_ended = False
        self.is_full = False  # whether more was there than one request takes
        self.writer_id = folder.name
        self._next_seq = 0
        self._has_opening = False
        self._position = Position()
        self._told = (0, 0, 0)  # points and records dropped, records damaged, as the run's tags say
        self._spool = spool
        self._reader = Reader(folder, spool)
        self._signature: tuple[int, int] | None = None
        if spool is None:
            self._load()

    @property
    def started_ms(self) -> int:
        """When its writer began, as its id says."""
        return UUID(self.name).int >> 80

    @property
    def is_opened(self) -> bool:
        """Whether the server has the start of the run that this spool begins with."""
        return self._has_opening and self.opening is None

    @property
    def is_on_disk(self) -> bool:
        """Whether the spool has a folder, which is gone when all of it is stored."""
        return _is_folder(self.folder)

    @property
    def dropped(self) -> tuple[int, int]:
        """Points and other records for which there was no room."""
        return self._reader.dropped()

    def has_more(self) -> bool:
        """Whether something is under way, or in the spool behind it, except the end of the run."""
        if self.records or self.opening is not None:
            return True
        return self.ending is None and not self.is_ended and self._reader.has_more(self._position)

    @contextmanager
    def mine(self) -> Iterator[bool]:
        """Whether nobody else sends from this spool during the block; up to date then."""
        if not self.is_on_disk:
            yield self._spool is not None
            return
        with spools.locked(self.folder / "sender") as is_mine:
            if is_mine and self._signature != self._stat():
                self._load()
            yield is_mine

    def fill(self) -> None:
        """Take what comes next, and note it in `state` before it leaves; nothing while something is under way.

        An opening and an ending come alone.
        """
        if self.has_taken or self._tell():
            return
        before = self._position
        gathering = Gathering()
        self.is_full = False
        for position, body in self._reader.records(before):
            if isinstance(body, Damage):
                self._note_damage(position.segment, body)
            elif body and not self._take(body, gathering):
                self.is_full = True
                break
            self._position = position
            if self.opening is not None or self.ending is not None:
                break
        self.records = gathering.records()
        self._number()
        if self._position != before or self._over:
            self.save()

    @property
    def has_taken(self) -> bool:
        """Whether something is under way."""
        return bool(self.records) or self.opening is not None or self.ending is not None

    def _take(self, body: bytes, gathering: Gathering) -> bool:
        """Take the record; False when it must wait for the next request."""
        [number] = spools.KIND.unpack_from(body)
        if number == spools.ROWS:
            _, count, step, time_ms = spools.ROW.unpack_from(body)
            if not gathering.has_room(count, 8 * count):
                return False
            keys = _keys(body[spools.ROW.size + 8 * count :])
            gathering.add_row(keys, step, time_ms, struct.unpack_from(f"<{count}d", body, spools.ROW.size))
            return True
        kind = spools.NAMES.get(number)
        if kind is None:  # filled in where a call was interrupted, or of a later version
            return True
        content = json.loads(body[spools.KIND.size :])
        match kind:
            case "params" | "tags" | "inputs":
                if not gathering.has_room(0, len(body)):
                    return False
                gathering.add(Items(kind, content["items"]))
            case "upload":
                self.uploads[content["id"]] = content
            case "create" | "resume":
                if not self._has_opening:  # it is there twice, so that no damage of one record costs the run
                    self._has_opening = True
                    self.opening = Opening("CreateRun" if kind == "create" else "ResumeRun", content)
            case "finish":
                if gathering or self._is_untold():
                    return False
                self.ending = Ending(content["input"], content["time_ms"])
        return True

    def _note_damage(self, segment: int, damage: Damage) -> None:
        self.damaged += 1
        where = f"{self.folder / spools.name(segment)} at offset {damage.offset}"
        self._reason(f"a record that was damaged on this disk: {where}, {damage.size_bytes} bytes")
        log.warning("%s: %d bytes are damaged and cannot be sent", where, damage.size_bytes)

    def _is_untold(self) -> bool:
        return (*self.dropped, self.damaged) != self._told

    def _tell(self) -> bool:
        """Let the run itself say that it is not whole; whether there is news."""
        if not (self._has_opening or self.parent) or not self._is_untold():
            return False
        self._told = (*self.dropped, self.damaged)
        suffix = "" if self.parent is None else f".{self.name[-12:]}"
        names = ("dropped_points", "dropped_records", "damaged_records")
        counts = zip(names, self._told, strict=True)
        self.records = [
            Items("tags", [values.tag(f"runstone.{name}{suffix}", count) for name, count in counts if count])
        ]
        self.save()
        return True

    def _number(self) -> None:
        for record in self.records:
            if isinstance(record, Points) and record.seq is None:
                record.seq = self._next_seq
                self._next_seq += 1

    def settle(self, records: Sequence[Record]) -> None:
        """The server has them. It is written down with the next records, since sending them again does no harm."""
        for record in records:
            self.stored[record.kind] += record.count
            self.records.remove(record)

    def opened(self) -> None:
        """The server has the start of the run."""
        assert self.opening is not None
        if self.opening.operation == "CreateRun":
            self.stored["params"] += len(self.opening.input["params"])
            self.stored["tags"] += len(self.opening.input["tags"])
        self.opening = None

    def ended(self) -> None:
        """The server has the end of the run."""
        self.ending = None
        self.is_ended = True
        self.save()

    def refuse(self, record: Record, reason: str) -> None:
        """The server does not take it."""
        self.refused[record.kind] += record.count
        self._reason(reason)
        self.replace(record, [])

    def _reason(self, text: str) -> None:
        if len(self.reasons) < REASONS_MAX:
            self.reasons.append(text)

    def replace(self, record: Record, parts: Sequence[Record]) -> None:
        """Put the parts in the place of the record; the points from there on are numbered anew."""
        place = self.records.index(record)
        self.records[place : place + 1] = parts
        if isinstance(record, Points):
            assert record.seq is not None
            self._next_seq = record.seq
            for later in self.records[place:]:
                if isinstance(later, Points):
                    later.seq = None
            self._number()
        self.save()

    def renew(self) -> None:
        """Go on as a new writer, with all that is under way."""
        self.writer_id, self._next_seq = values.new_id(), 0
        for record in self.records:
            if isinstance(record, Points):
                record.seq = None
        self._number()
        self.save()

    def upload_ended(self, upload_id: str) -> None:
        """The files are stored, or will never be: our copies of them go as soon as `state` does not name them."""
        self.uploads.pop(upload_id, None)
        self._over.append(upload_id)

    def remaining(self) -> Counter[str]:
        """How many points, params, tags, inputs and files are not sent yet; reads all that is left."""
        counts = Counter(dict.fromkeys(("points", "params", "tags", "inputs", "files"), 0))
        for record in self.records:
            counts[NOUNS[record.kind]] += record.count
        for _, body in self._reader.records(self._position):
            if body and not isinstance(body, Damage):
                counts.update(_counted(body))
        counts["files"] += sum(len(upload["files"]) for upload in self.uploads.values())
        return +counts

    def save(self) -> None:
        """Write down what is under way, and delete what lies behind it.

        The disk itself has it when this returns, unless `fsync_s` says that it need not.
        """
        if self._spool is not None:
            self._spool.sync()
        over = list(self._over)
        if self.is_on_disk:
            fresh = self.folder / "state.new"
            with fresh.open("wb") as file:
                file.write(_framed(json.dumps(self._to_json(), separators=(",", ":")).encode()))
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self.folder / "state")
            self._signature = self._stat()
        self._reader.trim(self._position.segment)
        self._drop_copies(over)

    def _drop_copies(self, over: Sequence[str]) -> None:
        copies = self.folder if self._spool is None else self._spool.copies
        for upload_id in over:
            shutil.rmtree(copies / upload_id, ignore_errors=True)
            self._over.remove(upload_id)

    def _stat(self) -> tuple[int, int] | None:
        with suppress(OSError):
            facts = (self.folder / "state").stat()
            return facts.st_ino, facts.st_mtime_ns
        return None

    def _load(self) -> None:
        """Continue where `state` says. Raises `SpoolDamaged`."""
        self._signature = self._stat()
        try:
            text = _unframed((self.folder / "state").read_bytes())
        except FileNotFoundError:
            return
        if text is None:
            raise SpoolDamaged(
                f"{self.folder / 'state'} is damaged: what of this spool was sent is not known",
                hint="delete the file to send all of the spool that is left, some of it perhaps twice",
            )
        self._from_json(json.loads(text))

    def _to_json(self) -> dict[str, Any]:
        return {
            "writer": self.writer_id,
            "seq": self._next_seq,
            "position": [self._position.segment, self._position.offset],
            "opened": self._has_opening,
            "opening": self.opening and {"operation": self.opening.operation, "input": self.opening.input},
            "records": [record.to_json() for record in self.records],
            "ending": self.ending and {"input": self.ending.input, "time_ms": self.ending.time_ms},
            "uploads": list(self.uploads.values()),
            "stored": self.stored,
            "refused": self.refused,
            "reasons": self.reasons,
            "damaged": self.damaged,
            "told": self._told,
            "ended": self.is_ended,
        }

    def _from_json(self, state: Mapping[str, Any]) -> None:
        self.writer_id, self._next_seq = state["writer"], state["seq"]
        self._position = Position(*state["position"])
        self._has_opening = state["opened"]
        self.opening = state["opening"] and Opening(**state["opening"])
        self.records = [of_json(record) for record in state["records"]]
        self.ending = state["ending"] and Ending(**state["ending"])
        self.uploads = {upload["id"]: upload for upload in state["uploads"]}
        self.stored, self.refused = state["stored"], state["refused"]
        self.reasons, self.damaged = state["reasons"], state["damaged"]
        self._told = tuple(state["told"])
        self.is_ended = state["ended"]

    def remove(self) -> None:
        """Delete the spool, and the folder of its run when it was the last."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()


def _counted(body: bytes) -> dict[str, int]:
    """How many of what the record holds."""
    [number] = spools.KIND.unpack_from(body)
    if number == spools.ROWS:
        return {"points": spools.ROW.unpack_from(body)[1]}
    match spools.NAMES.get(number):
        case "params" | "tags" | "inputs" as kind:
            return {kind: len(json.loads(body[spools.KIND.size :])["items"])}
        case "upload":
            return {"files": len(json.loads(body[spools.KIND.size :])["files"])}
    return {}


def _is_folder(path: Path) -> bool:
    """Whether it is one; what is no path at all, such as too long a name, is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _parent(folder: Path) -> str | None:
    with suppress(OSError, ValueError):
        return (folder / "parent").read_text("ascii")
    return None


@lru_cache
def _keys(names: bytes) -> tuple[str, ...]:
    return tuple(names.decode().split("\0"))


def _framed(text: bytes) -> bytes:
    """The text twice, each with its checksum and length."""
    return 2 * (STATE.pack(crc32(text), len(text)) + text)


def _unframed(data: bytes) -> bytes | None:
    """The first of the two texts that is whole."""
    half = len(data) // 2
    for copy in (data[:half], data[half:]):
        if len(copy) >= STATE.size:
            checksum, length = STATE.unpack_from(copy)
            text = copy[STATE.size :]
            if len(text) == length and crc32(text) == checksum:
                return text
    return None
