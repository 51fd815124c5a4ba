"""Anything by its id."""

import asyncio
from typing import Annotated

import strawberry

from api.context import Info, found


@strawberry.interface(description="Anything with an id that is unique over all kinds.")
class Node:
    id: strawberry.ID = strawberry.field(description="Its UUID.")


@strawberry.type
class NodeQuery:
    @strawberry.field(description="What has this id, such as a project, a run or an export; null when you see none.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Node | None:
        from api.artifacts import Artifact
        from api.experiments import Experiment
        from api.exports import Export
        from api.projects import Project
        from api.runs import Run
        from api.saved_views import SavedView

        loaders = info.context.loaders
        project, experiment, run, artifact, export, view = await asyncio.gather(
            found(loaders.project, id),
            found(loaders.experiment, id),
            found(loaders.run, id),
            found(loaders.artifact, id),
            found(loaders.export, id),
            found(loaders.saved_view, id),
        )
        if project:
            return Project.from_row(project)
        if experiment:
            return Experiment.from_row(experiment)
        if run:
            return Run.from_row(run)
        if artifact:
            return Artifact.from_row(artifact)
        if export:
            return Export.from_row(export)
        return SavedView.from_row(view) if view else None
