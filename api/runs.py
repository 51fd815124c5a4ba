"""Runs: who trained what, with which settings, and what was the result."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from api.accounts import Account, account
from api.artifacts import Artifact, artifact_page
from api.attempts import Attempt, Environment, EnvironmentInput, Source, SourceInput, StopRequest
from api.auth import Behind, mutation
from api.columns import ColumnEncoding
from api.connections import After, Before, Connection, First, Last, Window, page_both_ways
from api.context import Context, Info, found
from api.errors import Conflict, Forbidden, Invalid, NotFound, RunSealed, Unavailable, UserError, to_user_error
from api.experiments import Experiment
from api.filters import RunOrder, orders
from api.inputs import DatasetInput
from api.metrics import LogMetricsInput, LogMetricsPayload, Metric, metric_page, parse_writer
from api.nodes import Node
from api.params import Param, ParamInput, param_page
from api.params import given as given_params
from api.projects import Project
from api.selections import RunSelection
from api.series import Encoding, FromStep, Keys, MaxPoints, Series, ToStep, X, series_of
from api.tags import Tag, TagChange, TagInput
from api.tags import given as given_tags
from db import artifacts, errors, ids, names, params, runs, tags, texts, times
from db.artifacts import ArtifactState
from db.attempts import RunStatus
from db.conditions import NEWEST_FIRST, Order
from db.filters import Span
from db.runs import FinalStatus, Selection
from db.series import XAxis

TAG_CHANGES_MAX = 1_000
FAILED_SHOWN_MAX = 500
WAIT_S_MAX = 30
REASON_BYTES_MAX = 4_096

OrderBy = Annotated[
    list[RunOrder] | None,
    strawberry.argument(description="In which order, at most 5; what is equal goes by the id of the run."),
]
Prefix = Annotated[str, strawberry.argument(description="Only keys that begin with this.")]


@strawberry.type(
    description="One training: an immutable record of its params, metrics, artifacts and where they came from."
)
class Run(Node):
    name: str = strawberry.field(description="What people call it; free text, not unique.")
    status: RunStatus = strawberry.field(description="Its state: that of its newest attempt.")
    attempt: int = strawberry.field(description="The number of its newest attempt; 1 unless it was resumed.")
    created_at: datetime = strawberry.field(description="When the server heard of it.")
    started_at: datetime | None = strawberry.field(description="When it began, by the client's clock.")
    finished_at: datetime | None = strawberry.field(description="When it ended; null while it is open.")
    group: str | None = strawberry.field(
        description="What it belongs to besides, such as the seeds or folds of one setting; null for nothing."
    )
    row: strawberry.Private[runs.Run]

    @classmethod
    def from_row(cls, row: runs.Run) -> "Run":
        return cls(
            id=strawberry.ID(str(row.id)),
            name=row.name,
            status=row.status,
            attempt=row.attempt,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            group=row.group_name,
            row=row,
        )

    @strawberry.field(description="How long it took, in seconds, by the server's clock; null while it is open.")
    def duration_seconds(self) -> float | None:
        return None if self.finished_at is None else (self.finished_at - self.created_at).total_seconds()

    @strawberry.field(description="The project it belongs to.")
    async def project(self, info: Info) -> Project:
        row = await info.context.loaders.project.load(self.row.project_id)
        assert row is not None, "who sees a run sees its project"
        return Project.from_row(row)

    @strawberry.field(description="The experiment it belongs to.")
    async def experiment(self, info: Info) -> Experiment:
        row = await info.context.loaders.experiment.load(self.row.experiment_id)
        assert row is not None, "who sees a run sees its experiment"
        return Experiment.from_row(row)

    @strawberry.field(description="The run that started this one; null for one that stands alone.")
    async def parent(self, info: Info) -> Annotated["Run", strawberry.lazy("api.runs")] | None:
        row = self.row.parent_id and await info.context.loaders.run.load(self.row.parent_id)
        return Run.from_row(row) if row else None

    @strawberry.field(description="The runs above it, the outermost first and its parent last; empty without a parent.")
    async def ancestors(self, info: Info) -> list[Annotated["Run", strawberry.lazy("api.runs")]]:
        rows = await info.context.loaders.run.load_many(self.row.ancestor_ids)
        return [Run.from_row(row) for row in rows if row]

    @strawberry.field(description="How many runs are below it: its children, their children, and so on.")
    async def descendant_count(self, info: Info) -> int:
        return await info.context.loaders.descendants.load(self.row.id)

    @strawberry.field(description="The runs that it started, the newest first unless ordered.")
    async def children(
        self,
        info: Info,
        select: Annotated[RunSelection | None, strawberry.argument(description="Which of them; absent: all.")] = None,
        order_by: OrderBy = None,
        first: First = 50,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Annotated["Run", strawberry.lazy("api.runs")]]:
        chosen = replace(select.checked() if select else Selection(), parent_id=self.row.id)
        found, asked = orders(order_by, "orderBy") or NEWEST_FIRST, (self.id, select, order_by)
        return await run_page(info, chosen, first, after, last, before, orders=found, asked=asked)

    @strawberry.field(description="Who started it, by the token that was sent.")
    async def created_by(self, info: Info) -> Account:
        return await account(info, self.row.created_by)

    @strawberry.field(description="Its first start and each resumption, the first first.")
    async def attempts(self, info: Info) -> list[Attempt]:
        return [Attempt.from_row(row) for row in await info.context.loaders.attempts.load(self.row.id)]

    @strawberry.field(description="That its newest attempt ends; null when nobody asked for it.")
    async def stop_request(self, info: Info) -> StopRequest | None:
        newest = (await info.context.loaders.attempts.load(self.row.id))[-1]
        return None if newest.stop_request is None else StopRequest.from_row(newest.stop_request)

    @strawberry.field(description="The code that its newest attempt ran; null when its client told nothing.")
    async def source(self, info: Info) -> Source | None:
        row = await info.context.loaders.source.load((self.row.id, self.row.attempt))
        return None if row is None else Source.from_row(row)

    @strawberry.field(description="What its newest attempt ran on; null when its client told nothing.")
    async def environment(self, info: Info) -> Environment | None:
        row = await info.context.loaders.environment.load((self.row.id, self.row.attempt))
        return None if row is None else Environment.from_row(row)

    @strawberry.field(description="Its settings, by key.")
    async def params(
        self, info: Info, prefix: Prefix = "", first: First = 500, after: After = None
    ) -> Connection[Param]:
        return await param_page(info, self.row.id, prefix, first, after)

    @strawberry.field(description="What it measured, summed up, by key.")
    async def metrics(
        self, info: Info, prefix: Prefix = "", first: First = 500, after: After = None
    ) -> Connection[Metric]:
        return await metric_page(info, self.row.id, prefix, first, after)

    @strawberry.field(description="What it measured, as columns; a metric that it lacks is left out.")
    async def series(
        self,
        info: Info,
        keys: Keys,
        x: X = XAxis.STEP,
        from_step: FromStep = None,
        to_step: ToStep = None,
        max_points: MaxPoints = None,
        encoding: Encoding = ColumnEncoding.JSON,
    ) -> list[Series]:
        return await series_of(info, [self.row.id], keys, x, None, from_step, to_step, max_points, encoding)

    @strawberry.field(description="Its annotations, by key; at most 1,000.")
    async def tags(self, info: Info) -> list[Tag]:
        return [Tag.from_row(row) for row in await info.context.loaders.tags.load(self.row.id)]

    @strawberry.field(description="What was changed about its tags, the newest first; at most 1,000 changes.")
    async def tag_history(
        self, info: Info, key: Annotated[str | None, strawberry.argument(description="Only of this tag.")] = None
    ) -> list[TagChange]:
        context = info.context
        changes = await tags.history(context.pool, context.scope, self.row.id, key, limit=TAG_CHANGES_MAX)
        return [TagChange.from_row(change) for change in changes]

    @strawberry.field(description="The datasets that it read, by name.")
    async def inputs(self, info: Info) -> list[DatasetInput]:
        return [DatasetInput.from_row(row) for row in await info.context.loaders.inputs.load(self.row.id)]

    @strawberry.field(description="Its files, by path.")
    async def artifacts(
        self,
        info: Info,
        prefix: Annotated[str, strawberry.argument(description="Only paths that begin with this.")] = "",
        state: Annotated[
            list[ArtifactState] | None, strawberry.argument(description="Only in one of these states; absent: all.")
        ] = None,
        first: First = 200,
        after: After = None,
    ) -> Connection[Artifact]:
        return await artifact_page(info, self.row.id, prefix, state, first, after)

    @strawberry.field(description="The file at this path; the newest failed one when there is no other.")
    async def artifact(
        self, info: Info, path: Annotated[str, strawberry.argument(description="Its path in the run.")]
    ) -> Artifact | None:
        row = await info.context.loaders.artifact_at.load((self.row.id, path))
        return Artifact.from_row(row) if row else None


async def run_page(
    info: Info,
    selection: Selection,
    first: int,
    after: str | None,
    last: int | None = None,
    before: str | None = None,
    *,
    orders: Sequence[Order] = NEWEST_FIRST,
    asked: object = None,
) -> Connection[Run]:
    """The selected runs, in order. Cursors are of what was `asked`, which stays the same while "-7d" moves on."""
    context = info.context

    async def fetch(window: Window) -> list[runs.Placed]:
        after, before = (None if place is None else tuple(place) for place in (window.after, window.before))
        span = Span(window.limit, after, before, window.is_backward)
        return await runs.page(context.pool, context.scope, selection, orders, span=span)

    async def count() -> int:
        return await runs.count(context.pool, context.scope, selection)

    return await page_both_ways(
        context,
        "runs",
        [str(asked or selection)],
        (first, after, last, before),
        fetch=fetch,
        position=lambda placed: list(placed.position),
        node=lambda placed: Run.from_row(placed.run),
        count=count,
    )


@strawberry.type
class RunQuery:
    @strawberry.field(description="Runs, the newest first unless ordered.")
    async def runs(
        self,
        info: Info,
        select: Annotated[RunSelection | None, strawberry.argument(description="Which; absent: all of yours.")] = None,
        order_by: OrderBy = None,
        first: First = 50,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Run]:
        selection = select.checked() if select else Selection()
        asked = (select, order_by)
        found = orders(order_by, "orderBy") or NEWEST_FIRST
        return await run_page(info, selection, first, after, last, before, orders=found, asked=asked)

    @strawberry.field(description="One run; null when there is none for you to see.")
    async def run(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Run | None:
        row = await found(info.context.loaders.run, id)
        return Run.from_row(row) if row else None


@strawberry.input(description="A new run.")
class CreateRunInput:
    id: strawberry.ID = strawberry.field(
        description="A UUIDv7 that you make, so that asking again is safe: the same request returns the same run."
    )
    experiment: str = strawberry.field(description="The experiment's name; it is made when it is missing.")
    project: str = strawberry.field(default="default", description="The project's name.")
    name: str | None = strawberry.field(default=None, description="What to call it; absent: a readable name.")
    parent_id: strawberry.ID | None = strawberry.field(
        default=None, description="The run that starts it, of the same project; at most 32 runs may be above a run."
    )
    group: str | None = strawberry.field(
        default=None, description="What it belongs to besides, such as the seeds or folds of one setting; free text."
    )
    started_at: datetime | None = strawberry.field(default=None, description="When it began, by your clock.")
    params: list[ParamInput] = strawberry.field(default_factory=list, description="Its first params.")
    tags: list[TagInput] = strawberry.field(default_factory=list, description="Its first tags.")
    source: SourceInput | None = strawberry.field(default=None, description="The code it runs.")
    environment: EnvironmentInput | None = strawberry.field(default=None, description="What it runs on.")

    def checked(self) -> runs.Start:
        """What is asked, in the database's words. Raises `Invalid`."""
        run_id = ids.parse(self.id, "input.id")
        parent_id = ids.given(self.parent_id, "input.parentId")
        if parent_id == run_id:
            raise errors.Invalid(
                "a run cannot be above itself", path="input.parentId", hint="name another run, or none"
            )
        return runs.Start(
            id=run_id,
            project=texts.storable(self.project, "input.project"),
            experiment=texts.name(self.experiment, "input.experiment"),
            name=names.of_run(run_id) if self.name is None else texts.name(self.name, "input.name"),
            parent_id=parent_id,
            started_at=times.checked(self.started_at, "input.startedAt"),
            params=params.checked(given_params(self.params)),
            tags=tags.checked(given_tags(self.tags)),
            source=None if self.source is None else self.source.to_row(),
            environment=None if self.environment is None else self.environment.to_row(),
            group_name=None if self.group is None else texts.name(self.group, "input.group"),
        )


