"""Accounts: who asks and who did what."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from api.context import Info
from db import access

if TYPE_CHECKING:
    from api.projects import Project
    from api.tokens import Token


@strawberry.type(description="Who did something.")
class Account:
    id: strawberry.ID = strawberry.field(description="The account's UUID.")
    name: str = strawberry.field(description="The account's name.")

    @classmethod
    def from_row(cls, row: access.Account) -> "Account":
        return cls(id=strawberry.ID(str(row.id)), name=row.name)


@strawberry.type(description="Your role in a project.")
class Membership:
    project: Annotated["Project", strawberry.lazy("api.projects")] = strawberry.field(description="The project.")
    role: access.Role = strawberry.field(description="What you may do there, with the token you sent.")


@strawberry.type(description="You: the account of the token you sent.")
class Viewer:
    id: strawberry.ID = strawberry.field(description="Your account's UUID.")
    name: str = strawberry.field(description="Your account's name.")
    is_admin: bool = strawberry.field(description="Whether you manage the instance.")

    @strawberry.field(description="The projects you belong to, by name.")
    async def memberships(self, info: Info) -> list[Membership]:
        from api.projects import Project

        roles = info.context.scope.roles
        rows = await info.context.loaders.project.load_many(list(roles))
        found = sorted((row for row in rows if row is not None), key=lambda row: row.name)
        return [Membership(project=Project.from_row(row), role=roles[row.id]) for row in found]

    @strawberry.field(
        description="Your live tokens, the newest first; with a token that has limits, only those that may do no more."
    )
    async def tokens(self, info: Info) -> list[Annotated["Token", strawberry.lazy("api.tokens")]]:
        from api.tokens import tokens_of_viewer

        return await tokens_of_viewer(info)


async def account(info: Info, account_id: UUID) -> Account:
    """The account of a row, fetched with the others of the request."""
    return Account.from_row(await info.context.loaders.account.load(account_id))


@strawberry.type
class AccountQuery:
    @strawberry.field(description="You: the account of the token you sent.")
    def viewer(self, info: Info) -> Viewer:
        scope = info.context.scope
        return Viewer(id=strawberry.ID(str(scope.account_id)), name=scope.account_name, is_admin=scope.is_admin)
