"""Saved views: links with a name, which always show the same."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from api.accounts import Account, account
from api.auth import mutation
from api.connections import After, Connection, First, page
from api.context import Info, found
from api.errors import Forbidden, Invalid, NotFound, Unavailable
from api.experiments import Experiment
from api.nodes import Node
from api.projects import Project
from db import errors, ids, saved_views


@strawberry.type(description="What somebody looked at, by a name. It never changes.")
class SavedView(Node):
    name: str = strawberry.field(description="Its name; others may have the same.")
    search: str = strawberry.field(description="What stands behind the ? in the address of the page.")
    created_at: datetime = strawberry.field(description="When it was saved.")
    row: strawberry.Private[saved_views.SavedView]

    @classmethod
    def from_row(cls, row: saved_views.SavedView) -> "SavedView":
        return cls(id=strawberry.ID(str(row.id)), name=row.name, search=row.search, created_at=row.created_at, row=row)

    @strawberry.field(description="The project it belongs to.")
    async def project(self, info: Info) -> Project:
        row = await info.context.loaders.project.load(self.row.project_id)
        assert row is not None, "who sees a view sees its project"
        return Project.from_row(row)

    @strawberry.field(description="The experiment that it is of; null when it is of the whole project.")
    async def experiment(self, info: Info) -> Experiment | None:
        if self.row.experiment_id is None:
            return None
        row = await info.context.loaders.experiment.load(self.row.experiment_id)
        return Experiment.from_row(row) if row else None

    @strawberry.field(description="Who saved it.")
    async def created_by(self, info: Info) -> Account:
        return await account(info, self.row.created_by)


@strawberry.type
class SavedViewQuery:
    @strawberry.field(description="One saved view; null when there is none for you to see.")
    async def saved_view(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> SavedView | None:
        row = await found(info.context.loaders.saved_view, id)
        return SavedView.from_row(row) if row else None

    @strawberry.field(description="Saved views, the newest first.")
    async def saved_views(
        self,
        info: Info,
        project_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this project; absent: of all yours.")
        ] = None,
        experiment_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this experiment.")
        ] = None,
        first: First = 50,
        after: After = None,
    ) -> Connection[SavedView]:
        context = info.context
        of_project = ids.given(project_id, "projectId")
        of_experiment = ids.given(experiment_id, "experimentId")

        async def fetch(start: list[Any] | None, limit: int) -> list[saved_views.SavedView]:
            position = (datetime.fromisoformat(start[0]), UUID(start[1])) if start else None
            return await saved_views.page(
                context.pool, context.scope, of_project, of_experiment, after=position, limit=limit
            )

        async def count() -> int:
            return await saved_views.count(context.pool, context.scope, of_project, of_experiment)

        return await page(
            context,
            "savedViews",
            [of_project, of_experiment],
            first,
            after,
            fetch=fetch,
            position=lambda row: [row.created_at, row.id],
            node=SavedView.from_row,
            count=count,
        )


@strawberry.input(description="A view to save.")
class SaveViewInput:
    name: str = strawberry.field(description="Its name, 1 to 250 characters.")
    search: str = strawberry.field(
        description="What stands behind the ? in the address of the page, at most 16,384 bytes."
    )
    experiment_id: strawberry.ID | None = strawberry.field(default=None, description="The experiment it is of.")
    project_id: strawberry.ID | None = strawberry.field(
        default=None, description="The project, when it is not of one experiment."
    )


@strawberry.type(description="The view is saved.")
class SaveViewPayload:
    view: SavedView = strawberry.field(description="The view.")


@strawberry.type(description="The view is deleted; its link leads nowhere.")
class DeleteSavedViewPayload:
    id: strawberry.ID = strawberry.field(description="The id that it had.")


SaveViewResult = Annotated[
    SaveViewPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("SaveViewResult", description="What saveView answers."),
]
DeleteSavedViewResult = Annotated[
    DeleteSavedViewPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("DeleteSavedViewResult", description="What deleteSavedView answers."),
]


@strawberry.type
class SavedViewMutation:
    @mutation("Save a view for all members of its project; editors may. It cannot be changed.", is_event=False)
    async def save_view(
        self, info: Info, input: Annotated[SaveViewInput, strawberry.argument(description="The view.")]
    ) -> SaveViewResult:
        context = info.context
        if input.experiment_id is None and input.project_id is None:
            raise errors.Invalid("neither an experiment nor a project is given", path="input.experimentId")
        row = await saved_views.save(
            context.pool,
            context.scope,
            input.name,
            input.search,
            project_id=ids.given(input.project_id, "input.projectId"),
            experiment_id=ids.given(input.experiment_id, "input.experimentId"),
        )
        return SaveViewPayload(view=SavedView.from_row(row))

    @mutation("Delete a view for ever; the editor who saved it may, and owners.", is_event=False)
    async def delete_saved_view(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The view.")]
    ) -> DeleteSavedViewResult:
        context = info.context
        await saved_views.delete(context.pool, context.scope, ids.parse(id, "id"))
        return DeleteSavedViewPayload(id=id)
