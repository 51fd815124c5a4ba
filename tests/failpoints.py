"""Failpoints: named moments at which a test kills, stops, delays or fails a process of ours.

    python -P -m tests.failpoints FOLDER api|workers        an API or a worker that has failpoints

The code that people run knows nothing of them: this program wraps the functions on both sides of each moment and then
runs the ordinary API or worker. A failpoint does nothing until FOLDER holds a file with its name that says what to do:
`kill`, `stop` (SIGSTOP), `fail` (raise), `drop` (leave out what comes next) or `delay` and seconds. Who meets it first
takes the file away, so each order is carried out once.

What happens inside a statement, between its work and its commit, is not a moment of our processes: see tests.gate.
"""

import asyncio
import functools
import logging
import os
import runpy
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from asyncpg.transaction import Transaction

log = logging.getLogger("failpoints")


class Failed(ConnectionError):
    """What a failpoint raises when it is told to fail."""


@dataclass(frozen=True, slots=True)
class Failpoints:
    """The failpoints of all processes that were started with this folder."""

    folder: Path

    def arm(self, name: str, order: str = "kill") -> None:
        """Let whoever comes to the moment next do this."""
        assert name in NAMES, name
        new = self.folder / f".{name}"
        new.write_text(order)
        new.rename(self.folder / name)

    def disarm(self, name: str) -> bool:
        """Take the order back; False when it was carried out."""
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def is_reached(self, name: str) -> bool:
        """Whether the order was taken."""
        return not (self.folder / name).exists()

    async def reached(self, name: str, timeout_s: float = 30.0) -> None:
        """Wait until the order is taken."""
        async with asyncio.timeout(timeout_s):
            while not self.is_reached(name):
                await asyncio.sleep(0.01)

    def take(self, name: str) -> str | None:
        """The order for this moment, if there is one; it is gone afterwards. Kills and stops are carried out here."""
        path = self.folder / name
        try:
            order = path.read_text()
            path.unlink()
        except FileNotFoundError:
            return None
        log.warning("%s is reached: %s", name, order)
        if order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif order == "fail":
            raise Failed(name)
        return order

    async def reach(self, name: str) -> bool:
        """Do what was ordered for this moment; False when what comes next is to be left out."""
        order = self.take(name)
        if order is not None and order.startswith("delay "):
            await asyncio.sleep(float(order.removeprefix("delay ")))
        return order != "drop"


@dataclass(frozen=True, slots=True)
class Moment:
    """A failpoint on one side of a coroutine function, `owner.function`."""

    name: str
    side: Literal["before", "after"]
    owner: Callable[[], Any]  # imported late: a process has only its own code
    function: str

    def install(self, points: Failpoints) -> None:
        """Wrap the function."""
        owner = self.owner()
        original = getattr(owner, self.function)

        @functools.wraps(original)
        async def wrapped(*given: Any, **named: Any) -> Any:
            if self.side == "before" and not await points.reach(self.name):
                return None
            result = await original(*given, **named)
            if self.side == "after":
                await points.reach(self.name)
            return result

        setattr(owner, self.function, wrapped)


def _committer() -> Any:
    from db import committer

    return committer


def _queue() -> Any:
    from workers import queue

    return queue


def _verifying() -> Any:
    from workers import artifacts

    return artifacts


def _uploads() -> Any:
    from db import uploads

    return uploads


def _store() -> Any:
    from storage import store

    return store


def _exports() -> Any:
    from db import exports

    return exports


def _writing() -> Any:
    from storage.store import Writing

    return Writing


def _chunks() -> Any:
    from db import chunks

    return chunks


def _sender() -> Any:
    from runstone.sender import Sender

    return Sender


MOMENTS: dict[str, Sequence[Moment]] = {
    "api": (
        Moment("api.after_commit_before_ack", "after", _committer, "_append"),
        Moment("api.after_commit_before_enqueue", "before", _queue, "wake"),
    ),
    "workers": (
        Moment("worker.after_claim", "before", _verifying, "verified"),
        Moment("worker.during_hash", "after", _store, "_read"),
        Moment("worker.after_copy_before_db", "before", _uploads, "finalize"),
        Moment("worker.after_commit_before_job_done", "after", _uploads, "finalize"),
        Moment("export.after_file", "after", _writing, "finish"),
        Moment("export.after_files_before_db", "before", _exports, "finish"),
        Moment("compaction.after_commit", "after", _chunks, "compact"),
    ),
    "sdk": (Moment("sdk.before_send", "before", _sender, "_post"),),
}
# Between the last statement of a transaction and its commit: of creating uploads and the like, and of compacting.
COMMITS = {"api": "api.in_txn_before_commit", "workers": "compaction.in_txn_before_commit"}
SDK_APPENDED = "sdk.after_log_append"
SDK_SENT = "sdk.after_send_before_ack"
SDK_ACKNOWLEDGED = "sdk.after_ack_before_trim"
NAMES = frozenset(
    {moment.name for moments in MOMENTS.values() for moment in moments}
    | set(COMMITS.values())
    | {SDK_APPENDED, SDK_SENT, SDK_ACKNOWLEDGED}
)


def install(program: str, points: Failpoints) -> None:
    """Give this process the failpoints of `api`, `workers` or `sdk`."""
    for moment in MOMENTS[program]:
        moment.install(points)
    if program in COMMITS:
        _watch_commits(points, COMMITS[program])
    if program == "sdk":
        _watch_appends(points)
        _watch_answers(points)


def _watch_commits(points: Failpoints, name: str) -> None:
    leave = Transaction.__aexit__

    async def leave_watched(self: Transaction, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            await points.reach(name)
        await leave(self, kind, error, trace)

    setattr(Transaction, "__aexit__", leave_watched)  # noqa: B010 - a method cannot be assigned


def _watch_appends(points: Failpoints) -> None:
    """The moment when a row is in the spool and `log` has not returned."""
    from runstone.spool import Spool

    append = Spool.append_packed

    def append_watched(self: Spool, pack: Any, length: int, count: int, content: Any) -> bool:
        is_taken = append(self, pack, length, count, content)
        if count:
            points.take(SDK_APPENDED)
        return is_taken

    setattr(Spool, "append_packed", append_watched)  # noqa: B010  # a method is replaced


def _watch_answers(points: Failpoints) -> None:
    """The two moments around an acknowledgement that the SDK waits for."""
    import httpx

    from runstone.sender import Sender

    post, settle = httpx.AsyncClient.post, Sender._settle

    async def trace(event: str, _: Any) -> None:
        if event == "http11.send_request_body.complete":
            await points.reach(SDK_SENT)

    async def post_traced(self: httpx.AsyncClient, url: str, **named: Any) -> httpx.Response:
        return await post(self, url, extensions={"trace": trace}, **named)

    def settle_watched(self: Sender, records: Any) -> None:
        points.take(SDK_ACKNOWLEDGED)
        settle(self, records)

    setattr(httpx.AsyncClient, "post", post_traced)  # noqa: B010  # a method is replaced
    setattr(Sender, "_settle", settle_watched)  # noqa: B010  # a method is replaced


def main(folder: str, program: str) -> None:
    """Run the program with failpoints."""
    install(program, Failpoints(Path(folder)))
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
