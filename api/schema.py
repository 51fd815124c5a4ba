"""The schema: what the nouns offer, put together. `python -m api.schema` prints it."""

import sys

import strawberry
from graphql import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from api import (
    accounts,
    artifacts,
    cells,
    columns,
    compare,
    errors,
    events,
    experiments,
    exports,
    facets,
    filters,
    frames,
    goals,
    groupings,
    inputs,
    members,
    metric_frames,
    metrics,
    nodes,
    params,
    points,
    projects,
    runs,
    saved_views,
    series,
    server,
    tags,
    tokens,
)
from api.context import Info
from api.scalars import SCALARS

Query = merge_types(
    "Query",
    (
        accounts.AccountQuery,
        projects.ProjectQuery,
        experiments.ExperimentQuery,
        runs.RunQuery,
        filters.FilterQuery,
        facets.FacetQuery,
        artifacts.ArtifactQuery,
        exports.ExportQuery,
        compare.CompareQuery,
        frames.FrameQuery,
        groupings.GroupQuery,
        series.SeriesQuery,
        metric_frames.MetricFrameQuery,
        saved_views.SavedViewQuery,
        nodes.NodeQuery,
        server.ServerQuery,
    ),
)
Mutation = merge_types(
    "Mutation",
    (
        projects.ProjectMutation,
        experiments.ExperimentMutation,
        runs.RunMutation,
        params.ParamMutation,
        metrics.MetricMutation,
        tags.TagMutation,
        goals.GoalMutation,
        inputs.InputMutation,
        artifacts.ArtifactMutation,
        exports.ExportMutation,
        saved_views.SavedViewMutation,
        accounts.AccountMutation,
        tokens.TokenMutation,
        members.MemberMutation,
    ),
)
Subscription = merge_types("Subscription", (events.EventSubscription, points.PointSubscription))

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[*errors.BY_FAILURE.values()],
    config=StrawberryConfig(info_class=Info, scalar_map={**SCALARS, **columns.SCALARS, **cells.SCALARS}),
)


def contract() -> str:
    """The text of schema.graphql."""
    return print_schema(schema._schema) + "\n"


if __name__ == "__main__":
    sys.stdout.write(contract())
