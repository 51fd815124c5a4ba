"""Inputs: the datasets that a run read, each known by its digest."""

from typing import Annotated

import strawberry

from api.auth import mutation
from api.context import Info
from api.errors import Forbidden, Invalid, NotFound, RunSealed, Unavailable
from db import ids, inputs, runs
from db.access import Action


@strawberry.type(description="A dataset that a run read.")
class DatasetInput:
    name: str = strawberry.field(description="What people call the dataset.")
    digest: str = strawberry.field(description="What identifies its content, in the form its logger chose.")
    context: str | None = strawberry.field(description='What it was read for, such as "training".')
    uri: str | None = strawberry.field(description="Where it came from; never fetched by the server.")
    attempt: int = strawberry.field(description="The attempt that read it.")

    @classmethod
    def from_row(cls, row: inputs.Input) -> "DatasetInput":
        return cls(name=row.name, digest=row.digest, context=row.context or None, uri=row.uri, attempt=row.attempt)


@strawberry.input(description="A dataset that a run read.")
class DatasetInputInput:
    name: str = strawberry.field(description="What people call the dataset, 1 to 250 characters.")
    digest: str = strawberry.field(description="What identifies its content, 1 to 250 characters.")
    context: str | None = strawberry.field(default=None, description='What it was read for, such as "training".')
    uri: str | None = strawberry.field(default=None, description="Where it came from, at most 4,096 bytes.")


@strawberry.input(description="Datasets that a run read.")
class LogInputsInput:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    inputs: list[DatasetInputInput] = strawberry.field(description="At most 1,000; all are stored, or none.")


@strawberry.type(description="The run has these inputs.")
class LogInputsPayload:
    run_id: strawberry.ID = strawberry.field(description="The run.")


LogInputsResult = Annotated[
    LogInputsPayload | NotFound | Forbidden | Invalid | RunSealed | Unavailable,
    strawberry.union("LogInputsResult", description="What logInputs answers."),
]


@strawberry.type
class InputMutation:
    @mutation("Note the datasets that a run read, all or none; the same again changes nothing.")
    async def log_inputs(
        self, info: Info, input: Annotated[LogInputsInput, strawberry.argument(description="The run and its inputs.")]
    ) -> LogInputsResult:
        context = info.context
        run_id = ids.parse(input.run_id, "input.runId")
        rows = inputs.checked([inputs.Given(one.name, one.digest, one.context, one.uri) for one in input.inputs])
        async with context.pool.acquire() as conn, conn.transaction():
            run = await runs.get(conn, context.scope, Action.APPEND, run_id)
            await inputs.log(conn, run.project_id, run_id, run.attempt, rows)
        return LogInputsPayload(run_id=input.run_id)
