"""From a spool to the server: one request at a time, again until it is acknowledged.

A block of points carries its writer and seq, so that the server stores it once however often it arrives. What the
server refuses for good is narrowed down to the one item at fault, which alone is dropped, counted and reported.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

from runstone import operations
from runstone.batches import Items, Kind, Record
from runstone.errors import (
    BadRequest,
    Forbidden,
    Invalid,
    NotFound,
    NotRunstone,
    PayloadTooLarge,
    RunSealed,
    RunstoneError,
    SeqConflict,
    Unavailable,
    from_user_error,
)
from runstone.outbox import Outbox
from runstone.transport import ANSWER_S, Transport, pause_s, payload

log = logging.getLogger("runstone")

IDLE_S: Final = 0.05  # between two looks while somebody waits and others are in the way
TICK_S: Final = 0.25  # what is logged leaves after one tick and before two, so that it travels together
HEARTBEAT_S: Final = 30.0
RENEWALS_MAX: Final = 3
WARN_AFTER: Final = 3  # failures in a row
PAUSE_WHEN_DRAINING_S: Final = 2.0
VALIDATION_S: Final = 25.0  # how long one request waits for the server to check uploads

SECTIONS: Final[dict[Kind, str]] = {
    "params": "logParams",
    "metrics": "logMetrics",
    "tags": "setTags",
    "inputs": "logInputs",
}
# After these the server takes nothing more of the run; sending less at a time would not help.
FINAL: Final = (RunSealed, NotFound, Forbidden)


class Rules(Protocol):
    """Knows when the start of the run, what it recorded and its end can go, and hears of every step.

    And of a stop request: that there is one comes with any answer, why comes with that of a heartbeat.
    """

    def may_open(self, sender: "Sender") -> bool: ...

    def may_send(self, sender: "Sender") -> bool: ...

    def may_end(self, sender: "Sender") -> bool: ...

    def stepped(self, sender: "Sender") -> None: ...

    def asked_to_stop(self, sender: "Sender") -> None: ...

    def told_why(self, reason: str | None) -> None: ...


class Sender:
    """Sends what one spool holds, for as long as `run` runs; with `beats` it says that the run is alive."""

    def __init__(self, transport: Transport, run_id: str, outbox: Outbox, rules: Rules, *, beats: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self.outbox = outbox
        self.opened: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self.progress_at = self._loop.time()
        self.trouble: RunstoneError | None = None
        self.sealed: dict[str, Any] | None = None  # what the end of the run was answered
        self._transport = transport
        self._run_id = run_id
        self._rules = rules
        self._beats = beats
        self._renewals = 0
        self._narrowed = 0  # records to send one by one
        self._failures = 0
        self._is_filling = False
        self._wake = asyncio.Event()
        self._wake.set()
        self._draining = asyncio.Event()
        self._beaten_at = self._loop.time()

    @property
    def is_drained(self) -> bool:
        """Whether everything before the end of the run is acknowledged or refused."""
        return not self._is_filling and not self.outbox.has_more()

    @property
    def is_hopeless(self) -> bool:
        """Whether the last failures are of a kind that does not pass by itself."""
        passes = self.trouble is None or self.trouble.retryable or isinstance(self.trouble, NotRunstone)
        return not passes and self._failures > 1

    def hurry(self) -> None:
        """Wait for no tick any more: somebody waits for the end."""
        self._draining.set()
        self._wake.set()

    def beat_now(self) -> None:
        """Say with the next request that the run is alive, because its process cannot."""
        self._beats = True
        self._beaten_at = self._loop.time() - HEARTBEAT_S

    def wake_soon(self) -> None:
        """Send what there is without waiting for the next tick; from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Send what comes, a moment after it came, and keep the run alive; until cancelled."""
        was_waiting = False
        while True:
            hurry = await self._tick()
            is_waiting = self.outbox.has_more() or self._can_end()
            if is_waiting and not was_waiting and not hurry:
                was_waiting = True
                continue
            was_waiting = False
            if not (is_waiting or hurry or self._is_beat_due()):
                continue
            if not await self._step() and hurry:
                await asyncio.sleep(IDLE_S)

    async def _tick(self) -> bool:
        """Wait for the next tick; True at once when there is more to send than one request takes, or somebody waits."""
        if self._draining.is_set() and (self.outbox.has_more() or self._can_end()):
            return True
        try:
            async with asyncio.timeout(TICK_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _is_beat_due(self) -> bool:
        return self._beats and self._loop.time() - self._beaten_at >= HEARTBEAT_S

    def _can_end(self) -> bool:
        return self.outbox.ending is not None and self._rules.may_end(self)

    async def _step(self) -> bool:
        """Whether something got through."""
        try:
            with self.outbox.mine() as is_mine:
                is_through = is_mine and await self._send_next()
            if self._is_beat_due():
                await self._heartbeat()
        except RunstoneError as error:
            await self._back_off(error)
            return True
        except OSError as error:  # what is under way is known, only not on the disk: it is sent in the next step
            await self._back_off(Unavailable(f"the spool {self.outbox.folder} cannot be written: {error.strerror}"))
            return True
        except Exception as error:  # an answer of any shape comes from somewhere else: it must not end the sending
            log.debug("run %s: an answer cannot be read", self._run_id, exc_info=error)
            await self._back_off(self._transport.not_runstone())
            return True
        self._failures = 0
        self.trouble = None
        self._rules.stepped(self)
        return is_through

    async def _send_next(self) -> bool:
        outbox = self.outbox
        if not outbox.has_taken:
            await self._fill()
        if outbox.records and self._rules.may_send(self):
            await self._send(outbox.records[:1] if self._narrowed else list(outbox.records))
            if outbox.records or outbox.is_full:
                self._wake.set()
        elif outbox.opening is not None and self._rules.may_open(self):
            await self._open()
        elif self._can_end():
            await self._end()
        else:
            return False
        return True

    async def _fill(self) -> None:
        """Let the outbox take what comes next, in a thread; to its end also when this is cancelled."""
        self._is_filling = True
        filling = asyncio.ensure_future(asyncio.to_thread(self.outbox.fill))
        try:
            await asyncio.shield(filling)
        finally:
            await asyncio.wait([filling])
            self._is_filling = False

    async def _back_off(self, error: RunstoneError) -> None:
        self.trouble = error
        self._failures += 1
        if not self.opened.done():
            self.opened.set_exception(error)
            self.opened.exception()  # whoever waits hears of it; it may be nobody
        if self._failures == WARN_AFTER and self.outbox.opening is None:  # before, whoever started the run says it
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

    async def _heartbeat(self) -> None:
        self._beaten_at = self._loop.time()
        data = await self._post("Heartbeat", {"runId": self._run_id})
        answer = data["heartbeat"]
        if not answer["__typename"].endswith("Payload"):
            log.debug("heartbeat of run %s: %s", self._run_id, from_user_error(answer))
        elif answer["stopRequest"] is not None:
            self._rules.told_why(answer["stopRequest"]["reason"])

    async def _post(self, operation: str, variables: dict[str, Any], answer_s: float = ANSWER_S) -> dict[str, Any]:
        return await self._transport.post(operations.document(operation), variables, operation, answer_s=answer_s)

    async def _open(self) -> None:
        """Start the run on the server, or its next attempt."""
        opening = self.outbox.opening
        assert opening is not None
        [answer] = (await self._post(opening.operation, {"input": opening.input})).values()
        run = payload(answer)["run"]
        self.outbox.opened()
        self._note_progress()
        if self.opened.done():
            self.opened = self._loop.create_future()
        self.opened.set_result(run)
        self._wake.set()

    async def _end(self) -> None:
        """End the run on the server, which checks the uploads first, for as long as it gets on with it."""
        ending = self.outbox.ending
        assert ending is not None
        variables = {"input": {**ending.input, "waitSeconds": VALIDATION_S}}
        answer = payload((await self._post("FinishRun", variables, VALIDATION_S + 10.0))["finishRun"])
        if self.sealed is None or answer["validating"] != self.sealed["validating"]:
            self._note_progress()
        self.sealed = answer
        if not answer["validating"]:
            self.outbox.ended()

    async def _send(self, records: Sequence[Record]) -> None:
        """One request, and what follows from each part of its answer. Raises what may pass."""
        try:
            data = await self._post("Flush", self._variables(records))
        except (Invalid, BadRequest, PayloadTooLarge) as error:
            if error.retryable or isinstance(error, NotRunstone):  # then the server has refused nothing
                raise
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
                if answer.get("stopRequested"):
                    self._rules.asked_to_stop(self)
                continue
            failure = from_user_error(answer)
            if failure.retryable or not self._resolve(of_kind, failure):
                later = failure
        if later is not None:
            raise later

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
            "writerId": self.outbox.writer_id,
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
        self.outbox.settle(records)
        self._narrowed = max(0, self._narrowed - len(records))
        self._note_progress()

    def _resolve(self, records: Sequence[Record], failure: RunstoneError) -> bool:
        """Do what lets the records go another way; False when there is none."""
        if isinstance(failure, SeqConflict) or (isinstance(failure, RunSealed) and records[0].kind == "metrics"):
            return self._renew(records, failure)
        if isinstance(failure, FINAL):
            return False
        self._refuse(records, failure)
        return True

    def _refuse(self, records: Sequence[Record], error: RunstoneError) -> None:
        """Drop the one item at fault; where it is not known yet, send less at a time until it is."""
        if len(records) > 1:
            self._narrowed = max(self._narrowed, len(records))
        elif parts := records[0].parts():
            self._narrowed += len(parts)
            self.outbox.replace(records[0], parts)
        else:
            self._drop(records[0], error)

    def _drop(self, record: Record, error: RunstoneError) -> None:
        reason = f"{record}: {error}"
        if not self.outbox.reasons:
            log.warning("run %s: the server refused %s", self._run_id, reason)
        self._narrowed = max(0, self._narrowed - 1)
        self.outbox.refuse(record, reason)
        self._note_progress()

    def _renew(self, records: Sequence[Record], error: RunstoneError) -> bool:
        """Go on as a new writer: the server lost blocks of the old one, or the attempt that it belongs to has ended.

        False when the server has other points in the place of these: then someone else sent from this spool.
        """
        first = min(record.seq for record in records if not isinstance(record, Items) and record.seq is not None)
        if self._renewals == RENEWALS_MAX or (isinstance(error, SeqConflict) and error.expected_seq > first):
            return False
        self._renewals = RENEWALS_MAX if isinstance(error, RunSealed) else self._renewals + 1
        log.warning("run %s goes on as a new writer: %s", self._run_id, error)
        self.outbox.renew()
        return True

    def _note_progress(self) -> None:
        self.progress_at = self._loop.time()


def _identity(item: dict[str, Any]) -> str:
    """What makes two items the same thing said twice."""
    if "key" in item:
        return str(item["key"])
    return repr((item["name"], item["digest"], item["context"], item["uri"]))
