"""Frames: runs as columns, of whatever is asked for; for pages, notebooks and everything that draws tables."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, cast
from uuid import UUID

import strawberry
from strawberry.types.arguments import InputContext
from strawberry.types.base import get_object_definition

from api import cells
from api.cells import Cells
from api.connections import After, PageInfo, decode_cursor, encode_cursor, list_key
from api.context import Info
from api.filters import RunOrder, orders
from api.runs import Run
from api.selections import RunSelection
from db import fields, frames, runs, texts
from db.conditions import NEWEST_FIRST, Area, Attribute, Field, Stat
from db.errors import Invalid
from db.filters import Span
from db.frames import FrameColumn

ROWS_MAX: Final = 1_000
COLUMNS_MAX: Final = 500
DIFFERING_MAX: Final = 10_000  # runs of a selection that are looked at for differences
NO_COLUMNS: Final = {Attribute.ANCESTOR}  # of which a run has several


@strawberry.input(description="Something that a run has one of.")
class RunColumn:
    area: Area = strawberry.field(description="Where it lies; not DATASET.")
    key: str = strawberry.field(description='Its key; of attributes the name, such as "createdAt".')
    stat: Stat = strawberry.field(default=Stat.LAST, description="Which number of a metric.")

    def field(self, path: str) -> Field:
        """The field, as the tree of conditions has it. Raises `Invalid`."""
        try:
            found = fields.find(fields.AREAS[self.area][0], texts.storable(self.key, f"{path}.key"))
        except fields.Unknown as unknown:
            hint = f"did you mean {', '.join(unknown.suggestions)}?" if unknown.suggestions else None
            raise Invalid(unknown.message, path=f"{path}.key", hint=hint) from unknown
        if found.area is Area.DATASET or found.key in NO_COLUMNS:
            raise Invalid(f"{path}: a run may have several of these, so they are no column", path=path)
        return replace(found, stat=self.stat) if found.area is Area.METRIC else found


def _plainly(column: type[RunColumn], given: Mapping[str, Any], _: InputContext) -> RunColumn:
    return column(**given)


# Its fields have the same names and values in Python: looking at each takes 50 microseconds a column.
get_object_definition(RunColumn, strict=True).from_input = _plainly


def columns_of(given: Sequence[RunColumn], path: str) -> list[Field]:
    """The fields, in order. Raises `Invalid`."""
    if len(given) > COLUMNS_MAX:
        raise Invalid(f"{path} has {len(given)} columns", path=path, limit=f"{COLUMNS_MAX} columns")
    return [column.field(f"{path}[{index}]") for index, column in enumerate(given)]


class Whole:
    """All runs of a selection, read once, and only when a column is asked whether they differ in it."""

    def __init__(self, info: Info, selection: runs.Selection, fields: Sequence[Field]) -> None:
        self._context = info.context
        self._selection = selection
        self._fields = fields
        self._found: asyncio.Future[dict[Field, bool | None]] | None = None

    async def differs(self, field: Field) -> bool | None:
        """Whether any two of the newest runs differ in the field; None when they do not and there are more."""
        if self._found is None:
            self._found = asyncio.ensure_future(self._read())
        return (await self._found)[field]

    async def _read(self) -> dict[Field, bool | None]:
        pool, scope = self._context.pool, self._context.scope
        run_ids = await runs.first_ids(pool, scope, self._selection, limit=DIFFERING_MAX + 1)
        columns = await frames.read(pool, scope, run_ids[:DIFFERING_MAX], self._fields)
        same = None if len(run_ids) > DIFFERING_MAX else False
        return {field: column.differs or same for field, column in zip(self._fields, columns, strict=True)}


@strawberry.type(name="FrameColumn", description="A column: what each run has.")
class Shown:
    area: Area = strawberry.field(description="Where it lies.")
    key: str = strawberry.field(description="Its key.")
    stat: Stat | None = strawberry.field(description="Which number of a metric; null for others.")
    column: strawberry.Private[FrameColumn]
    whole: strawberry.Private["Whole | None"]
    field: strawberry.Private[Field]

    @classmethod
    def of(cls, field: Field, column: FrameColumn, whole: "Whole | None" = None) -> "Shown":
        stat = field.stat if field.area is Area.METRIC else None
        return cls(area=field.area, key=field.key, stat=stat, column=column, whole=whole, field=field)

    @strawberry.field(description="Whether every value that is there is a number.")
    def numeric(self) -> bool:
        return frames.is_numeric(self.column)

    @strawberry.field(description="Whether any two rows of this frame differ; one without it differs from one with.")
    def differs(self) -> bool:
        return self.column.differs

    @strawberry.field(
        description="The same over the whole selection, not only the page: over its newest 10,000 runs. Null when "
        "these do not differ but there are more, and for columns of groups. Ask for it once, not with each page."
    )
    async def differs_in_selection(self) -> bool | None:
        return await self.whole.differs(self.field) if self.whole else None

    @strawberry.field(description="Its values.")
    def cells(self) -> Cells:
        return cast(Cells, cells.column(self.column))


@strawberry.type(description="Runs as columns; each has one entry for each run, in the order of `ids`.")
class RunFrame:
    page_info: PageInfo = strawberry.field(description="Where this page lies in the list.")
    run_ids: strawberry.Private[list[UUID]]
    columns: list[Shown] = strawberry.field(description="The columns, in the order asked.")
    selection: strawberry.Private[runs.Selection]

    @strawberry.field(description="The ids of the runs.")
    def ids(self) -> Cells:
        return cast(Cells, cells.texts([str(run_id) for run_id in self.run_ids]))

    @strawberry.field(description="The same runs, as objects.")
    async def runs(self, info: Info) -> list[Run]:
        rows = await info.context.loaders.run.load_many(self.run_ids)
        return [Run.from_row(row) for row in rows if row]

    @strawberry.field(description="How many runs the whole selection has; counted only when asked for.")
    async def total_count(self, info: Info) -> int:
        return await runs.count(info.context.pool, info.context.scope, self.selection)


@strawberry.type
class FrameQuery:
    @strawberry.field(
        description="Runs as columns: a list for each param, metric, tag or attribute that is asked for. A thousand "
        "runs take a tenth of the time that they take as objects."
    )
    async def run_frame(
        self,
        info: Info,
        columns: Annotated[list[RunColumn], strawberry.argument(description="Which columns, at most 500.")],
        select: Annotated[RunSelection | None, strawberry.argument(description="Which; absent: all of yours.")] = None,
        order_by: Annotated[
            list[RunOrder] | None,
            strawberry.argument(description="In which order; absent: the newest first. As in `runs`."),
        ] = None,
        first: Annotated[int, strawberry.argument(description="How many runs at most, 1 to 1,000.")] = ROWS_MAX,
        after: After = None,
    ) -> RunFrame:
        if not 1 <= first <= ROWS_MAX:
            raise Invalid(f"first is {first}", path="first", limit=f"1 to {ROWS_MAX}")
        context = info.context
        asked = columns_of(columns, "columns")
        selection = select.checked() if select else runs.Selection()
        key = list_key(context, "runFrame", [str((select, order_by))])
        start = None if after is None else tuple(decode_cursor(key, after))
        found = await runs.page_of_ids(
            context.pool,
            context.scope,
            selection,
            orders(order_by, "orderBy") or NEWEST_FIRST,
            span=Span(first + 1, start),
        )
        run_ids = found.ids[:first]
        read = await frames.read(context.pool, context.scope, run_ids, asked)
        whole = Whole(info, selection, asked)
        return RunFrame(
            page_info=PageInfo(
                has_next_page=len(found.ids) > first,
                has_previous_page=after is not None,
                start_cursor=encode_cursor(key, list(found.position(0))) if run_ids else None,
                end_cursor=encode_cursor(key, list(found.position(len(run_ids) - 1))) if run_ids else None,
            ),
            run_ids=run_ids,
            columns=[Shown.of(field, column, whole) for field, column in zip(asked, read, strict=True)],
            selection=selection,
        )
