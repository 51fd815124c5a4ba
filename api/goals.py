"""Goals: whether a project wants a metric small or large. Every change is kept; nothing is guessed from a name."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import strawberry

from api.accounts import Account, account
from api.auth import mutation
from api.context import Info
from api.errors import Forbidden, Invalid, NotFound, Unavailable
from db import goals, ids, texts
from db.goals import Goal

if TYPE_CHECKING:
    from api.projects import Project

CHANGES_MAX: Final = 1_000


@strawberry.type(description="The declared direction of a metric in a project.")
class MetricGoal:
    key: str = strawberry.field(description="The metric's key.")
    goal: Goal = strawberry.field(description="Which values are better.")
    changed_at: datetime = strawberry.field(description="When it was declared so.")
    changed_by_id: strawberry.Private[UUID]

    @strawberry.field(description="Who declared it so.")
    async def changed_by(self, info: Info) -> Account:
        return await account(info, self.changed_by_id)


@strawberry.type(description="A change of the goal of a metric.")
class MetricGoalChange:
    key: str = strawberry.field(description="The metric's key.")
    before: Goal | None = strawberry.field(description="The goal it had; null when it had none.")
    after: Goal | None = strawberry.field(description="The goal it got; null when it was taken back.")
    changed_at: datetime = strawberry.field(description="When.")
    changed_by_id: strawberry.Private[UUID]

    @strawberry.field(description="Who made the change.")
    async def changed_by(self, info: Info) -> Account:
        return await account(info, self.changed_by_id)


async def goals_of(info: Info, project_id: UUID) -> list[MetricGoal]:
    """The goals of a project, by key."""
    rows = await goals.of_projects(info.context.pool, info.context.scope, [project_id])
    return [
        MetricGoal(key=row.key, goal=row.goal, changed_at=row.changed_at, changed_by_id=row.changed_by) for row in rows
    ]


async def changes_of(info: Info, project_id: UUID, key: str | None) -> list[MetricGoalChange]:
    """What was changed about them, the newest first. Raises `Invalid`."""
    of_key = None if key is None else texts.storable(key, "key")
    rows = await goals.history(info.context.pool, info.context.scope, project_id, of_key, limit=CHANGES_MAX)
    return [
        MetricGoalChange(
            key=row.key,
            before=row.before,
            after=row.after,
            changed_at=row.changed_at,
            changed_by_id=row.changed_by,
        )
        for row in rows
    ]


@strawberry.input(description="The direction of a metric.")
class SetMetricGoalInput:
    key: str = strawberry.field(description="The metric's key.")
    goal: Goal | None = strawberry.field(default=None, description="Which values are better; null takes it back.")
    project_id: strawberry.ID | None = strawberry.field(default=None, description="The project, by id.")
    project_name: str = strawberry.field(default="default", description="The project, by name, when no id is given.")


@strawberry.type(description="The project has this goal.")
class SetMetricGoalPayload:
    project: Annotated["Project", strawberry.lazy("api.projects")] = strawberry.field(description="The project.")


SetMetricGoalResult = Annotated[
    SetMetricGoalPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("SetMetricGoalResult", description="What setMetricGoal answers."),
]


@strawberry.type
class GoalMutation:
    @mutation(
        "Declare whether a metric is better when small or when large, for all runs of a project; editors may. "
        "Comparisons then say which run is better. Every change is kept.",
        is_event=False,
    )
    async def set_metric_goal(
        self, info: Info, input: Annotated[SetMetricGoalInput, strawberry.argument(description="The metric, its goal.")]
    ) -> SetMetricGoalResult:
        from api.projects import Project

        context = info.context
        project_id = ids.given(input.project_id, "input.projectId")
        project = texts.storable(input.project_name, "input.projectName")
        row = await goals.set(
            context.pool, context.scope, input.key, input.goal, project_id=project_id, project=project
        )
        return SetMetricGoalPayload(project=Project.from_row(row))
