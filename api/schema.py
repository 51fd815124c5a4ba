"""The schema: what the nouns offer, put together. `python -m api.schema` prints it."""

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from api import accounts, errors, experiments, inputs, params, projects, runs, tags
from api.context import Info
from api.scalars import SCALARS

Query = merge_types(
    "Query",
    (
        accounts.AccountQuery,
        projects.ProjectQuery,
        experiments.ExperimentQuery,
        runs.RunQuery,
    ),
)
Mutation = merge_types(
    "Mutation",
    (
        projects.ProjectMutation,
        experiments.ExperimentMutation,
        runs.RunMutation,
        params.ParamMutation,
        tags.TagMutation,
        inputs.InputMutation,
    ),
)

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    types=[*errors.BY_FAILURE.values()],
    config=StrawberryConfig(info_class=Info, scalar_map=SCALARS),
)

if __name__ == "__main__":
    print(schema.as_str())