@strawberry.type(description="There is such a run.")
class CreateRunPayload:
    run: Run = strawberry.field(description="The run.")
    created: bool = strawberry.field(description="Whether it was made now; false when the request was a repetition.")


CreateRunResult = Annotated[
    CreateRunPayload | NotFound | Forbidden | Invalid | Conflict | Unavailable,
    strawberry.union("CreateRunResult", description="What createRun answers."),
]


@strawberry.input(description="A run to go on with.")
class ResumeRunInput:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    attempt_id: strawberry.ID = strawberry.field(description="A UUID that you make, so that asking again is safe.")
    source: SourceInput | None = strawberry.field(default=None, description="The code that the new attempt runs.")
    environment: EnvironmentInput | None = strawberry.field(default=None, description="What the new attempt runs on.")


@strawberry.type(description="The run is open.")
class ResumeRunPayload:
    run: Run = strawberry.field(description="The run.")
    attempt: int = strawberry.field(description="The attempt that what you log now belongs to.")


ResumeRunResult = Annotated[
    ResumeRunPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("ResumeRunResult", description="What resumeRun answers."),
]


@strawberry.input(description="A run that is alive.")
class HeartbeatInput:
    run_id: strawberry.ID = strawberry.field(description="The run.")


@strawberry.type(description="The server noted that the run is alive.")
class HeartbeatPayload:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    status: RunStatus = strawberry.field(description="Its state.")
    stop_request: StopRequest | None = strawberry.field(
        description="That its newest attempt ends; null when nobody asked for it."
    )


