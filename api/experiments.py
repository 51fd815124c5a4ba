"""Experiments: named collections of runs in a project."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.accounts import Account, account
from api.auth import mutation
from api.connections import After, Connection, First, page
from api.context import Info, found
from api.errors import Forbidden, Invalid, NotFound, Unavailable
from api.nodes import Node
from api.projects import Project
from db import experiments, ids, projects, runs
from db.access import Action

if TYPE_CHECKING:
    from api.runs import Run


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

    @strawberry.field(description="Its runs, the newest first.")
    async def runs(
        self, info: Info, first: First = 50, after: After = None
    ) -> Connection[Annotated["Run", strawberry.lazy("api.runs")]]:
        from api.runs import run_page

        return await run_page(info, runs.Selection(experiment_ids=[self.row.id]), first, after)


async def experiment_page(info: Info, project_id: UUID | None, first: int, after: str | None) -> Connection[Experiment]:
    """The experiments of one project, or of all that the viewer sees, by name."""
    context = info.context

    async def fetch(start: list[Any] | None, limit: int) -> list[experiments.Experiment]:
        position = (start[0], UUID(start[1])) if start else None
        return await experiments.page(context.pool, context.scope, project_id, after=position, limit=limit)

    async def count() -> int:
        return await experiments.count(context.pool, context.scope, project_id)

    return await page(
        context,
        "experiments",
        [project_id],
        first,
        after,
        fetch=fetch,
        position=lambda row: [row.name, row.id],
        node=Experiment.from_row,
        count=count,
    )


@strawberry.type
class ExperimentQuery:
    @strawberry.field(description="Experiments, by name.")
    async def experiments(
        self,
        info: Info,
        project_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this project; absent: of all yours.")
        ] = None,
        first: First = 50,
        after: After = None,
    ) -> Connection[Experiment]:
        return await experiment_page(info, ids.parse(project_id, "projectId") if project_id else None, first, after)

    @strawberry.field(description="One experiment; null when there is none for you to see.")
    async def experiment(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Experiment | None:
        row = await found(info.context.loaders.experiment, id)
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
        project_id = ids.parse(input.project_id, "input.projectId") if input.project_id else None
        projects.checked_description(input.description)
        async with context.pool.acquire() as conn:
            project = await projects.get(conn, context.scope, Action.START, id=project_id, name=input.project_name)
            row, created = await experiments.ensure(
                conn, context.scope.account_id, project.id, input.name, input.description
            )
        return CreateExperimentPayload(experiment=Experiment.from_row(row), created=created)
