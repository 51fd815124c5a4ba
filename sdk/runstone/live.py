"""A run while it is written: `AsyncRun` for event loops, `Run` for everyone else.

Logging never waits for the network and never raises what is the server's fault: values are checked, appended to the
spool of this process, and sent from there in the background. `finish` waits for all of it, within bounds, and says what
is stored and what is not.
"""

import asyncio
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from operator import countOf
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypeAlias, TypeVar
from weakref import WeakSet

from runstone import capture, datasets, files, models, notebook, sync, values
from runstone.batches import POINTS_PER_REQUEST
from runstone.config import Spooling
from runstone.delivery import Delivery
from runstone.errors import Incomplete, Invalid, ParamConflict, RunSealed, RunstoneError, StopRequested
from runstone.files import LocalFile
from runstone.outbox import Outbox
from runstone.spool import ROWS, Pack, RowForm, Spool, is_alive, row_form
from runstone.system import Monitor
from runstone.transport import Transport
from runstone.uploads import Upload

FinalStatus: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]
STATUSES: Final = ("FINISHED", "FAILED", "KILLED")

log = logging.getLogger("runstone")

START_S: Final = 5.0  # how long a run waits for the first answer of the server
PATIENCE_S: Final = 60.0  # how long finish goes on while nothing gets through
PATIENCE_UNSEEN_S: Final = 5.0  # the same where no server has answered since the run started
TERMINATED: Final = 143  # the exit code of a process that SIGTERM ended

FORKED: Final = "this process was forked from the one that started the run; here it can only log"

