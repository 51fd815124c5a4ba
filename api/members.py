"""Members of projects: who may do what there."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from api.accounts import Account, account
from api.auth import mutation
from api.context import Info
from api.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from db import ids, members, texts
from db.access import Role

if TYPE_CHECKING:
    from api.projects import Project


@strawberry.type(description="An account that may do something in a project.")
class Member:
    role: Role = strawberry.field(description="What it may do.")
    granted_at: datetime = strawberry.field(description="Since when it may.")
    account_id: strawberry.Private[UUID]

    @strawberry.field(description="Who it is.")
    async def account(self, info: Info) -> Account:
        return await account(info, self.account_id)


async def members_of(info: Info, project_id: UUID) -> list[Member]:
    """The members of a project, by name."""
    rows = await members.of_project(info.context.pool, info.context.scope, project_id)
    return [Member(role=row.role, granted_at=row.granted_at, account_id=row.account_id) for row in rows]


@strawberry.input(description="What an account may do in a project.")
class SetMemberInput:
    project_id: strawberry.ID = strawberry.field(description="The project.")
    account: str = strawberry.field(description="The account, by its name.")
    role: Role = strawberry.field(description="What it may do.")


@strawberry.input(description="An account that is to leave a project.")
class RemoveMemberInput:
    project_id: strawberry.ID = strawberry.field(description="The project.")
    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.type(description="The member has this role.")
class SetMemberPayload:
    project: Annotated["Project", strawberry.lazy("api.projects")] = strawberry.field(description="The project.")


@strawberry.type(description="The account is no member any more; what it made stays.")
class RemoveMemberPayload:
    account_id: strawberry.ID = strawberry.field(description="The account.")


SetMemberResult = Annotated[
    SetMemberPayload | NotFound | Forbidden | Conflict | Invalid | Unavailable,
    strawberry.union("SetMemberResult", description="What setMember answers."),
]
RemoveMemberResult = Annotated[
    RemoveMemberPayload | NotFound | Forbidden | Conflict | Invalid | Unavailable,
    strawberry.union("RemoveMemberResult", description="What removeMember answers."),
]


@strawberry.type
class MemberMutation:
    @mutation(
        "Let an account into a project, or give it another role; owners may. Takes hold as revokeToken does. The last "
        "owner stays one.",
        is_event=False,
    )
    async def set_member(
        self, info: Info, input: Annotated[SetMemberInput, strawberry.argument(description="The member.")]
    ) -> SetMemberResult:
        from api.projects import Project

        context, project_id = info.context, ids.parse(input.project_id, "input.projectId")
        account = texts.storable(input.account, "input.account")
        row = await members.set(context.pool, context.scope, project_id, account, input.role)
        return SetMemberPayload(project=Project.from_row(row))

    @mutation("Take an account out of a project; owners may. The last owner stays.", is_event=False)
    async def remove_member(
        self, info: Info, input: Annotated[RemoveMemberInput, strawberry.argument(description="The member.")]
    ) -> RemoveMemberResult:
        context, project_id = info.context, ids.parse(input.project_id, "input.projectId")
        account_id = ids.parse(input.account_id, "input.accountId")
        await members.remove(context.pool, context.scope, project_id, account_id)
        return RemoveMemberPayload(account_id=input.account_id)
