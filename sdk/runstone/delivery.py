"""All spools of one run on their way: that of this process, of its forked children, and those left by earlier ones.

Openings and endings go in the order in which they were asked for; everything between them goes at once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from runstone import spool
from runstone.errors import RunstoneError, Unauthenticated
from runstone.files import LocalFile
from runstone.outbox import Outbox, SpoolDamaged
from runstone.sender import Sender
from runstone.transport import Transport
from runstone.uploads import Job, Upload, Uploader

log = logging.getLogger("runstone")

CHECK_S: Final = 0.5
ADOPT_S: Final = 1.0


class Delivery:
    """Sends what the spools of a run hold, between `start` and `stop`.

    With `main`, the spool of this process, others are its forked children and what dead processes had left before;
    without, all spools of the run are.
    """

    def __init__(self, transport: Transport, run_id: str, folder: Path, main: Outbox | None = None) -> None:
        self.run_id = run_id
        self.folder = folder
        self.problems: list[str] = []
        self.is_to_stop = False  # whether somebody asked for it
        self.stop_reason: str | None = None
        self.uploader = Uploader(transport, run_id, self._note_progress)
        self._transport = transport
        self._main = main
        self._senders: dict[str, Sender] = {}
        self._awaited: dict[str, Upload] = {}
        self._begun: set[str] = set()  # uploads
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._progress_at = self._loop.time()
        self._is_hurried = False
        self._is_stop_told = False
        self._tasks: list[asyncio.Task[None]] = []
        if main is not None:
            self._add(main, beats=True)

    async def start(self) -> None:
        """Begin to send, first what others left."""
        await self.adopt(elders=True)
        self._tasks += [asyncio.create_task(self.uploader.run()), asyncio.create_task(self._keep_adopting())]
        if self._main is not None:
            self._tasks.append(asyncio.create_task(self._senders[self._main.name].run()))

    async def stop(self) -> None:
        """Send nothing more, and note in each spool how far it is."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("run %s: sending stopped", self.run_id, exc_info=outcome)
        for sender in self._senders.values():
            await asyncio.to_thread(_save, sender.outbox)

    @property
    def outboxes(self) -> list[Outbox]:
        """Those of all spools."""
        return [sender.outbox for sender in self._senders.values()]

    @property
    def is_drained(self) -> bool:
        """Whether all that was recorded is stored, except the end of the run."""
        return self._is_uploaded and all(sender.is_drained for sender in self._senders.values())

    @property
    def is_delivered(self) -> bool:
        """Whether all that was recorded is stored, also the end of the run."""
        return self.is_drained and all(outbox.ending is None for outbox in self.outboxes) and not self.problems

    @property
    def _is_uploaded(self) -> bool:
        return not any(outbox.uploads for outbox in self.outboxes)

    @property
    def trouble(self) -> RunstoneError | None:
        """Why a sender gets nothing through now."""
        return next((sender.trouble for sender in self._senders.values() if sender.trouble is not None), None)

    @property
    def sealed(self) -> dict[str, Any] | None:
        """What the end of the run was answered."""
        return next((sender.sealed for sender in self._senders.values() if sender.sealed is not None), None)

    def remaining(self) -> Counter[str]:
        """How many points, params, tags, inputs and files are not sent yet; reads all that is left."""
        return sum((outbox.remaining() for outbox in self.outboxes), Counter[str]())

    async def opened(self) -> dict[str, Any]:
        """The run as the server has it. Raises what the first try to start it came to."""
        assert self._main is not None
        return await asyncio.shield(self._senders[self._main.name].opened)

    @property
    def started(self) -> dict[str, Any] | None:
        """The run as the server has it, None before it does."""
        assert self._main is not None
        opened = self._senders[self._main.name].opened
        return opened.result() if opened.done() and opened.exception() is None else None

    @property
    def is_hopeless(self) -> bool:
        """Whether what is left will not go by itself."""
        return any(sender.is_hopeless for sender in self._senders.values()) or (
            bool(self.problems) and self.uploader.is_idle
        )

    def wake_soon(self) -> None:
        """Send what this process has without waiting for the next tick; from any thread."""
        assert self._main is not None
        self._senders[self._main.name].wake_soon()

    def hurry(self) -> None:
        """Wait for no tick any more: somebody waits for the end."""
        self._is_hurried = True
        self.uploader.hurry()
        for sender in self._senders.values():
            sender.hurry()

    @property
    def is_started(self) -> bool:
        """Whether anything is sent at all."""
        return bool(self._tasks)

    async def until(self, is_done: Callable[[], bool], patience_s: float) -> bool:
        """Whether it is done before nothing got through for `patience_s`, or nothing will."""
        self.hurry()
        self._note_progress()
        while not is_done():
            idle_s = self._loop.time() - max(
                [self._progress_at, *(each.progress_at for each in self._senders.values())]
            )
            if idle_s > patience_s or self.is_hopeless or any(task.done() for task in self._tasks):
                return False
            self._news.clear()
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._news.wait()
            except TimeoutError:
                pass
        return True

    def may_open(self, sender: Sender) -> bool:
        """Whether all that was recorded before this attempt is stored, and its end.

        What others left comes before the attempt of this process, whatever the clock said.
        """
        if self._main is not None and sender.outbox is self._main:
            elders = [other for other in self._senders.values() if self._is_elder(other.outbox)]
            return all(other.is_drained and other.outbox.ending is None for other in elders)
        began_ms = sender.outbox.started_ms
        return all(
            other.is_drained and (other.outbox.ending is None or other.outbox.ending.time_ms > began_ms)
            for other in self._senders.values()
            if other.outbox.started_ms < began_ms
        )

    def may_send(self, sender: Sender) -> bool:
        """Whether the server has the run: that is for the parent of a forked process to say."""
        parent = self._senders.get(sender.outbox.parent or "")
        return parent is None or parent.outbox.is_opened

    def may_end(self, sender: Sender) -> bool:
        """Whether all that was recorded until the end was asked for is stored."""
        ending = sender.outbox.ending
        return (
            ending is not None
            and self._is_uploaded
            and all(
                other.is_drained
                for other in self._senders.values()
                if other is not sender and other.outbox.started_ms <= ending.time_ms
            )
        )

    def stepped(self, sender: Sender) -> None:
        """Begin the uploads that the sender came to."""
        for upload_id, content in list(sender.outbox.uploads.items()):
            if upload_id not in self._begun:
                self._begin_upload(sender.outbox, upload_id, content)
        self._news.set()

    def asked_to_stop(self, sender: Sender) -> None:
        """Note it, and ask why at once; what an earlier process left belongs to an attempt that is not this one."""
        if self._main is None or self.is_to_stop or self._is_elder(sender.outbox):
            return
        self.is_to_stop = True
        self._senders[self._main.name].beat_now()

    def told_why(self, reason: str | None) -> None:
        """Note it, and say it once."""
        if self._main is not None and not self._is_stop_told:
            self.is_to_stop = self._is_stop_told = True
            self.stop_reason = reason
            log.warning("run %s was asked to stop%s", self.run_id, f": {reason}" if reason else "")

    def _is_elder(self, outbox: Outbox) -> bool:
        """Whether the spool is one that an earlier process left."""
        return outbox is not self._main and not outbox.parent

    def expect(self, upload_id: str, upload: Upload) -> None:
        """Somebody waits for this upload, which begins when its record is reached; from any thread."""
        self._awaited[upload_id] = upload

    def _begin_upload(self, outbox: Outbox, upload_id: str, content: dict[str, Any]) -> None:
        files = [LocalFile.of_json(file, outbox.folder) for file in content["files"]]
        upload = self._awaited.pop(upload_id, None) or Upload([file.path for file in files], self._loop)
        job = Job(files, upload, content["can_wait"], lambda failure: self._upload_ended(outbox, upload_id, failure))
        self._begun.add(upload_id)
        self.uploader.add(job)

    def _upload_ended(self, outbox: Outbox, upload_id: str, failure: RunstoneError | None) -> None:
        if isinstance(failure, Unauthenticated):  # says nothing about the file
            self.problems.append(str(failure))
        else:
            outbox.upload_ended(upload_id)
            self._senders[outbox.name].wake_soon()
        self._note_progress()
        if self._is_hurried:  # the end of the run may have waited for this
            self.hurry()

    def _note_progress(self) -> None:
        self._progress_at = self._loop.time()
        self._news.set()

    def _add(self, outbox: Outbox, *, beats: bool) -> Sender:
        sender = self._senders[outbox.name] = Sender(self._transport, self.run_id, outbox, self, beats=beats)
        if self._is_hurried:
            sender.hurry()
        return sender

    async def _keep_adopting(self) -> None:
        while True:
            await asyncio.sleep(ADOPT_S)
            await self.adopt()

    async def adopt(self, *, elders: bool = False) -> None:
        """Look for spools that are ours to send: of forked children, and with `elders` those that others left."""
        for outbox in await asyncio.to_thread(self._found, elders):
            sender = self._add(outbox, beats=False)
            if self._main is None and spool.is_alive(outbox.folder):
                sender.beat_now()
            self._tasks.append(asyncio.create_task(sender.run()))

    def _found(self, elders: bool) -> list[Outbox]:
        """Spools of the run that are ours to send and new to us."""
        found = []
        for folder in sorted(folders(self.folder)):
            if folder.name not in self._senders and str(folder) not in self.problems:
                try:
                    outbox = Outbox(folder)
                except SpoolDamaged as error:
                    log.error("%s", error)
                    self.problems.append(str(folder))
                    continue
                if self._is_ours(outbox, elders):
                    found.append(outbox)
        return found

    def _is_ours(self, outbox: Outbox, elders: bool) -> bool:
        if self._main is None or outbox.parent == self._main.name:
            return True
        return elders and not spool.is_alive(outbox.folder)


def folders(parent: Path) -> list[Path]:
    """Those in the folder that have a UUID as their name."""
    try:
        return [path for path in parent.iterdir() if _is_uuid(path.name) and path.is_dir()]
    except OSError:
        return []


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _save(outbox: Outbox) -> None:
    try:
        with outbox.mine() as is_mine:
            if is_mine:
                outbox.save()
    except OSError as error:  # what is under way then goes again, which does no harm
        log.warning("the spool %s cannot be written: %s", outbox.folder, error.strerror)