T = TypeVar("T")
AnyRun = TypeVar("AnyRun", bound="_Writing")
Append: TypeAlias = Callable[[Pack, int, int, Sequence[Any]], bool]


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended and what of it is stored; `missing` says what is not, and why.

    Of the `files` that the store has, `unchecked` were not compared with their digests yet; the run shows the outcome.
    `pending` is what the spool still has: `runstone sync` sends it, and ends the run.
    """

    run_id: str
    status: FinalStatus
    points: int
    params: int
    tags: int
    inputs: int
    files: int
    unchecked: int
    missing: tuple[str, ...]
    pending: tuple[str, ...] = ()


class _Writing:
    """What both kinds of run can do without waiting; from any thread."""

    def __init__(
        self, transport: Transport, run_id: str, spool: Spool, name: str | None, params: Sequence[dict[str, Any]]
    ) -> None:
        self.id = run_id
        self.url = f"{transport.config.url}/r/{run_id}"
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._spool = spool
        self._append: Append = spool.append_packed
        self._outbox = Outbox(spool.folder, spool)
        self._delivery = Delivery(transport, run_id, spool.folder.parent, self._outbox)
        self._syncing = asyncio.create_task(spool.keep_synced())
        self._params = {param["key"]: param for param in params}
        self._forms: dict[tuple[str, ...], RowForm] = {}  # of keys that are checked
        self._next_step = 0
        self._closed = False
        self._is_stopping = False  # whether the program knows that it was asked to
        self._forked = False
        self._outcome: Finished | None = None
        self._monitor: Monitor | None = None
        self._started_ns = time.monotonic_ns()
        _open.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.url}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the name, as a link to the run."""
        return notebook.link(self.name, self.url)

    @property
    def name(self) -> str:
        """What it is called; the beginning of its id while no server has given it a name."""
        started = self._delivery.started
        return str(started["name"]) if started else self._name or self.id[:8]

    @property
    def attempt(self) -> int | None:
        """Which start of the run this is, counted from 1; None while no server has counted it."""
        started = self._delivery.started
        return started["attempt"] if started else None

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked for this run to stop, as far as this process has heard; costs no request.

        Once it was True, the run ends as KILLED, unless `finish` is told otherwise. In a forked child it stays False.
        """
        if not self._delivery.is_to_stop:
            return False
        self._is_stopping = True
        return True

    def stop_if_requested(self) -> None:
        """Raise `StopRequested` when somebody asked for this run to stop; it ends a `with run:` block as KILLED."""
        if self.stop_requested:
            reason = self._delivery.stop_reason
            error = StopRequested(f"run {self.id} was asked to stop{f': {reason}' if reason else ''}")
            error.reason = reason
            raise error

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One point for each metric, at `step`; without a step, at the one after the last.

        Values are anything that is one number, also NaN and infinities; nested mappings are flattened as params are:
        {"val": {"loss": 1}} is val.loss. Raises `TypeError` or `Invalid`, which name
        the key, and `RunSealed` after `finish`.
        """
        if type(metrics) is not dict:
            metrics = values.mapping(metrics, "metrics")
        if not metrics:
            return
        if countOf(map(type, metrics.values()), float) < len(metrics):
            metrics = values.numbers(metrics)
        keys = tuple(metrics)
        pack, length, count, names = self._forms.get(keys) or self._form(keys)
        if step is None:
            step = self._next_step
        if type(step) is not int or not 0 <= step <= values.STEP_MAX:
            step = values.step(step)
        if self._closed:
            raise self._sealed()
        self._next_step = step + 1
        self._append(pack, length, count, [ROWS, count, step, time_ns() // 1_000_000, *metrics.values(), names])

    def log_aside(self, metrics: Mapping[str, float], step: int) -> None:
        """Points of another thread, such as a monitor's: the step of a `log` without one stays as it is."""
        row = [values.number(key, value) for key, value in metrics.items()]
        keys = tuple(metrics)
        pack, length, count, names = self._forms.get(keys) or self._form(keys)
        if self._closed:
            raise self._sealed()
        if row:
            self._append(pack, length, count, [ROWS, count, values.step(step), time_ns() // 1_000_000, *row, names])

    def _watch_system(self, every_s: float) -> None:
        """Measure the machine until the run ends."""
        self._monitor = Monitor(self, every_s)

    def _form(self, keys: tuple[str, ...]) -> RowForm:
        """How points of these keys are packed. Raises `Invalid`."""
        if len(keys) > POINTS_PER_REQUEST:
            raise Invalid(f"{len(keys)} metrics at once", limit=f"{POINTS_PER_REQUEST} metrics per call")
        for key in keys:
            values.name(key, "metric key")
        form = self._forms[keys] = row_form(keys)
        return form

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Settings of the run, written once. Nested mappings are flattened: {"a": {"b": 1}} is a.b = 1.

        The same value again changes nothing. Raises `ParamConflict` for another value, `TypeError` or `Invalid`,
        which name the key.
        """
        self._add("params", self._fresh(params))

    def _fresh(self, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        fresh = []
        for param in checked_params(params):
            key = param["key"]
            if key not in self._params:
                self._params[key] = param
                fresh.append(param)
            elif not _is_same(self._params[key], param):
                raise _param_conflict(self._params[key], param)
        return fresh

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Notes on the run, changeable at any time; the value None removes a tag."""
        self._add("tags", checked_tags(tags))

    def log_input(
        self,
        name: str,
        data: Any = None,
        *,
        path: str | os.PathLike[str] | None = None,
        digest: str | None = None,
        context: str | None = None,
        uri: str | None = None,
    ) -> None:
        """A dataset that the run reads, by the digest of its content.

        `data` is a data frame or series of pandas or Polars, an array, the path of a file or a folder, or a URI, which
        is known by its text only; or give the digest yourself. docs/sdk.md says what each digest is. `context` says
        what for, such as "training"; `uri` where it is. Reads all of it, before it returns.
        Raises `TypeError`, `Invalid`, `OSError`.
        """
        given = [one for one in (data, path, digest) if one is not None]
        if len(given) != 1:
            raise Invalid(f"the dataset {name!r} needs either data, a path or a digest", path="digest")
        if digest is None:
            found = datasets.described(given[0])
            digest, uri = found.digest, uri or found.uri
        self._add("inputs", [values.dataset(name, digest, context, uri)])

    def log_artifact(self, path: str | os.PathLike[str], name: str | None = None) -> Upload:
        """Upload a file as `name`, or under its own name; returns at once.

        Up to 64 MiB are copied, so that the file may change or go at once; a larger one must stay as it is until the
        upload has ended (`.wait()`), or else the upload fails. Artifacts are never overwritten.
        """
        return self._upload(files.one(path, name))

    def log_artifacts(self, folder: str | os.PathLike[str], prefix: str | None = None) -> Upload:
        """Upload all files of a folder, with their paths in it, under `prefix`; returns at once.

        The files may change or go at once when they have at most 64 MiB in all, as for `log_artifact`.
        """
        return self._upload(files.folder(folder, prefix))

    def log_model(self, model: Any, name: str = "model") -> Upload:
        """Upload a model as the folder `name`; returns at once.

        A scikit-learn estimator is saved with joblib as it is now; the path of a folder is uploaded as it is.
        """
        values.path(name)
        if models.is_path(model):
            return self._upload(files.folder(model, name))
        self._require_open()
        upload_id, home = self._new_home()
        home.mkdir(mode=0o700, parents=True)
        models.save(model, home)
        return self._start_upload(upload_id, files.folder(home, name))

    def _upload(self, found: list[LocalFile]) -> Upload:
        self._require_open()
        upload_id, home = self._new_home()
        return self._start_upload(upload_id, files.kept(found, home))

    def _new_home(self) -> tuple[str, Path]:
        """The id of an upload, and a folder for its files that does not exist yet."""
        if self._forked:
            raise RunstoneError(f"run {self.id}: {FORKED}")
        upload_id = values.new_id()
        return upload_id, self._spool.copies / upload_id

    def _start_upload(self, upload_id: str, found: list[LocalFile], *, can_wait: bool = False) -> Upload:
        upload = Upload([file.path for file in found], self._loop)
        if not found:
            upload.settle(None)
            return upload
        self._delivery.expect(upload_id, upload)
        wanted = [file.to_json(self._spool.folder) for file in found]
        self._spool.append("upload", {"id": upload_id, "files": wanted, "can_wait": can_wait})
        if not can_wait:
            self._delivery.wake_soon()
        return upload

    def _keep_source(self, found: Mapping[str, bytes]) -> None:
        """Upload what belongs to the source, together with the next files or after a while."""
        upload_id, home = self._new_home()
        try:
            home.mkdir(mode=0o700, parents=True)
            for name, content in found.items():
                (home / name).write_bytes(content)
        except OSError as error:
            log.warning("run %s has no %s: %s", self.id, " and no ".join(found), error)
        else:
            self._start_upload(upload_id, files.folder(home, "source"), can_wait=True)

    def _add(self, kind: Literal["params", "tags", "inputs"], items: list[dict[str, Any]]) -> None:
        self._require_open()
        if items:
            if self._forked:
                self._own_spool()
            self._spool.append(kind, {"items": items})

    def _require_open(self) -> None:
        if self._closed:
            raise self._sealed()

    def _sealed(self) -> RunSealed:
        return RunSealed(f"run {self.id} has ended here", hint=f'resume it: start_run(run_id="{self.id}")')

    def _after_fork(self) -> None:
        """In the child: log into a spool of its own, which the parent sends."""
        self._forked = True
        self._spool.close()
        self._append = self._append_first

    def _append_first(self, pack: Pack, length: int, points: int, content: Sequence[Any]) -> bool:
        self._own_spool()
        return self._append(pack, length, points, content)

    def _own_spool(self) -> None:
        if self._append == self._append_first:
            parent = self._outbox.name
            self._spool = Spool(self._spool.folder.parent / values.new_id(), self._spool.settings, parent)
            self._append = self._spool.append_packed

    async def _open(self) -> None:
        """Begin to send; say when no server is there. Raises what the server refuses."""
        await self._delivery.start()
        try:
            async with asyncio.timeout(START_S):
                await self._delivery.opened()
        except (RunstoneError, TimeoutError) as error:
            if isinstance(error, RunstoneError) and not error.retryable:
                self._closed = True
                await self._delivery.stop()
                self._spool.close()
                await asyncio.to_thread(self._outbox.remove)
                raise
            reason = (
                error.message if isinstance(error, RunstoneError) else f"the server did not answer in {START_S:g} s"
            )
            log.warning(
                "%s; run %s goes on without it, is kept in %s, and sent when it is there, or by `runstone sync`",
                reason,
                self.id,
                self._spool.folder,
            )

    async def _finish(self, status: FinalStatus | None, patience_s: float | None) -> Finished:
        """Send what is left, end the run, and say what is stored.

        Raises `Incomplete` when something is not and will not be by itself.
        """
        if self._outcome is not None and status in (None, self._outcome.status):
            return self._outcome
        if status is None:
            status = "KILLED" if self._is_stopping else "FINISHED"
        if status not in STATUSES:
            raise Invalid(f"a run ends as {', '.join(STATUSES)}, not {status!r}", path="status")
        self._require_open()
        self._closed = True
        if self._delivery.is_started:
            await self._delivery.adopt()  # what forked children logged until now belongs to the run
        ending = {"runId": self.id, "status": status, "finishedAt": values.now()}
        self._spool.append("finish", {"input": ending, "time_ms": time_ns() // 1_000_000})
        await self._send_rest(lambda: self._outbox.is_ended, patience_s)
        self._outcome = await asyncio.to_thread(self._finished, status)
        if self._outcome.missing:
            raise _incomplete(self._outcome, self._outbox)
        if self._outcome.pending:
            log.warning("%s", _not_yet(self._outcome, self._spool.folder))
        return self._outcome

    async def _send_rest(self, is_done: Callable[[], bool], patience_s: float | None) -> None:
        """Send until it is done, or nothing got through for `patience_s`; then let go of the spool."""
        if patience_s is None:
            patience_s = PATIENCE_UNSEEN_S if self._delivery.started is None else PATIENCE_S
        try:
            if self._delivery.is_started:
                await self._delivery.until(is_done, patience_s)
        except asyncio.CancelledError:
            log.warning(
                "run %s was interrupted while it sent the rest, which is kept in %s: run `runstone sync`",
                self.id,
                self._spool.folder,
            )
            raise
        finally:
            if self._monitor is not None:
                self._monitor.stop()
            self._syncing.cancel()
            await self._delivery.stop()
            self._spool.close()

    def _finished(self, status: FinalStatus) -> Finished:
        delivery, sealed = self._delivery, self._delivery.sealed
        stored: Counter[str] = Counter()
        for outbox in delivery.outboxes:
            stored.update(outbox.stored)
        failed = [
            f"{artifact['path']}: {artifact['failure']['reason']}: {artifact['failure']['message']}"
            for artifact in (sealed["failed"] if sealed else ())
            if artifact["failure"] and artifact["path"] not in delivery.uploader.failures
        ]
        unchecked = sealed["validating"] if sealed else 0
        if unchecked:
            log.warning("run %s: the server still checks %d files; the run will show the outcome", self.id, unchecked)
        missing = [*failed, *(f"{path}: {error}" for path, error in delivery.uploader.failures.items())]
        for outbox in delivery.outboxes:
            missing += outbox.reasons
            points, others = outbox.dropped
            missing += [f"{points} points: the spool was full"] if points else []
            missing += [f"{others} params, tags or files: the spool was full"] if others else []
        pending = self._pending() if sealed is None else []
        if not pending:
            self._remove_spools()
        elif delivery.is_hopeless:
            missing, pending = [*missing, *pending], []
        return Finished(
            run_id=self.id,
            status=status,
            points=stored["metrics"],
            params=stored["params"],
            tags=stored["tags"],
            inputs=stored["inputs"],
            files=delivery.uploader.stored - len(failed),
            unchecked=unchecked,
            missing=tuple(missing),
            pending=tuple(pending),
        )

    def _pending(self) -> list[str]:
        """What is not sent, and why."""
        reason = self._delivery.trouble or "not sent in time"
        left = [f"{count} {noun}: {reason}" for noun, count in self._delivery.remaining().items()]
        return left or [f"the end of the run: {reason}"]

    def _remove_spools(self) -> None:
        """Delete what is stored; a forked child that still lives keeps its spool."""
        for outbox in self._delivery.outboxes:
            if not is_alive(outbox.folder):
                outbox.remove()

    async def _leave(self, error: BaseException | None, patience_s: float | None = None) -> None:
        """End the run as the block that wrote it ended; what goes wrong here never hides what went wrong there."""
        if self._closed:
            return
        if isinstance(error, SystemExit) and error.code == TERMINATED:
            self._add("tags", [values.tag("runstone.stopped_by", "SIGTERM")])
        try:
            await self._finish(None if error is None else status_after(error), patience_s)
        except RunstoneError as problem:
            if error is None:
                raise
            log.warning("run %s: %s", self.id, problem)

    async def _let_go(self, patience_s: float | None) -> None:
        """Send what is left and leave the run open."""
        if self._closed:
            return
        self._closed = True
        delivery = self._delivery
        if delivery.is_started:
            await delivery.adopt()
        await self._send_rest(lambda: delivery.started is not None and delivery.is_drained, patience_s)
        if delivery.started is not None and delivery.is_drained:
            await asyncio.to_thread(self._remove_spools)
        else:
            log.warning("run %s is not stored as a whole yet; the rest is kept in %s", self.id, self._spool.folder)


class AsyncRun(_Writing):
    """A run that is being written, on an event loop. Only `finish` and `detach` wait."""

    async def finish(self, status: FinalStatus | None = None, *, patience_s: float | None = None) -> Finished:
        """Send what is left, wait until uploads are checked, and end the run: from now on it is a fixed record.

        Without a status it ends as FINISHED, or as KILLED when it stopped because somebody asked for it.
        Goes on for as long as something gets through, and for `patience_s` more: a minute unless given, 5 seconds
        where no server was seen. What is not sent by then stays in the spool and is in `pending`; `runstone sync` sends
        it and ends the run. Raises `Incomplete`, with the counts in its `finished`, when something is not stored and
        will not be by itself.
        """
        return await self._finish(status, patience_s)

    async def detach(self, *, patience_s: float | None = None) -> None:
        """Send what is left, as long as `finish` would, and leave the run open: for one of several that write it."""
        await self._let_go(patience_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)


class Run(_Writing):
    """A run that is being written. Only `finish` and `detach` wait."""

    def finish(self, status: FinalStatus | None = None, *, patience_s: float | None = None) -> Finished:
        """Send what is left, wait until uploads are checked, and end the run: from now on it is a fixed record.

        Without a status it ends as FINISHED, or as KILLED when it stopped because somebody asked for it.
        Goes on for as long as something gets through, and for `patience_s` more: a minute unless given, 5 seconds
        where no server was seen. What is not sent by then stays in the spool and is in `pending`; `runstone sync` sends
        it and ends the run. Raises `Incomplete`, with the counts in its `finished`, when something is not stored and
        will not be by itself.
        """
        return self._wait(self._finish(status, patience_s))

    def detach(self, *, patience_s: float | None = None) -> None:
        """Send what is left, as long as `finish` would, and leave the run open: for one of several that write it."""
        self._wait(self._let_go(patience_s))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the background loop do it."""
        from runstone import background

        if self._forked:
            work.close()
            raise RunstoneError(f"run {self.id}: {FORKED}")
        return background.wait_on(self._loop, work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closed and not self._forked:
            self._wait(self._leave(error))


_open: WeakSet[_Writing] = WeakSet()


def _log_apart() -> None:
    for run in _open:
        run._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_log_apart)


class Starting(Generic[AnyRun]):
    """A run about to start: `await` it, or enter it with `async with`."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, AnyRun]]) -> None:
        self._start = start
        self._run: AnyRun | None = None

    def __await__(self) -> Generator[Any, None, AnyRun]:
        return self._start().__await__()

    async def __aenter__(self) -> AnyRun:
        self._run = await self._start()
        return self._run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            await self._run._leave(error)


async def start(
    kind: type[AnyRun],
    transport: Transport,
    *,
    project: str,
    experiment: str,
    name: str | None,
    params: Mapping[str, Any] | None,
    tags: Mapping[str, Any] | None,
    run_id: str | None,
    parent: str | _Writing | None,
    group: str | None,
) -> AnyRun:
    """A new run, or the next attempt of the run `run_id`; with the source and the environment of this process.

    It is in the spool first, and goes on without a server. Raises what a server that is there refuses.
    """
    recorded = {
        "params": checked_params(params or {}),
        "tags": checked_tags(tags or {}),
    }
    captured = await capture.capture()
    about = {"source": captured.source, "environment": captured.environment}
    wanted = {
        "project": values.name(project, "project"),
        "experiment": values.name(experiment, "experiment"),
        "name": None if name is None else values.name(name, "name"),
        "parentId": parent.id if isinstance(parent, _Writing) else parent,
        "group": None if group is None else values.name(group, "group"),
        "startedAt": values.now(),
        **recorded,
        **about,
    }
    id_ = run_id or values.new_id()
    spooling = Spooling.read()
    await asyncio.to_thread(sync.offer, spooling.folder, id_)
    spool = await asyncio.to_thread(Spool, spooling.folder / id_ / values.new_id(), spooling)
    for _ in range(2):  # the server needs it before anything else; should one be damaged on the disk, there is another
        if run_id is None:
            spool.append("create", {"id": id_, **wanted})
        else:
            spool.append("resume", {"runId": run_id, "attemptId": spool.writer_id, **about})
    run = kind(transport, id_, spool, name, [] if run_id else recorded["params"])
    if run_id is not None:
        run._add("params", run._fresh(params or {}))
        run._add("tags", recorded["tags"])
    if not spooling.offline:
        await run._open()
    if captured.files:
        run._keep_source(captured.files)
    return run


def checked_params(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Params as they are sent, each key once. Raises `TypeError`, `Invalid`, `ParamConflict`."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in values.flatten(params):
        param = values.param(key, value)
        if not _is_same(found.setdefault(key, param), param):
            raise _param_conflict(found[key], param)
    return list(found.values())


def checked_tags(tags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tags as they are sent. Raises `TypeError`, `Invalid`."""
    return [values.tag(key, value) for key, value in values.mapping(tags, "tags").items()]


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _param_conflict(stored: dict[str, Any], given: dict[str, Any]) -> ParamConflict:
    error = ParamConflict(
        f"param {given['key']!r} is {stored['value']!r} and cannot become {given['value']!r}",
        path=given["key"],
        hint="params are written once; log the new value under another key or in a new run",
    )
    error.key, error.stored, error.given = given["key"], stored["value"], given["value"]
    return error


def _not_yet(finished: Finished, folder: Path) -> str:
    shown = "; ".join(finished.pending[:5])
    return f"run {finished.run_id} is not stored as a whole yet: {shown}. It is kept in {folder}: run `runstone sync`"


def _incomplete(finished: Finished, outbox: Outbox) -> Incomplete:
    """The failure of a run; its spool is still there when the server did not refuse all that is missing."""
    shown = "; ".join(finished.missing[:5])
    more = len(finished.missing) - 5
    error = Incomplete(
        f"run {finished.run_id} has {finished.points} points, {finished.params} params and {finished.files} files"
        f" stored, but not: {shown}{f'; and {more} more' if more > 0 else ''}"
    )
    if outbox.is_on_disk:
        error.hint = (
            f"what was not sent is kept in {outbox.folder}; `runstone sync` sends it when nothing keeps it back"
        )
    error.finished = finished
    return error


def status_after(error: BaseException | None) -> FinalStatus:
    """How a run ends whose block was left with `error`."""
    match error:
        case None:
            return "FINISHED"
        case SystemExit(code=None | 0):
            return "FINISHED"
        case KeyboardInterrupt() | asyncio.CancelledError() | SystemExit(code=143) | StopRequested():
            return "KILLED"
    return "FAILED"
