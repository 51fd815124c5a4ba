"""The face for scripts and notebooks: one thread with an event loop does the waiting."""

import asyncio
import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

from runstone import sync as spools
from runstone.client import Client
from runstone.columns import RunFrame, RunGroupList
from runstone.config import Config, Spooling
from runstone.errors import NotFound, RunstoneError
from runstone.exports import Export
from runstone.frames import RunList, SeriesList
from runstone.live import TERMINATED, Run
from runstone.records import Comparison, RunRecord
from runstone.sync import Synced

T = TypeVar("T")

logger = logging.getLogger("runstone")

PATIENCE_AT_EXIT_S: Final = 15.0


def wait_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """What the work on the loop gives; an interrupt here cancels it there.

    A failure is raised from here, without the stack of the other thread: that is of no use to who called.
    """
    if threading.current_thread() is _background.thread:
        work.close()
        raise RuntimeError("this would wait for the thread that it runs on; use runstone.Client there")
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except RunstoneError as error:
        raise error.with_traceback(None) from None
    except BaseException:
        future.cancel()
        raise


class Termination:
    """SIGTERM, as schedulers send it before they kill: the program leaves as with `sys.exit(143)`, so that runs end.

    Only where nobody else listens; the second one ends the program at once.
    """

    def __init__(self) -> None:
        self.has_come = False

    def listen(self) -> None:
        """Listen from now on, if this is the main thread of a program without a handler of its own."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._come)

    def ignore(self) -> None:
        """Let SIGTERM do what it does by itself, if it is we who listen."""
        if signal.getsignal(signal.SIGTERM) == self._come:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _come(self, number: int, frame: FrameType | None) -> None:
        self.ignore()
        self.has_come = True
        raise SystemExit(TERMINATED)


class Background:
    """A thread with an event loop and the clients on it; both start when they are first needed."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._opening = asyncio.Lock()
        self._clients: dict[Config, Client] = {}

    def run(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """What the work gives, done with the client that the environment asks for."""
        config = Config.read()
        loop = self._started()

        async def on_loop() -> T:
            return await work(await self._client(config))

        return wait_on(loop, on_loop())

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self.thread = threading.Thread(target=self._loop.run_forever, name="runstone", daemon=True)
                self.thread.start()
                _at_exit(self.close)
            return self._loop

    async def _client(self, config: Config) -> Client:
        async with self._opening:
            if config not in self._clients:
                client = Client._of(config)
                await client.__aenter__()
                self._clients[config] = client
            return self._clients[config]

    def newest(self) -> Run | None:
        """The open run that was started last."""
        runs = [run for client in self._clients.values() for run in client._open if isinstance(run, Run)]
        return max((run for run in runs if not run._closed), key=lambda run: run._started_ns, default=None)

    def close(self) -> None:
        """Send what is left and end the runs that are open, within bounds. A program that failed, failed its runs.

        At a prompt or in a notebook they stay open, because nobody said how they went.
        """
        loop = self._loop
        if loop is None or not loop.is_running():
            return
        try:
            wait_on(loop, self._leave(_last_error()))
        except RunstoneError as error:
            logger.warning("%s", error)
        loop.call_soon_threadsafe(loop.stop)
        assert self.thread is not None
        self.thread.join(5.0)

    def forget(self) -> None:
        """Let `close` do nothing: the thread is one of another process."""
        self._loop = None

    async def _leave(self, error: BaseException | None) -> None:
        for client in self._clients.values():
            await client._leave(error, PATIENCE_AT_EXIT_S, finish=not _is_interactive())


def _last_error() -> BaseException | None:
    """What ended the program, None when it came to its end."""
    if _termination.has_come:
        return SystemExit(TERMINATED)
    return None if _is_interactive() else getattr(sys, "last_value", None)


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or bool(sys.flags.interactive) or "ipykernel" in sys.modules


def _at_exit(close: Callable[[], None]) -> None:
    """Call `close` while threads and executors still work; `atexit` alone would be too late for that.

    What was registered last is called first, so the executors register before us.
    """
    import concurrent.futures.thread  # noqa: F401 - for what it registers

    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(close)
    else:
        atexit.register(close)


_background = Background()
_termination = Termination()


def _forget_parent() -> None:
    """A forked child has no thread of ours; it gets its own when it needs one."""
    global _background
    _background.forget()
    _background = Background()
    _termination.ignore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def start_run(
    project: str = "default",
    experiment: str = "default",
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    parent: str | Run | None = None,
    group: str | None = None,
    *,
    system_metrics: bool | float = False,
) -> Run:
    """A new run in the experiment, which is made when it is missing; or, by `run_id`, the next attempt of a run.

    `parent` is the run that starts it, such as a sweep; `group` a name that runs share, such as those of one setting
    with other seeds. `system_metrics` logs what the machine does as series `system/...`, every 10 seconds or every so
    many seconds; it needs psutil.

    `with runstone.start_run(...) as run` finishes it with the block: FAILED after an exception, KILLED after an
    interrupt or SIGTERM, else FINISHED. Otherwise call `run.finish()`; a run that is open when the program ends is
    finished then.
    """
    _termination.listen()
    return _background.run(
        lambda client: client._start(
            Run,
            project=project,
            experiment=experiment,
            name=name,
            params=params,
            tags=tags,
            run_id=run_id,
            parent=parent,
            group=group,
            system_metrics=system_metrics,
        )
    )


init = start_run


def active_run() -> Run:
    """The run that this process started last and that is still open. Raises `NotFound`."""
    run = _background.newest()
    if run is None:
        raise NotFound("this process has no open run", hint="start one: runstone.init(experiment=...)")
    return run


def log(metrics: Mapping[str, Any], step: int | None = None) -> None:
    """`Run.log` of the active run: one point for each metric. Raises `NotFound`, `TypeError`, `Invalid`."""
    active_run().log(metrics, step)


def runs(
    project: str | None = None,
    experiment: str | None = None,
    statuses: Sequence[str] | None = None,
    limit: int = 50,
    *,
    where: str | None = None,
    order_by: str | Sequence[str] = (),
) -> RunList:
    """Runs, the newest first: of one project, of one experiment (of the project "default", when none is given).

    Those that satisfy `where`, such as "metrics.loss < 0.1 AND params.lr > 0.01", by the fields of `order_by`, such
    as "max(metrics.accuracy) DESC". Raises `Invalid`, whose `position` is the character of a text that is wrong.

    `runstone.runs(...).to_pandas()` is a data frame with all that they recorded except the points of their series.
    """
    found = _background.run(lambda client: client._listed(project, experiment, statuses, limit, where, order_by))
    return RunList(found, lambda listed: _background.run(lambda client: client._columns(listed)))


def run_frame(
    names: Sequence[str],
    project: str | None = None,
    experiment: str | None = None,
    statuses: Sequence[str] | None = None,
    limit: int = 1000,
    *,
    where: str | None = None,
    order_by: str | Sequence[str] = (),
) -> RunFrame:
    """Runs, chosen and ordered as in `runs`, in columns: for tables of many runs, of which only these are fetched.

    A column is named params.lr, metrics.loss (its last value), min(metrics.loss), tags.team, source.commit, or by an
    attribute such as name, status or createdAt. Raises `Invalid`.
    """
    return _background.run(
        lambda client: client.run_frame(names, project, experiment, statuses, limit, where=where, order_by=order_by)
    )


def group_runs(
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    project: str | None = None,
    experiment: str | None = None,
    statuses: Sequence[str] | None = None,
    *,
    all_params_but: Sequence[str] | None = None,
    where: str | None = None,
) -> RunGroupList:
    """Runs, chosen as in `runs`, in groups that have the same values, and metrics over each: the mean over seeds.

    Grouped `by` columns as in `run_frame`, or by all params but some, such as ["seed"]; `metrics` are metrics.loss (its
    last value), min(metrics.loss) and so on. At most 10,000 runs. Raises `Invalid`.
    """
    return _background.run(
        lambda client: client.group_runs(
            by, metrics, project, experiment, statuses, all_params_but=all_params_but, where=where
        )
    )


def run(run_id: str) -> RunRecord:
    """All that a run recorded, except the points of its series. Raises `NotFound`."""
    return _background.run(lambda client: client.run(run_id))


def compare(run_ids: Sequence[str], baseline: str | None = None, *, only_differences: bool = False) -> Comparison:
    """Runs side by side, in the order given, from one query. Deltas are against `baseline`, or the first run."""
    return _background.run(lambda client: client.compare(run_ids, baseline, only_differences=only_differences))


def set_metric_goal(key: str, goal: str | None, project: str = "default") -> None:
    """Declare that "MINIMIZE" or "MAXIMIZE" is the goal of a metric in a project; None takes it back.

    Raises `NotFound`, `Forbidden`, `Invalid`.
    """
    _background.run(lambda client: client.set_metric_goal(key, goal, project))


def create_account(
    name: str, *, project: str | None = "default", role: str = "EDITOR", days: int = 90, is_admin: bool = False
) -> str:
    """Make an account for somebody; the link that lets them in, whose token works for so many days.

    The link is told this once. In `project`, unless it is None, the account may do what the role says: VIEWER, LOGGER,
    EDITOR or OWNER. Raises `Forbidden` unless you manage the instance, `NameTaken`, `NotFound`, `Invalid`.
    """
    return _background.run(
        lambda client: client.create_account(name, project=project, role=role, days=days, is_admin=is_admin)
    )


def request_stop(run_id: str, reason: str | None = None) -> bool:
    """Ask whoever trains the run to stop; False when that was asked before. What it does is up to its program.

    It hears of it with what it logs next, or with its next heartbeat. Raises `NotFound`, `Forbidden`, `Invalid`, and
    `RunSealed` when the run has ended.
    """
    return _background.run(lambda client: client.request_stop(run_id, reason))


def download(run_id: str, path: str | None = None, to: str | os.PathLike[str] = ".") -> Path:
    """The file `path` of the run, or all files under it, in the folder `to`; where it is then.

    Each file has the digest that the run recorded. Nothing that is downloaded is ever loaded or run.
    Raises `NotFound`, `DigestMismatch`.
    """
    return _background.run(lambda client: client.download(run_id, path, to))


def series(run_ids: Sequence[str], keys: Sequence[str], max_points: int | None = None) -> SeriesList:
    """The points of these metrics of these runs, where they have them; `.to_pandas()` makes a data frame of them.

    Exactly, or with `max_points` as many of each as show its shape and its extremes.
    """
    return _background.run(lambda client: client.series(run_ids, keys, max_points))


def export(
    project: str = "default",
    experiment: str | None = None,
    statuses: Sequence[str] | None = None,
    run_ids: Sequence[str] | None = None,
    tables: Sequence[str] | None = None,
    *,
    where: str | None = None,
    to: str | os.PathLike[str],
) -> Export:
    """Runs of a project as Parquet files in the folder `to`, with `manifest.json`, which says what they are.

    `tables` are some of runs, params, metrics, points, tags, inputs, artifacts and packages; None is all of them. Each
    file has the digest that the server recorded. Raises `NotFound`, `Invalid`, `QuotaExceeded`, `ExportFailed`.
    """
    return _background.run(
        lambda client: client.export(project, experiment, statuses, run_ids, tables, where=where, to=to)
    )


def sync(
    run_ids: Sequence[str] = (),
    folder: Path | None = None,
    *,
    follow: bool = False,
    on_synced: Callable[[Synced], None],
) -> None:
    """Send what earlier processes, or processes without a server, left in the spool; it is stored once.

    `on_synced` hears of each run. Raises `NotFound` when one of `run_ids` has no spool.
    """
    root = folder or Spooling.read().folder
    _background.run(lambda client: spools.sync(client._transport, root, run_ids, follow=follow, on_synced=on_synced))


def execute(document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The data of any GraphQL document, as it came. Sent once. Raises `RunstoneError`."""
    return _background.run(lambda client: client.execute(document, variables))
