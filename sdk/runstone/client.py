"""The client for event loops."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runstone import columns, downloads, exports, frames, live, records, system
from runstone.columns import RunFrame, RunGroupList
from runstone.config import Config
from runstone.errors import NotFound, RunstoneError
from runstone.exports import Export
from runstone.frames import Listing, SeriesList
from runstone.live import AnyRun, AsyncRun, Starting
from runstone.records import Artifact, Comparison, DatasetInput, Environment, Metric, RunRecord, RunSummary, Source
from runstone.transport import Transport

PAGE: int = 200


class Client:
    """Talks to one server: `async with runstone.Client() as client`.

    The address is `url`, else RUNSTONE_URL, else that of a server on this machine; the token is `token`, else
    RUNSTONE_TOKEN, else, on this machine only, the one that the server left in the folder RUNSTONE_HOME.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._transport = Transport(Config.read(url, token))
        self._open: list[live._Writing] = []

    @classmethod
    def _of(cls, config: Config) -> Self:
        client = cls.__new__(cls)
        client._transport = Transport(config)
        client._open = []
        return client

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._transport.config.url

    @property
    def requests(self) -> int:
        """How many requests were sent to the server so far; those to the object store are not counted."""
        return self._transport.requests

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the runs that are open, as the block ended, and close the connections."""
        await self._leave(error)

    async def _leave(
        self, error: BaseException | None, patience_s: float = live.PATIENCE_S, *, finish: bool = True
    ) -> None:
        """End every open run, or with `finish` False only send what it has, and close the connections."""
        problems: list[RunstoneError] = []
        try:
            for run in self._open:
                try:
                    await (run._leave(error, patience_s) if finish else run._let_go(patience_s))
                except RunstoneError as problem:
                    problems.append(problem)
        finally:
            await self._transport.close()
        if problems:
            raise problems[0]

    def start_run(
        self,
        project: str = "default",
        experiment: str = "default",
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        parent: str | AsyncRun | None = None,
        group: str | None = None,
        *,
        system_metrics: bool | float = False,
    ) -> Starting[AsyncRun]:
        """A new run in the experiment, which is made when it is missing; or, by `run_id`, the next attempt of a run.

        `parent` is the run that starts it, such as a sweep; `group` a name that runs share, such as those of one
        setting with other seeds. `system_metrics` logs what the machine does as series `system/...`, every 10 seconds
        or every so many seconds; it needs psutil.

        `async with client.start_run(...) as run` finishes it with the block: FAILED after an exception, KILLED after
        a cancellation or an interrupt, else FINISHED. `await client.start_run(...)` leaves that to `run.finish()`.
        """
        return Starting(
            lambda: self._start(
                AsyncRun,
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

    async def _start(self, kind: type[AnyRun], *, system_metrics: bool | float = False, **wanted: Any) -> AnyRun:
        every_s = system.interval_s(system_metrics)
        self._open = [run for run in self._open if not run._closed]
        run = await live.start(kind, self._transport, **wanted)
        if every_s is not None:
            run._watch_system(every_s)
        self._open.append(run)
        return run

    async def execute(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The data of any GraphQL document, as it came. Sent once. Raises `RunstoneError`."""
        return await self._transport.post(document, variables or {})

    def runs(
        self,
        project: str | None = None,
        experiment: str | None = None,
        statuses: Sequence[str] | None = None,
        limit: int = 50,
        *,
        where: str | None = None,
        order_by: str | Sequence[str] = (),
    ) -> Listing:
        """Runs, the newest first: of one project, of one experiment (of the project "default", when none is given).

        Those that satisfy `where`, such as "metrics.loss < 0.1 AND params.lr > 0.01", by the fields of `order_by`, such
        as "max(metrics.accuracy) DESC". Raises `Invalid`, whose `position` is the character of a text that is wrong.

        `await client.runs(...)` is a list; `await client.runs(...).to_pandas()` a data frame with all that they
        recorded except the points of their series, and so is `.to_polars()`.
        """
        return Listing(self._transport, lambda: self._listed(project, experiment, statuses, limit, where, order_by))

    async def _selected(
        self, project: str | None, experiment: str | None, statuses: Sequence[str] | None
    ) -> dict[str, Any]:
        """The RunSelection."""
        select: dict[str, Any] = {"statuses": list(statuses) if statuses else None}
        if experiment is not None:
            select["experimentIds"] = [await self._experiment_id(project or "default", experiment)]
        elif project is not None:
            select["projectId"] = (await self._project(project, first=1))["id"]
        return select

    async def _listed(
        self,
        project: str | None,
        experiment: str | None,
        statuses: Sequence[str] | None,
        limit: int,
        where: str | None,
        order_by: str | Sequence[str],
    ) -> list[RunSummary]:
        select = {**await self._selected(project, experiment, statuses), "where": where}
        order = _orders(order_by)
        found: list[RunSummary] = []
        after = None
        while len(found) < limit:
            first = min(PAGE, limit - len(found))
            variables = {"select": select, "orderBy": order, "first": first, "after": after}
            page = (await self._transport.call("Runs", variables))["runs"]
            found += [records.read(RunSummary, node) for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        return found

    async def run_frame(
        self,
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

        A column is named params.lr, metrics.loss (its last value), min(metrics.loss), tags.team, source.commit, or by
        an attribute such as name, status or createdAt. Raises `Invalid`.
        """
        select = {**await self._selected(project, experiment, statuses), "where": where}
        return await columns.frame(self._transport, names, select, _orders(order_by), limit)

    async def group_runs(
        self,
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

        Grouped `by` columns as in `run_frame`, or by all params but some, such as ["seed"]; `metrics` are
        metrics.loss (its last value), min(metrics.loss) and so on. At most 10,000 runs. Raises `Invalid`.
        """
        select = {**await self._selected(project, experiment, statuses), "where": where}
        return await columns.groups(self._transport, by, metrics, all_params_but, select)

    async def _columns(self, listed: Sequence[RunSummary]) -> frames.Columns:
        """What the runs recorded, for a data frame."""
        return await frames.columns(self._transport, listed)

    async def _project(self, name: str, first: int, after: str | None = None) -> dict[str, Any]:
        variables = {"project": name, "first": first, "after": after}
        project: dict[str, Any] | None = (await self._transport.call("Experiments", variables))["project"]
        if project is None:
            raise NotFound(f"there is no project {name!r}", path="project")
        return project

    async def _experiment_id(self, project: str, name: str) -> str:
        """By one of its runs; one that has none is looked for in the list. Raises `NotFound`."""
        of_name = {"attribute": {"experiment": {"eq": name}}}
        select = {"projectId": (await self._project(project, first=1))["id"], "filter": of_name}
        for node in (await self._transport.call("ExperimentOfRun", {"select": select}))["runs"]["nodes"]:
            return str(node["experiment"]["id"])
        after = None
        while True:
            page = (await self._project(project, PAGE, after))["experiments"]
            for node in page["nodes"]:
                if node["name"] == name:
                    return str(node["id"])
            if not page["pageInfo"]["hasNextPage"]:
                raise NotFound(f"there is no experiment {name!r} in project {project!r}", path="experiment")
            after = page["pageInfo"]["endCursor"]

    async def run(self, run_id: str) -> RunRecord:
        """All that a run recorded, except the points of its series. Raises `NotFound`."""
        answer = (await self._transport.call("Run", {"id": run_id}))["run"]
        if answer is None:
            raise NotFound(f"there is no run {run_id}")
        params = await self._pages("params", run_id)
        metrics = await self._pages("metrics", run_id)
        artifacts = await self._pages("artifacts", run_id)
        summary = records.read(RunSummary, answer)
        return RunRecord(
            **{name: getattr(summary, name) for name in RunSummary.__dataclass_fields__},
            params={node["key"]: records.param_value(node["type"], node["value"]) for node in params},
            metrics={node["key"]: records.read(Metric, node) for node in metrics},
            tags={tag["key"]: tag["value"] for tag in answer["tags"]},
            source=records.read(Source, answer["source"]) if answer["source"] else None,
            environment=records.read(Environment, answer["environment"]) if answer["environment"] else None,
            inputs=tuple(records.read(DatasetInput, node) for node in answer["inputs"]),
            artifacts=tuple(records.read(Artifact, node) for node in artifacts),
        )

    async def _pages(self, field: str, run_id: str) -> list[dict[str, Any]]:
        """All nodes of a connection of the run."""
        operation = {"params": "RunParams", "metrics": "RunMetrics", "artifacts": "RunArtifacts"}[field]
        found: list[dict[str, Any]] = []
        after = None
        while True:
            run = (await self._transport.call(operation, {"id": run_id, "after": after}))["run"]
            if run is None:
                return []
            page = run[field]
            found += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]

    async def compare(
        self, run_ids: Sequence[str], baseline: str | None = None, *, only_differences: bool = False
    ) -> Comparison:
        """Runs side by side, in the order given, from one query. Deltas are against `baseline`, or the first run."""
        variables = {
            "select": {"runIds": list(run_ids)},
            "baselineId": baseline,
            "onlyDifferences": only_differences,
        }
        answer = (await self._transport.call("Compare", variables))["compareRuns"]
        for param in answer["params"]:
            param["values"] = [
                records.param_value(type_, value) for type_, value in zip(param["types"], param["values"], strict=True)
            ]
        return records.read(Comparison, answer)

    async def set_metric_goal(self, key: str, goal: str | None, project: str = "default") -> None:
        """Declare that "MINIMIZE" or "MAXIMIZE" is the goal of a metric in a project; None takes it back.

        Raises `NotFound`, `Forbidden`, `Invalid`.
        """
        asked = {"key": key, "goal": goal, "projectName": project}
        await self._transport.mutate("SetMetricGoal", {"input": asked})

    async def create_account(
        self,
        name: str,
        *,
        project: str | None = "default",
        role: str = "EDITOR",
        days: int = 90,
        is_admin: bool = False,
    ) -> str:
        """Make an account for somebody; the link that lets them in, whose token works for so many days.

        The link is told this once. In `project`, unless it is None, the account may do what the role says: VIEWER,
        LOGGER, EDITOR or OWNER. Raises `Forbidden` unless you manage the instance, `NameTaken`, `NotFound`, `Invalid`.
        """
        asked = {"name": name, "projectName": project, "role": role, "days": days, "isAdmin": is_admin}
        # Not asked again when no answer came: the account may be there, and its link is told only once.
        return str((await self._transport.mutate("CreateAccount", {"input": asked}, patience_s=0.0))["link"])

    async def request_stop(self, run_id: str, reason: str | None = None) -> bool:
        """Ask whoever trains the run to stop; False when that was asked before. What it does is up to its program.

        It hears of it with what it logs next, or with its next heartbeat. Raises `NotFound`, `Forbidden`, `Invalid`,
        and `RunSealed` when the run has ended.
        """
        asked = {"runId": run_id, "reason": reason}
        return bool((await self._transport.mutate("RequestStop", {"input": asked}))["requested"])

    async def download(self, run_id: str, path: str | None = None, to: str | os.PathLike[str] = ".") -> Path:
        """The file `path` of the run, or all files under it, in the folder `to`; where it is then.

        Each file has the digest that the run recorded. Nothing that is downloaded is ever loaded or run.
        Raises `NotFound`, `DigestMismatch`.
        """
        return await downloads.download(self._transport, run_id, path, to)

    async def series(self, run_ids: Sequence[str], keys: Sequence[str], max_points: int | None = None) -> SeriesList:
        """The points of these metrics of these runs, where they have them; `.to_pandas()` makes a data frame of them.

        Exactly, or with `max_points` as many of each as show its shape and its extremes.
        """
        return await frames.series(self._transport, run_ids, keys, max_points)

    async def start_export(
        self,
        project: str = "default",
        experiment: str | None = None,
        statuses: Sequence[str] | None = None,
        run_ids: Sequence[str] | None = None,
        tables: Sequence[str] | None = None,
        export_id: str | None = None,
        *,
        where: str | None = None,
    ) -> Export:
        """Have runs of a project written as Parquet files; the same `export_id` again is the same export.

        Those that satisfy `where`, as in `runs`. `tables` are some of runs, params, metrics, points, tags, inputs,
        artifacts and packages; None is all of them.
        Raises `NotFound`, `Invalid`, `QuotaExceeded`.
        """
        select = await self._selected(project, experiment, statuses)
        select["projectId"] = (await self._project(project, first=1))["id"]
        select |= {"runIds": None if run_ids is None else list(run_ids), "where": where}
        return await exports.start(self._transport, select, tables, export_id)

    async def export(
        self,
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

        Each file has the digest that the server recorded. Raises what `start_export` does, `ExportFailed`,
        `DigestMismatch`, and `Invalid` when the folder has an export already.
        """
        await asyncio.to_thread(exports.checked, Path(to))
        started = await self.start_export(project, experiment, statuses, run_ids, tables, where=where)
        return await exports.download(self._transport, await exports.follow(self._transport, started), to)


def _orders(order_by: str | Sequence[str]) -> list[dict[str, str]] | None:
    return [{"text": text} for text in ([order_by] if isinstance(order_by, str) else order_by)] or None
