"""From the buffer to the server: one request at a time, again until it is acknowledged.

A block of points carries its writer and seq, so that the server stores it once however often it arrives. What the
server refuses for good is narrowed down to the one item at fault, which alone is dropped, counted and reported.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from runstone import operations, values
from runstone.buffer import Buffer, Items, Kind, Points, Record
from runstone.errors import (
    BadRequest,
    Forbidden,
    Invalid,
    NotFound,
    PayloadTooLarge,
    RunSealed,
    RunstoneError,
    SeqConflict,
    from_user_error,
)
from runstone.transport import Transport, pause_s

log = logging.getLogger("runstone")

TICK_S: Final = 0.25  # what is logged leaves after one tick and before two, so that it travels together
HEARTBEAT_S: Final = 30.0
RECORDS_PER_REQUEST: Final = 1000
RENEWALS_MAX: Final = 3
WARN_AFTER: Final = 3  # failures in a row
PAUSE_WHEN_DRAINING_S: Final = 2.0

SECTIONS: Final[dict[Kind, str]] = {
    "params": "logParams",
    "metrics": "logMetrics",
    "tags": "setTags",
    "inputs": "logInputs",
}
# After these the server takes nothing more of the kind; sending less at a time would not help.
FINAL: Final = (RunSealed, NotFound, Forbidden)


class Sender:
    """Sends what one run logs; the only one who takes from the buffer."""

    def __init__(self, transport: Transport, run_id: str) -> None:
        self._transport = transport
        self._run_id = run_id
        self._writer_id = values.new_id()
        self._next_seq = 0
        self._renewals = 0
        self._narrowed = 0  # records to send one by one
        self._failures = 0
        self._wake = asyncio.Event()
        self._draining = asyncio.Event()
        self._emptied = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._beaten_at = self._loop.time()
        self.progress_at = self._loop.time()
        self.buffer = Buffer(self._wake_soon)
        self.stored: dict[Kind, int] = {"params": 0, "metrics": 0, "tags": 0, "inputs": 0}
        self.refused: dict[Kind, int] = {"params": 0, "metrics": 0, "tags": 0, "inputs": 0}
        self.reasons: list[str] = []
        self.trouble: RunstoneError | None = None

    async def run(self) -> None:
        """Send what comes, a moment after it came, and keep the run alive; until cancelled."""
        was_waiting = False
        while True:
            hurry = await self._tick()
            is_waiting = len(self.buffer) > 0
            if is_waiting and not was_waiting and not hurry:
                was_waiting = True
                continue
            was_waiting = False
            await self._step()

    async def drain(self) -> None:
        """Until everything is acknowledged or dropped."""
        self._draining.set()
        self._wake.set()
        while len(self.buffer):
            self._emptied.clear()
            await self._emptied.wait()

    async def _tick(self) -> bool:
        """Wait for the next tick; True at once when there is much to send or somebody waits for it."""
        if self._draining.is_set() and len(self.buffer):
            return True
        try:
            async with asyncio.timeout(TICK_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _step(self) -> None:
        try:
            records = self.buffer.peek(1 if self._narrowed else RECORDS_PER_REQUEST)
            if records:
                await self._send(records)
            if self._loop.time() - self._beaten_at >= HEARTBEAT_S:
                await self._heartbeat()
        except RunstoneError as error:
            await self._back_off(error)
        else:
            self._failures = 0
            self.trouble = None
        if not len(self.buffer):
            self._emptied.set()

    async def _back_off(self, error: RunstoneError) -> None:
        self.trouble = error
        self._failures += 1
        if self._failures == WARN_AFTER:
            log.warning("run %s cannot be stored now, and keeps trying: %s", self._run_id, error)
        pause = max(pause_s(self._failures), error.retry_after_s or 0.0)
        if self._draining.is_set():
            await asyncio.sleep(min(pause, PAUSE_WHEN_DRAINING_S))
            return
        try:
            async with asyncio.timeout(pause):
                await self._draining.wait()
        except TimeoutError:
            pass

    @property
    def is_hopeless(self) -> bool:
        """Whether the last failures are of a kind that does not pass by itself."""
        return self.trouble is not None and not self.trouble.retryable and self._failures > 1

    def _wake_soon(self) -> None:
        """Wake the sender; from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def _heartbeat(self) -> None:
        self._beaten_at = self._loop.time()
        data = await self._post("Heartbeat", {"runId": self._run_id})
        answer = data["heartbeat"]
        if not answer["__typename"].endswith("Payload"):
            log.debug("heartbeat of run %s: %s", self._run_id, from_user_error(answer))

    async def _post(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        return await self._transport.post(operations.document(operation), variables, operation)

    async def _send(self, records: Sequence[Record]) -> None:
        """One request, and what follows from each part of its answer. Raises what may pass."""
        self._number(records)
        try:
            data = await self._post("Flush", self._variables(records))
        except (Invalid, BadRequest, PayloadTooLarge) as error:
            self._refuse(records, error)
            return
        later: RunstoneError | None = None
        for kind, section in SECTIONS.items():
            of_kind = [record for record in records if record.kind == kind]
            if not of_kind:
                continue
            answer = data[section]
            if answer["__typename"].endswith("Payload"):
                self._settle(of_kind)
                continue
            failure = from_user_error(answer)
            if failure.retryable:
                later = failure
            elif isinstance(failure, SeqConflict):
                self._renew(of_kind, failure)
            else:
                self._refuse(of_kind, failure)
        if later is not None:
            raise later

    def _number(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Points) and record.seq is None:
                record.seq = self._next_seq
                self._next_seq += 1

    def _variables(self, records: Sequence[Record]) -> dict[str, Any]:
        items: dict[Kind, dict[str, dict[str, Any]]] = {"params": {}, "tags": {}, "inputs": {}}
        blocks = []
        for record in records:
            if isinstance(record, Items):
                # A key once a request: of the same tag set twice within a moment, the last counts.
                items[record.kind].update((_identity(item), item) for item in record.items)
            else:
                blocks.append(record.to_wire())
        return {
            "runId": self._run_id,
            "writerId": self._writer_id,
            "params": list(items["params"].values()),
            "tags": list(items["tags"].values()),
            "inputs": list(items["inputs"].values()),
            "blocks": blocks,
            "withParams": bool(items["params"]),
            "withTags": bool(items["tags"]),
            "withInputs": bool(items["inputs"]),
            "withMetrics": bool(blocks),
        }

    def _settle(self, records: Sequence[Record]) -> None:
        for record in records:
            self.stored[record.kind] += record.count
        self._done_with(records)

    def _refuse(self, records: Sequence[Record], error: RunstoneError) -> None:
        """Drop the one item at fault; where it is not known yet, send less at a time until it is."""
        if isinstance(error, FINAL):
            for record in records:
                self._drop(record, error)
        elif len(records) > 1:
            self._narrowed = max(self._narrowed, len(records))
        elif parts := records[0].parts():
            self._narrowed += len(parts)
            self._replace(records[0], parts)
        else:
            self._drop(records[0], error)

    def _drop(self, record: Record, error: RunstoneError) -> None:
        self.refused[record.kind] += record.count
        reason = f"{record}: {error}"
        if not self.reasons:
            log.warning("run %s: the server refused %s", self._run_id, reason)
        if len(self.reasons) < 100:
            self.reasons.append(reason)
        self._narrowed = max(0, self._narrowed - 1)
        self._replace(record, [])
        self.progress_at = self._loop.time()

    def _replace(self, record: Record, parts: Sequence[Record]) -> None:
        if isinstance(record, Points) and record.seq is not None:
            self._next_seq = record.seq  # it was not used
        self.buffer.replace(record, parts)

    def _renew(self, records: Sequence[Record], error: SeqConflict) -> None:
        """Go on as a new writer: the server does not have these blocks, and expects others of the old one."""
        self._renewals += 1
        if self._renewals > RENEWALS_MAX:
            for record in records:
                self._drop(record, error)
            return
        log.warning("run %s goes on as a new writer: %s", self._run_id, error)
        self._writer_id = values.new_id()
        self._next_seq = 0
        self.buffer.forget_seqs()

    def _done_with(self, records: Sequence[Record]) -> None:
        self.buffer.trim(records)
        self._narrowed = max(0, self._narrowed - len(records))
        self.progress_at = self._loop.time()


def _identity(item: dict[str, Any]) -> str:
    """What makes two items the same thing said twice."""
    if "key" in item:
        return str(item["key"])
    return repr((item["name"], item["digest"], item["context"], item["uri"]))
