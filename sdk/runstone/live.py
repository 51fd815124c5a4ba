"""A run while it is written: `AsyncRun` for event loops, `Run` for everyone else.

Logging never waits for the network and never raises what is the server's fault: values are checked, kept, and sent
in the background. `finish` waits for all of it, within bounds, and says what is stored and what is not.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypeAlias, TypeVar
from weakref import WeakSet

from runstone import capture, datasets, files, models, notebook, values
from runstone.buffer import POINTS_PER_REQUEST, Buffer, Items
from runstone.errors import Incomplete, Invalid, ParamConflict, RunSealed, RunstoneError
from runstone.files import LocalFile
from runstone.sender import Sender
from runstone.system import Monitor
from runstone.transport import Transport
from runstone.uploads import Job, Upload, Uploader

FinalStatus: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]
STATUSES: Final = ("FINISHED", "FAILED", "KILLED")

log = logging.getLogger("runstone")

START_S: Final = 30.0  # how long a run waits to start while no server answers
PATIENCE_S: Final = 60.0  # how long finish goes on while nothing gets through
CHECK_S: Final = 0.5
VALIDATION_S: Final = 25.0  # how long one request waits for the server to check uploads


FORKED: Final = "this process was forked from the one that writes the run"

T = TypeVar("T")
AnyRun = TypeVar("AnyRun", bound="_Writing")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended and what of it is stored; `missing` says what is not, and why.

    Of the `files` that the store has, `unchecked` were not compared with their digests yet; the run shows the outcome.
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


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the server found wrong with uploads, and how many it has not looked at yet."""

    failed: list[str]
    left: int


