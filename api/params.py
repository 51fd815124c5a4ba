"""Params: the settings of a run, typed and written once."""

from collections.abc import Sequence
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry

from api.auth import mutation
from api.connections import Connection, page
from api.context import Info
from api.errors import Forbidden, Invalid, NotFound, ParamConflict, RunSealed, Unavailable
from api.scalars import ParamValue
from db import ids, params, runs, texts
from db.access import Action


@strawberry.type(description="A setting of a run.")
class Param:
    key: str = strawberry.field(description="Its name.")
    type: params.ParamType = strawberry.field(description="The kind of its value.")
    value: ParamValue | None = strawberry.field(description="Its value, exactly as logged.")
    attempt: int = strawberry.field(description="The attempt that logged it.")

    @classmethod
    def from_row(cls, row: params.Param) -> "Param":
        """The row as it is: it has these fields, and a request has thousands of them."""
        return cast("Param", row)


@strawberry.input(description="A setting of a run.")
class ParamInput:
    key: str = strawberry.field(description="Its name, 1 to 250 characters.")
    value: ParamValue | None = strawberry.field(default=None, description="Any JSON value, at most 64 KiB as text.")
    type: params.ParamType | None = strawberry.field(
        default=None, description='The kind of the value; absent: as its JSON. FLOAT takes "NaN" and "Infinity" too.'
    )


def given(inputs: Sequence[ParamInput]) -> list[params.Given]:
    """What the client sent, for `params.checked`: the inputs as they are, which have these fields."""
    return cast("list[params.Given]", inputs)


async def param_page(info: Info, run_id: UUID, prefix: str, first: int, after: str | None) -> Connection[Param]:
    """The params of a run, by key. Raises `Invalid`."""
    context = info.context
    texts.storable(prefix, "prefix")

    async def fetch(start: list[Any] | None, limit: int) -> list[params.Param]:
        key = start[0] if start else None
        return await context.loaders.param_pages.load((run_id, (prefix, key, limit)))

    async def count() -> int:
        return await params.count(context.pool, context.scope, run_id, prefix)

    return await page(
        context,
        "params",
        [run_id, prefix],
        first,
        after,
        fetch=fetch,
        position=lambda row: [row.key],
        node=Param.from_row,
        count=count,
    )


@strawberry.input(description="Params of a run.")
class LogParamsInput:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    params: list[ParamInput] = strawberry.field(description="All are stored, or none.")


@strawberry.type(description="The run has these params.")
class LogParamsPayload:
    run_id: strawberry.ID = strawberry.field(description="The run.")
    stored: int = strawberry.field(description="How many were new; the others it had with the same value.")


LogParamsResult = Annotated[
    LogParamsPayload | NotFound | Forbidden | Invalid | ParamConflict | RunSealed | Unavailable,
    strawberry.union("LogParamsResult", description="What logParams answers."),
]


@strawberry.type
class ParamMutation:
    @mutation("Store params, all or none. A value is written once: the same again is fine, another is refused.")
    async def log_params(
        self, info: Info, input: Annotated[LogParamsInput, strawberry.argument(description="The run and its params.")]
    ) -> LogParamsResult:
        context = info.context
        run_id = ids.parse(input.run_id, "input.runId")
        rows = params.checked(given(input.params))
        async with context.pool.acquire() as conn, conn.transaction():
            run = await runs.get(conn, context.scope, Action.APPEND, run_id)
            stored = await params.log(conn, run_id, run.attempt, rows)
        return LogParamsPayload(run_id=input.run_id, stored=stored)
