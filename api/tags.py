"""Tags: annotations of a run, changeable at any time, every change kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from api.accounts import Account, account
from api.auth import mutation
from api.context import Info
from api.errors import Forbidden, Invalid, NotFound, Unavailable
from db import ids, runs, tags
from db.access import Action

if TYPE_CHECKING:
    from api.runs import Run


@strawberry.type(description="An annotation of a run.")
class Tag:
    key: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its text.")
    changed_at: datetime = strawberry.field(description="When it got this value.")
    changed_by_id: strawberry.Private[UUID]

    @classmethod
    def from_row(cls, row: tags.Tag) -> "Tag":
        return cls(key=row.key, value=row.value, changed_at=row.changed_at, changed_by_id=row.changed_by)

    @strawberry.field(description="Who gave it this value.")
    async def changed_by(self, info: Info) -> Account:
        return await account(info, self.changed_by_id)


@strawberry.type(description="A change of a tag.")
class TagChange:
    key: str = strawberry.field(description="The tag's name.")
    before: str | None = strawberry.field(description="The value it had; null when it was new.")
    after: str | None = strawberry.field(description="The value it got; null when it was removed.")
    changed_at: datetime = strawberry.field(description="When.")
    changed_by_id: strawberry.Private[UUID]

    @classmethod
    def from_row(cls, row: tags.Change) -> "TagChange":
        return cls(
            key=row.key,
            before=row.before,
            after=row.after,
            changed_at=row.changed_at,
            changed_by_id=row.changed_by,
        )

    @strawberry.field(description="Who made the change.")
    async def changed_by(self, info: Info) -> Account:
        return await account(info, self.changed_by_id)


@strawberry.input(description="A tag to set or to remove.")
class TagInput:
    key: str = strawberry.field(description="Its name, 1 to 250 characters.")
    value: str | None = strawberry.field(default=None, description="Its text, at most 64 KiB; null removes the tag.")


def given(inputs: Sequence[TagInput]) -> list[tuple[str, str | None]]:
    """What the client sent, for `tags.checked`."""
    return [(one.key, one.value) for one in inputs]


@strawberry.input(description="Tags of a run.")
class SetTagsInput:
    run_id: strawberry.ID = strawberry.field(description="The run; it may have ended.")
    tags: list[TagInput] = strawberry.field(description="All are set, or none; other tags stay.")


@strawberry.type(description="The run has these tags.")
class SetTagsPayload:
    run: Annotated["Run", strawberry.lazy("api.runs")] = strawberry.field(description="The run.")


SetTagsResult = Annotated[
    SetTagsPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("SetTagsResult", description="What setTags answers."),
]


@strawberry.type
class TagMutation:
    @mutation("Set or remove tags, all or none, also after the run has ended. Every change is kept.")
    async def set_tags(
        self, info: Info, input: Annotated[SetTagsInput, strawberry.argument(description="The run and its tags.")]
    ) -> SetTagsResult:
        from api.runs import Run

        context = info.context
        run_id = ids.parse(input.run_id, "input.runId")
        rows = tags.checked(given(input.tags))
        async with context.pool.acquire() as conn, conn.transaction():
            run = await runs.get(conn, context.scope, Action.ANNOTATE, run_id)
            await tags.set(conn, context.scope.account_id, run_id, rows)
        return SetTagsPayload(run=Run.from_row(run))
