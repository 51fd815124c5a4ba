"""Projects: the unit of access and storage."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from api.accounts import Account, account
from api.auth import mutation
from api.connections import After, Connection, First, page
from api.context import Info, found
from api.errors import Forbidden, Invalid, NameTaken, Unavailable
from api.nodes import Node
from db import access, projects, texts

if TYPE_CHECKING:
    from api.experiments import Experiment
    from api.goals import MetricGoal, MetricGoalChange
    from api.members import Member


@strawberry.type(description="The unit of access and storage: experiments, runs and the bytes of their artifacts.")
class Project(Node):
    name: str = strawberry.field(description="Its name, unique on this server; also stands in addresses and scripts.")
    description: str = strawberry.field(description="What it is about; may be empty.")
    created_at: datetime = strawberry.field(description="When it was made.")
    row: strawberry.Private[projects.Project]

    @classmethod
    def from_row(cls, row: projects.Project) -> "Project":
        return cls(
            id=strawberry.ID(str(row.id)),
            name=row.name,
            description=row.description,
            created_at=row.created_at,
            row=row,
        )

    @strawberry.field(description="Who made it.")
    async def created_by(self, info: Info) -> Account:
        return await account(info, self.row.created_by)

    @strawberry.field(description="What you may do in it, with the token you sent.")
    def viewer_role(self, info: Info) -> access.Role:
        return info.context.scope.roles[self.row.id]

    @strawberry.field(description="Its experiments, by name.")
    async def experiments(
        self, info: Info, first: First = 50, after: After = None
    ) -> Connection[Annotated["Experiment", strawberry.lazy("api.experiments")]]:
        from api.experiments import experiment_page

        return await experiment_page(info, self.row.id, first, after)

    @strawberry.field(description="Who may do what in it, by name. A logger sees itself alone.")
    async def members(self, info: Info) -> list[Annotated["Member", strawberry.lazy("api.members")]]:
        from api.members import members_of

        return await members_of(info, self.row.id)

    @strawberry.field(description="Which of its metrics are better when small, and which when large; by key.")
    async def metric_goals(self, info: Info) -> list[Annotated["MetricGoal", strawberry.lazy("api.goals")]]:
        from api.goals import goals_of

        return await goals_of(info, self.row.id)

    @strawberry.field(description="What was changed about its goals, the newest first; at most 1,000 changes.")
    async def metric_goal_history(
        self, info: Info, key: Annotated[str | None, strawberry.argument(description="Only of this metric.")] = None
    ) -> list[Annotated["MetricGoalChange", strawberry.lazy("api.goals")]]:
        from api.goals import changes_of

        return await changes_of(info, self.row.id, key)


async def project_page(info: Info, first: int, after: str | None) -> Connection[Project]:
    """The viewer's projects, by name."""
    context = info.context

    async def fetch(start: list[Any] | None, limit: int) -> list[projects.Project]:
        return await projects.page(context.pool, context.scope, after=start[0] if start else None, limit=limit)

    async def count() -> int:
        return len(context.scope.roles)

    return await page(
        context,
        "projects",
        [],
        first,
        after,
        fetch=fetch,
        position=lambda row: [row.name],
        node=Project.from_row,
        count=count,
    )


@strawberry.type
class ProjectQuery:
    @strawberry.field(description="Your projects, by name.")
    async def projects(self, info: Info, first: First = 50, after: After = None) -> Connection[Project]:
        return await project_page(info, first, after)

    @strawberry.field(description="One project by its id or its name; null when there is none for you to see.")
    async def project(
        self,
        info: Info,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="Its id.")] = None,
        name: Annotated[str | None, strawberry.argument(description="Its name; used when no id is given.")] = None,
    ) -> Project | None:
        context = info.context
        if id is None:
            row = await projects.by_name(context.pool, context.scope, texts.storable(name or "", "name"))
        else:
            row = await found(context.loaders.project, id)
        return Project.from_row(row) if row else None


@strawberry.input(description="A new project.")
class CreateProjectInput:
    name: str = strawberry.field(
        description="Its name, unique on this server: 1 to 100 of a-z 0-9 . _ -, "
        "beginning and ending with a letter or digit."
    )
    description: str = strawberry.field(default="", description="What it is about, up to 10,000 characters.")


@strawberry.type(description="The project was made; you own it.")
class CreateProjectPayload:
    project: Project = strawberry.field(description="The new project.")


CreateProjectResult = Annotated[
    CreateProjectPayload | Forbidden | NameTaken | Invalid | Unavailable,
    strawberry.union("CreateProjectResult", description="What createProject answers."),
]


@strawberry.type
class ProjectMutation:
    @mutation("Make a project; you become its owner.")
    async def create_project(
        self, info: Info, input: Annotated[CreateProjectInput, strawberry.argument(description="The project.")]
    ) -> CreateProjectResult:
        context = info.context
        row = await projects.create(context.pool, context.scope, input.name, input.description)
        context.become_owner(row.id)
        return CreateProjectPayload(project=Project.from_row(row))
