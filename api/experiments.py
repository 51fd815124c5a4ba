"""Experiments: named collections of runs in a project."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from uuid import UUID

import strawberry

from api.accounts import Account, account
from api.auth import mutation
from api.connections import After, Connection, First, page
from api.context import Info, found
from api.errors import Forbidden, Invalid, NotFound, Unavailable
from api.nodes import Node
from api.projects import Project
from db import errors, experiments, ids, projects, runs, texts
from db.access import Action
from db.attempts import RunStatus
from db.experiments import ExperimentOrder

if TYPE_CHECKING:
    from api.runs import Run


@strawberry.type(description="How many runs are in a state.")
class StatusCount:
    status: RunStatus = strawberry.field(description="The state.")
    count: int = strawberry.field(description="How many, at least one.")


@strawberry.type(description="A named collection of runs in a project.")
class Experiment(Node):
    name: str = strawberry.field(description="Its name, unique in its project.")
    description: str = strawberry.field(description="What it is about; may be empty.")
    created_at: datetime = strawberry.field(description="When it was made.")
    row: strawberry.Private[experiments.Experiment]

    @classmethod
    def from_row(cls, row: experiments.Experiment) -> "Experiment":
        return cls(
            id=strawberry.ID(str(row.id)),
            name=row.name,
            description=row.description,
            created_at=row.created_at,
            row=row,
        )

    @strawberry.field(description="The project it belongs to.")
    async def project(self, info: Info) -> Project:
        row = await info.context.loaders.project.load(self.row.project_id)
        assert row is not None, "who sees an experiment sees its project"
        return Project.from_row(row)

    @strawberry.field(description="Who made it.")
    async def created_by(self, info: Info) -> Account:
        return await account(info, self.row.created_by)

    @strawberry.field(description="How many runs it has that you see.")
    async def run_count(self, info: Info) -> int:
        return sum((await self._overview(info)).run_counts.values())

    @strawberry.field(description="How many of them are in which state; states that none is in are left out.")
    async def status_counts(self, info: Info) -> list[StatusCount]:
        counts = (await self._overview(info)).run_counts
        return [StatusCount(status=status, count=count) for status, count in counts.items()]

    @strawberry.field(
        description="When one of them was last heard of: its end, else its last heartbeat, which a run sends while it "
        "logs; null without runs."
    )
    async def last_activity_at(self, info: Info) -> datetime | None:
        return (await self._overview(info)).last_activity_at

    async def _overview(self, info: Info) -> experiments.Overview:
        return await info.context.loaders.overview.load(self.row.id)

    @strawberry.field(description="Its runs, the newest first.")
    async def runs(
        self, info: Info, first: First = 50, after: After = None
    ) -> Connection[Annotated["Run", strawberry.lazy("api.runs")]]:
        from api.runs import run_page

        return await run_page(info, runs.Selection(experiment_ids=[self.row.id]), first, after)


Search: TypeAlias = Annotated[
    str | None,
    strawberry.argument(description="Only those with this in their name, whether in small or capital letters."),
]
OrderBy: TypeAlias = Annotated[
    ExperimentOrder,
    strawberry.argument(
        description="In which order. By activity, one that becomes active meanwhile goes to the front."
    ),
]


async def experiment_page(
    info: Info,
    project_id: UUID | None,
    first: int,
    after: str | None,
    search: str = "",
    order_by: ExperimentOrder = ExperimentOrder.NAME,
) -> Connection[Experiment]:
    """The experiments of one project, or of all that the viewer sees. Raises `Invalid`."""
    context = info.context
    texts.searched(search, "search")

    async def count() -> int:
        return await experiments.count(context.pool, context.scope, project_id, search)

    async def by_name(start: list[Any] | None, limit: int) -> list[experiments.Experiment]:
        position = (start[0], UUID(start[1])) if start else None
        return await experiments.page(
            context.pool, context.scope, project_id, search=search, after=position, limit=limit
        )

    async def by_activity(start: list[Any] | None, limit: int) -> list[experiments.Active]:
        position = (datetime.fromisoformat(start[0]), UUID(start[1])) if start else None
        return await experiments.active(
            context.pool, context.scope, project_id, search=search, after=position, limit=limit
        )

    if order_by is ExperimentOrder.NAME:
        return await page(
            context,
            "experiments",
            [project_id, search],
            first,
            after,
            fetch=by_name,
            position=lambda row: [row.name, row.id],
            node=Experiment.from_row,
            count=count,
        )
    return await page(
        context,
        "active experiments",
        [project_id, search],
        first,
        after,
        fetch=by_activity,
        position=lambda row: [row.active_at, row.experiment.id],
        node=lambda row: Experiment.from_row(row.experiment),
        count=count,
    )


@strawberry.type
class ExperimentQuery:
    @strawberry.field(description="Experiments, by name or by activity.")
    async def experiments(
        self,
        info: Info,
        project_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this project; absent: of all yours.")
        ] = None,
        search: Search = None,
        order_by: OrderBy = ExperimentOrder.NAME,
        first: First = 50,
        after: After = None,
    ) -> Connection[Experiment]:
        of_project = ids.given(project_id, "projectId")
        return await experiment_page(info, of_project, first, after, search or "", order_by)

    @strawberry.field(
        description="One experiment, by its id, or by its project and its name; null when there is none for you to see."
    )
    async def experiment(
        self,
        info: Info,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="Its id.")] = None,
        project_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Its project; used when no id is given.")
        ] = None,
        name: Annotated[str | None, strawberry.argument(description="Its name there.")] = None,
    ) -> Experiment | None:
        context, row = info.context, None
        if id is not None:
            row = await found(context.loaders.experiment, id)
        elif project_id is None or name is None:
            raise errors.Invalid("neither an id nor a project and a name are given", path="id", hint="give one of them")
        elif of_project := ids.find(project_id):
            row = await experiments.by_name(context.pool, context.scope, of_project, texts.storable(name, "name"))
        return Experiment.from_row(row) if row else None


@strawberry.input(description="An experiment, by its name.")
class CreateExperimentInput:
    name: str = strawberry.field(description="Its name, 1 to 250 characters, unique in its project.")
    project_id: strawberry.ID | None = strawberry.field(default=None, description="The project, by id.")
    project_name: str = strawberry.field(default="default", description="The project, by name, when no id is given.")
    description: str = strawberry.field(default="", description="What it is about, up to 10,000 characters.")


@strawberry.type(description="There is an experiment of this name.")
class CreateExperimentPayload:
    experiment: Experiment = strawberry.field(description="The experiment.")
    created: bool = strawberry.field(description="Whether it was made now; false when it was there.")


CreateExperimentResult = Annotated[
    CreateExperimentPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("CreateExperimentResult", description="What createExperiment answers."),
]


@strawberry.type
class ExperimentMutation:
    @mutation("Make an experiment, or take the one that has this name; asking again changes nothing.")
    async def create_experiment(
        self, info: Info, input: Annotated[CreateExperimentInput, strawberry.argument(description="The experiment.")]
    ) -> CreateExperimentResult:
        context = info.context
        project_id = ids.given(input.project_id, "input.projectId")
        name = texts.storable(input.project_name, "input.projectName")
        projects.checked_description(input.description)
        async with context.pool.acquire() as conn:
            project = await projects.get(conn, context.scope, Action.START, id=project_id, name=name)
            row, created = await experiments.ensure(
                conn, context.scope.account_id, project.id, input.name, input.description
            )
        return CreateExperimentPayload(experiment=Experiment.from_row(row), created=created)