HeartbeatResult = Annotated[
    HeartbeatPayload | NotFound | Forbidden | Invalid | RunSealed | Unavailable,
    strawberry.union("HeartbeatResult", description="What heartbeat answers."),
]


@strawberry.input(description="A run that is to stop.")
class RequestStopInput:
    run_id: strawberry.ID = strawberry.field(description="The run; it has not ended.")
    reason: str | None = strawberry.field(default=None, description="Why, 1 to 4,096 bytes of text.")


@strawberry.type(description="Whoever trains will hear of it with what it logs next, or with its next heartbeat.")
class RequestStopPayload:
    run: Run = strawberry.field(description="The run.")
    stop_request: StopRequest = strawberry.field(description="The request that stands: the first one of its attempt.")
    requested: bool = strawberry.field(description="Whether it was made now; false when it was there before.")


RequestStopResult = Annotated[
    RequestStopPayload | NotFound | Forbidden | Invalid | RunSealed | Unavailable,
    strawberry.union("RequestStopResult", description="What requestStop answers."),
]


@strawberry.input(description="A run that ends.")
class FinishRunInput:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    status: FinalStatus = strawberry.field(default=FinalStatus.FINISHED, description="How it ended.")
    finished_at: datetime | None = strawberry.field(default=None, description="When it ended, by your clock.")
    wait_seconds: float = strawberry.field(
        default=0.0, description="How long to wait for its uploads to be verified, 0 to 30 seconds."
    )

    def checked(self) -> tuple[UUID, datetime | None]:
        """The run, and when it ended. Raises `Invalid`."""
        if not 0 <= self.wait_seconds <= WAIT_S_MAX:
            raise errors.Invalid(
                f"input.waitSeconds is {self.wait_seconds}", path="input.waitSeconds", limit=f"0 to {WAIT_S_MAX}"
            )
        return ids.parse(self.run_id, "input.runId"), times.checked(self.finished_at, "input.finishedAt")