class _Writing:
    """What both kinds of run can do without waiting; from any thread."""

    def __init__(self, transport: Transport, started: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
        self.id: str = started["id"]
        self.name: str = started["name"]
        self.attempt: int = started["attempt"]
        self.url = f"{transport.config.url}/r/{self.id}"
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._sender = Sender(transport, self.id)
        self._uploader = Uploader(transport, self.id, self._note_progress)
        self._tasks = [asyncio.create_task(self._sender.run()), asyncio.create_task(self._uploader.run())]
        self._buffer = self._sender.buffer
        self._params = {param["key"]: param for param in recorded["params"]}
        self._sender.stored["params"] = len(recorded["params"])
        self._sender.stored["tags"] = len(recorded["tags"])
        self._known_keys: set[tuple[str, ...]] = set()
        self._next_step = 0
        self._closed = False
        self._forked = False
        self._outcome: Finished | None = None
        self._monitor: Monitor | None = None
        self._started_ns = time.monotonic_ns()
        _open.add(self)
        self._warned_of_drops = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.url}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the name, as a link to the run."""
        return notebook.link(self.name, self.url)

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One point for each metric, at `step`; without a step, at the one after the last.

        Values are anything that is one number, also NaN and infinities; nested mappings are flattened as params are:
        {"val": {"loss": 1}} is val.loss. Raises `TypeError` or `Invalid`, which name
        the key, and `RunSealed` after `finish`.
        """
        if not metrics:
            return
        try:
            row = [value if type(value) is float else values.number(key, value) for key, value in metrics.items()]
        except TypeError:
            if not any(isinstance(value, Mapping) for value in metrics.values()):
                raise
            metrics = values.flat_metrics(metrics)
            row = list(metrics.values())
        keys = tuple(metrics)
        if keys not in self._known_keys:
            self._check_keys(keys)
        if step is None:
            step = self._next_step
        elif type(step) is not int or not 0 <= step <= values.STEP_MAX:
            step = values.step(step)
        if self._closed:
            raise self._sealed()
        self._next_step = step + 1
        if not self._buffer.add_row(keys, step, time.time_ns() // 1_000_000, row):
            self._warn_of_drops()

    def log_aside(self, metrics: Mapping[str, float], step: int) -> None:
        """Points of another thread, such as a monitor's: the step of a `log` without one stays as it is."""
        row = [values.number(key, value) for key, value in metrics.items()]
        keys = tuple(metrics)
        if keys not in self._known_keys:
            self._check_keys(keys)
        if self._closed:
            raise self._sealed()
        if row and not self._buffer.add_row(keys, values.step(step), time.time_ns() // 1_000_000, row):
            self._warn_of_drops()

    def _watch_system(self, every_s: float) -> None:
        """Measure the machine until the run ends."""
        self._monitor = Monitor(self, every_s)

    def _check_keys(self, keys: tuple[str, ...]) -> None:
        if len(keys) > POINTS_PER_REQUEST:
            raise Invalid(f"{len(keys)} metrics at once", limit=f"{POINTS_PER_REQUEST} metrics per call")
        for key in keys:
            values.name(key, "metric key")
        self._known_keys.add(keys)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Settings of the run, written once. Nested mappings are flattened: {"a": {"b": 1}} is a.b = 1.

        The same value again changes nothing. Raises `ParamConflict` for another value, `TypeError` or `Invalid`,
        which name the key.
        """
        self._add(Items("params", self._fresh(params)))

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
        self._add(Items("tags", [values.tag(key, value) for key, value in tags.items()]))

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
        self._add(Items("inputs", [values.dataset(name, digest, context, uri)]))

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
        if self._closed:
            raise self._sealed()
        home = files.new_folder()
        models.save(model, home)
        return self._start_upload(files.folder(home, name), home)

    def _upload(self, found: list[LocalFile]) -> Upload:
        if self._closed:
            raise self._sealed()
        return self._start_upload(*files.kept(found))

    def _start_upload(self, found: list[LocalFile], home: Path | None, can_wait: bool = False) -> Upload:
        if self._forked:
            raise RunstoneError(f"run {self.id}: {FORKED}")
        upload = Upload([file.path for file in found], self._loop)
        job = Job(found, upload, home, can_wait)
        self._loop.call_soon_threadsafe(self._uploader.add, job)
        return upload

    def _keep_source(self, found: Mapping[str, bytes]) -> None:
        """Upload what belongs to the source, together with the next files or after a while."""
        home = files.new_folder()
        for name, content in found.items():
            (home / name).write_bytes(content)
        self._start_upload(files.folder(home, "source"), home, can_wait=True)

    def _add(self, record: Items) -> None:
        if self._closed:
            raise self._sealed()
        if record.items and not self._buffer.add(record):
            self._warn_of_drops()

    def _sealed(self) -> RunSealed:
        return RunSealed(f"run {self.id} has ended here", hint=f'resume it: start_run(run_id="{self.id}")')

    def _warn_of_drops(self) -> None:
        if not self._warned_of_drops:
            self._warned_of_drops = True
            reason = FORKED if self._forked else "the buffer is full while the server does not answer"
            log.warning("run %s: %s; what is logged now is dropped", self.id, reason)

    def _after_fork(self) -> None:
        """In the child there is no loop that would send anything."""
        self._forked = True
        self._buffer = Buffer(lambda: None, size_bytes_max=0)

    def _note_progress(self) -> None:
        self._sender.progress_at = self._loop.time()

    async def _finish(self, status: FinalStatus, patience_s: float) -> Finished:
        """Send what is left, end the run, and say what is stored. Raises `Incomplete` when something is not."""
        if status not in STATUSES:
            raise Invalid(f"a run ends as {', '.join(STATUSES)}, not {status!r}", path="status")
        if self._outcome is not None and self._outcome.status == status:
            return self._outcome
        if self._closed:
            raise self._sealed()
        self._closed = True
        problem: RunstoneError | None = None
        checked = _Checked([], 0)
        try:
            await self._drain(patience_s)
            if self._buffer.dropped["metrics"]:
                self._keep_drop_count()
                await self._drain(patience_s)
            if len(self._buffer):
                problem = self._sender.trouble
            else:
                checked = await self._seal(status, patience_s)
        except RunstoneError as error:
            problem = error
        finally:
            await self._stop()
        self._outcome = self._finished(status, checked, problem)
        if self._outcome.missing:
            raise _incomplete(self._outcome)
        return self._outcome

    def _keep_drop_count(self) -> None:
        """Let the record itself say that it is not whole."""
        self._buffer.add(Items("tags", [values.tag("runstone.dropped_points", self._buffer.dropped["metrics"])]))

    async def _drain(self, patience_s: float) -> None:
        """Until all is sent, or nothing got through for `patience_s`."""
        self._note_progress()
        drained = [asyncio.create_task(self._sender.drain()), asyncio.create_task(self._uploader.drain())]
        try:
            while not all(task.done() for task in drained):
                await asyncio.wait(drained, timeout=CHECK_S)
                idle_s = self._loop.time() - self._sender.progress_at
                if idle_s > patience_s or self._sender.is_hopeless or any(task.done() for task in self._tasks):
                    break
        finally:
            for task in drained:
                task.cancel()
            await asyncio.gather(*drained, return_exceptions=True)

    async def _seal(self, status: FinalStatus, patience_s: float) -> "_Checked":
        """End the run on the server, which checks the uploads first, for as long as it gets on with it."""
        wanted = {"runId": self.id, "status": status, "finishedAt": values.now(), "waitSeconds": VALIDATION_S}
        left, since = -1, self._loop.time()
        while True:
            answer = await self._transport.mutate(
                "FinishRun", {"input": wanted}, patience_s=patience_s, answer_s=VALIDATION_S + 10.0
            )
            if answer["validating"] != left:
                left, since = answer["validating"], self._loop.time()
            if left == 0 or self._loop.time() - since > patience_s:
                break
        failed = [
            f"{artifact['path']}: {artifact['failure']['reason']}: {artifact['failure']['message']}"
            for artifact in answer["failed"]
            if artifact["failure"] and artifact["path"] not in self._uploader.failures
        ]
        if left:
            log.warning("run %s: the server still checks %d files; the run will show the outcome", self.id, left)
        return _Checked(failed, left)

    async def _stop(self) -> None:
        if self._monitor is not None:
            self._monitor.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _finished(self, status: FinalStatus, checked: "_Checked", problem: RunstoneError | None) -> Finished:
        sender, missing = self._sender, [*checked.failed]
        missing += [f"{path}: {error}" for path, error in self._uploader.failures.items()]
        missing += sender.reasons
        missing += [f"{count} {kind}: the buffer was full" for kind, count in self._buffer.dropped.items() if count]
        left = {kind: count for kind, count in self._buffer.counts().items() if count}
        for kind, count in left.items():
            noun = "points" if kind == "metrics" else kind
            missing.append(f"{count} {noun}: {problem or 'not sent in time'}")
        if problem is not None and not left:
            missing.append(f"the end of the run: {problem}")
        stored = sender.stored
        return Finished(
            run_id=self.id,
            status=status,
            points=stored["metrics"],
            params=stored["params"],
            tags=stored["tags"],
            inputs=stored["inputs"],
            files=self._uploader.stored - len(checked.failed),
            unchecked=checked.left,
            missing=tuple(missing),
        )

    async def _leave(self, error: BaseException | None, patience_s: float = PATIENCE_S) -> None:
        """End the run as the block that wrote it ended; what goes wrong here never hides what went wrong there."""
        if self._closed:
            return
        status = status_after(error)
        try:
            await self._finish(status, patience_s)
        except RunstoneError as problem:
            if error is None:
                raise
            log.warning("run %s: %s", self.id, problem)

    async def _let_go(self, patience_s: float) -> None:
        """Send what is left and leave the run open."""
        if not self._closed:
            self._closed = True
            try:
                await self._drain(patience_s)
            finally:
                await self._stop()


class AsyncRun(_Writing):
    """A run that is being written, on an event loop. Only `finish` waits."""

    async def finish(self, status: FinalStatus = "FINISHED", *, patience_s: float = PATIENCE_S) -> Finished:
        """Send what is left, wait until uploads are checked, and end the run: from now on it is a fixed record.

        Goes on for as long as something gets through, and for `patience_s` more. Raises `Incomplete`, with the
        counts in its `finished`, when something is not stored.
        """
        return await self._finish(status, patience_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)


class Run(_Writing):
    """A run that is being written. Only `finish` waits."""

    def finish(self, status: FinalStatus = "FINISHED", *, patience_s: float = PATIENCE_S) -> Finished:
        """Send what is left, wait until uploads are checked, and end the run: from now on it is a fixed record.

        Goes on for as long as something gets through, and for `patience_s` more. Raises `Incomplete`, with the
        counts in its `finished`, when something is not stored.
        """
        return self._wait(self._finish(status, patience_s))

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


def _leave_to_parent() -> None:
    for run in _open:
        run._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


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

    Raises what is refused, and `Unavailable` when no server answers.
    """
    recorded = {
        "params": checked_params(params or {}),
        "tags": [values.tag(key, value) for key, value in (tags or {}).items()],
    }
    captured = await capture.capture()
    about = {"source": captured.source, "environment": captured.environment}
    if run_id is not None:
        resumed = {"runId": run_id, "attemptId": values.new_id(), **about}
        answer = await transport.mutate("ResumeRun", {"input": resumed}, patience_s=START_S)
        run = kind(transport, answer["run"], {"params": [], "tags": []})
        run._add(Items("params", run._fresh(params or {})))
        run._add(Items("tags", recorded["tags"]))
    else:
        wanted = {
            "id": values.new_id(),
            "project": values.name(project, "project"),
            "experiment": values.name(experiment, "experiment"),
            "name": None if name is None else values.name(name, "name"),
            "parentId": parent.id if isinstance(parent, _Writing) else parent,
            "group": None if group is None else values.name(group, "group"),
            "startedAt": values.now(),
            **recorded,
            **about,
        }
        answer = await transport.mutate("CreateRun", {"input": wanted}, patience_s=START_S)
        run = kind(transport, answer["run"], recorded)
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


def _incomplete(finished: Finished) -> Incomplete:
    shown = "; ".join(finished.missing[:5])
    more = len(finished.missing) - 5
    error = Incomplete(
        f"run {finished.run_id} has {finished.points} points, {finished.params} params and {finished.files} files"
        f" stored, but not: {shown}{f'; and {more} more' if more > 0 else ''}"
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
        case KeyboardInterrupt() | asyncio.CancelledError():
            return "KILLED"
    return "FAILED"