@strawberry.type(description="The run has ended; what it recorded is fixed.")
class FinishRunPayload:
    run: Run = strawberry.field(description="The run.")
    validating: int = strawberry.field(description="How many of its uploads are still being verified.")
    failed: list[Artifact] = strawberry.field(description="Its artifacts that failed, with the reasons; at most 500.")


FinishRunResult = Annotated[
    FinishRunPayload | NotFound | Forbidden | Invalid | RunSealed | Unavailable,
    strawberry.union("FinishRunResult", description="What finishRun answers."),
]


async def _log_and_finish(
    context: Context, logged: dict[str, Any], finished: dict[str, Any]
) -> Sequence[LogMetricsPayload | FinishRunPayload | UserError]:
    """What logMetrics and the finishRun behind it answer, done in one step; nothing when anything is unusual."""
    points: LogMetricsInput = logged["input"]
    end: FinishRunInput = finished["input"]
    if points.blocks is None or points.points is not None:
        return ()
    try:
        run_id, finished_at = end.checked()
        if ids.parse(points.run_id, "input.runId") != run_id:
            return ()
        writer_id, blocks = parse_writer(points), [block.columns() for block in points.blocks]
        closed = await context.deps.recorder.close(context.scope, run_id, writer_id, blocks, end.status, finished_at)
    except Exception as error:
        failure = errors.known(error)
        if failure is None:
            raise
        unavailable = to_user_error(failure.with_traceback(None), context.request_id)
        return (unavailable, unavailable) if isinstance(failure, errors.Unavailable) else ()
    if closed is None:
        return ()
    context.deps.live.hub.changed()
    appended, ended = closed
    answers: list[LogMetricsPayload | FinishRunPayload] = [LogMetricsPayload.from_appended(points.run_id, appended)]
    if ended.is_settled:  # else finishRun waits for the uploads; to end the run once more changes nothing
        answers.append(FinishRunPayload(run=Run.from_row(ended.run), validating=0, failed=[]))
    return answers


@strawberry.type
class RunMutation:
    @mutation("Start a run. The same request again returns the same run; other content under the same id is refused.")
    async def create_run(
        self, info: Info, input: Annotated[CreateRunInput, strawberry.argument(description="The run.")]
    ) -> CreateRunResult:
        row, created = await info.context.deps.recorder.start(info.context.scope, input.checked())
        return CreateRunPayload(run=Run.from_row(row), created=created)

    @mutation("Go on with a run. A running one is joined; one that ended or was lost gets a new attempt.")
    async def resume_run(
        self, info: Info, input: Annotated[ResumeRunInput, strawberry.argument(description="The run.")]
    ) -> ResumeRunResult:
        row = await runs.resume(
            info.context.pool,
            info.context.scope,
            ids.parse(input.run_id, "input.runId"),
            ids.parse(input.attempt_id, "input.attemptId"),
            None if input.source is None else input.source.to_row(),
            None if input.environment is None else input.environment.to_row(),
        )
        return ResumeRunPayload(run=Run.from_row(row), attempt=row.attempt)

    @mutation("Say that a run is alive; one that was taken for lost is running again.", is_event=False)
    async def heartbeat(
        self, info: Info, input: Annotated[HeartbeatInput, strawberry.argument(description="The run.")]
    ) -> HeartbeatResult:
        run_id = ids.parse(input.run_id, "input.runId")
        row, stop = await runs.heartbeat(info.context.pool, info.context.scope, run_id)
        return HeartbeatPayload(
            run_id=input.run_id,
            status=row.status,
            stop_request=None if stop is None else StopRequest.from_row(stop),
        )

    @mutation("Ask whoever trains a run to stop. It is a request: the run ends when its process does so.")
    async def request_stop(
        self, info: Info, input: Annotated[RequestStopInput, strawberry.argument(description="The run, and why.")]
    ) -> RequestStopResult:
        run_id = ids.parse(input.run_id, "input.runId")
        if input.reason == "":
            raise errors.Invalid("input.reason is empty", path="input.reason", hint="leave it out")
        reason = None if input.reason is None else texts.value(input.reason, "input.reason", REASON_BYTES_MAX)
        run, stop, made = await runs.request_stop(info.context.pool, info.context.scope, run_id, reason)
        return RequestStopPayload(run=Run.from_row(run), stop_request=StopRequest.from_row(stop), requested=made)

    @mutation(
        "End a run: from now on what it recorded is fixed. Ending it again the same way changes nothing.",
        behind=Behind("log_metrics", _log_and_finish),
    )
    async def finish_run(
        self, info: Info, input: Annotated[FinishRunInput, strawberry.argument(description="The run and how it ended.")]
    ) -> FinishRunResult:
        run_id, finished_at = input.checked()
        context = info.context
        ended = await context.deps.recorder.finish(context.scope, run_id, input.status, finished_at)
        if ended.is_settled:
            return FinishRunPayload(run=Run.from_row(ended.run), validating=0, failed=[])
        validating = await artifacts.wait_settled(context.pool, run_id, input.wait_seconds)
        failed = await artifacts.page(
            context.pool, context.scope, run_id, states=[ArtifactState.FAILED], after=None, limit=FAILED_SHOWN_MAX
        )
        return FinishRunPayload(
            run=Run.from_row(ended.run), validating=validating, failed=[Artifact.from_row(each) for each in failed]
        )
