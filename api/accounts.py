"""Accounts: who asks, who did what, and how those who manage the instance let people in and out."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.auth import mutation
from api.connections import After, Connection, First, page
from api.context import Info
from api.errors import Conflict, Forbidden, Invalid, NameTaken, NotFound, Unavailable
from db import access, accounts, ids, texts

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


@strawberry.type(description="An account, as those see it who manage the instance.")
class ManagedAccount:
    id: strawberry.ID = strawberry.field(description="The account's UUID.")
    name: str = strawberry.field(description="Its name.")
    is_admin: bool = strawberry.field(description="Whether it manages the instance.")
    created_at: datetime = strawberry.field(description="When it was made.")
    disabled_at: datetime | None = strawberry.field(description="Since when none of its tokens works; null: they do.")
    last_used_at: datetime | None = strawberry.field(
        description="When one of its tokens was last used, to the minute; null: not yet."
    )

    @classmethod
    def from_row(cls, row: accounts.ManagedAccount) -> "ManagedAccount":
        return cls(
            id=strawberry.ID(str(row.id)),
            name=row.name,
            is_admin=row.is_admin,
            created_at=row.created_at,
            disabled_at=row.disabled_at,
            last_used_at=row.last_used_at,
        )


async def account(info: Info, account_id: UUID) -> Account:
    """The account of a row, fetched with the others of the request."""
    return Account.from_row(await info.context.loaders.account.load(account_id))


@strawberry.type
class AccountQuery:
    @strawberry.field(description="You: the account of the token you sent.")
    def viewer(self, info: Info) -> Viewer:
        scope = info.context.scope
        return Viewer(id=strawberry.ID(str(scope.account_id)), name=scope.account_name, is_admin=scope.is_admin)

    @strawberry.field(description="All accounts, by name; for those who manage the instance.")
    async def accounts(
        self,
        info: Info,
        search: Annotated[
            str, strawberry.argument(description="Only those with this in their name, in small or capital letters.")
        ] = "",
        first: First = 50,
        after: After = None,
    ) -> Connection[ManagedAccount]:
        pool, scope = info.context.pool, info.context.scope
        texts.searched(search, "search")

        async def fetch(start: list[Any] | None, limit: int) -> list[accounts.ManagedAccount]:
            return await accounts.page(pool, scope, search, after=start[0] if start else None, limit=limit)

        async def count() -> int:
            return await accounts.count(pool, scope, search)

        return await page(
            info.context,
            "accounts",
            [search],
            first,
            after,
            fetch=fetch,
            position=lambda row: [row.name],
            node=ManagedAccount.from_row,
            count=count,
        )


@strawberry.input(description="An account to make.")
class CreateAccountInput:
    name: str = strawberry.field(description="Who it is for, unique on this server; 1 to 250 characters.")
    is_admin: bool = strawberry.field(default=False, description="Whether it manages the instance.")
    days: int = strawberry.field(default=90, description="So many days its first token works, 1 to 365.")
    project_id: strawberry.ID | None = strawberry.field(
        default=None, description="A project that you own, to let it into."
    )
    project_name: str | None = strawberry.field(
        default=None, description="The same by name, when no id is given; neither: it is in no project yet."
    )
    role: access.Role = strawberry.field(default=access.Role.EDITOR, description="What it may do in that project.")


@strawberry.input(description="What to change of an account; what is absent stays.")
class SetAccountInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")
    name: str | None = strawberry.field(default=None, description="Its name, as createAccount takes it.")
    is_admin: bool | None = strawberry.field(default=None, description="Whether it manages the instance.")
    is_disabled: bool | None = strawberry.field(
        default=None, description="Whether all its tokens stop working, until it is let in again."
    )


@strawberry.input(description="An account that gets a new token in place of all it has.")
class ReplaceTokensInput:
    account_id: strawberry.ID = strawberry.field(description="The account.")
    days: int = strawberry.field(default=90, description="So many days the new token works, 1 to 365.")


@strawberry.type(description="The account is made. The secret of its first token is shown this once.")
class CreateAccountPayload:
    account: ManagedAccount = strawberry.field(description="The account.")
    secret: str = strawberry.field(description="Its first token, for whom it was made; it is not kept anywhere.")
    link: str = strawberry.field(description="What opens the dashboard with that token.")


@strawberry.type(description="The account is so.")
class SetAccountPayload:
    account: ManagedAccount = strawberry.field(description="The account.")


@strawberry.type(description="Only the new token of the account works. Its secret is shown this once.")
class ReplaceTokensPayload:
    account: ManagedAccount = strawberry.field(description="The account.")
    secret: str = strawberry.field(description="The new token, for whose it is; it is not kept anywhere.")
    link: str = strawberry.field(description="What opens the dashboard with that token.")


CreateAccountResult = Annotated[
    CreateAccountPayload | NotFound | Forbidden | NameTaken | Invalid | Unavailable,
    strawberry.union("CreateAccountResult", description="What createAccount answers."),
]
SetAccountResult = Annotated[
    SetAccountPayload | NotFound | Forbidden | NameTaken | Conflict | Invalid | Unavailable,
    strawberry.union("SetAccountResult", description="What setAccount answers."),
]
ReplaceTokensResult = Annotated[
    ReplaceTokensPayload | NotFound | Forbidden | Conflict | Invalid | Unavailable,
    strawberry.union("ReplaceTokensResult", description="What replaceTokens answers."),
]


@strawberry.type
class AccountMutation:
    @mutation("Make an account for somebody, with a first token; those who manage the instance may.", is_event=False)
    async def create_account(
        self, info: Info, input: Annotated[CreateAccountInput, strawberry.argument(description="The account.")]
    ) -> CreateAccountResult:
        row, secret = await accounts.create(
            info.context.pool,
            info.context.scope,
            input.name,
            is_admin=input.is_admin,
            days=input.days,
            project_id=ids.given(input.project_id, "input.projectId"),
            project=None if input.project_name is None else texts.storable(input.project_name, "input.projectName"),
            role=input.role,
        )
        return CreateAccountPayload(account=ManagedAccount.from_row(row), secret=secret, link=_link(info, secret))

    @mutation(
        "Rename an account, disable it, let it in again, let it manage the instance or not; those who do may. "
        "Takes hold as revokeToken does. Somebody always manages the instance.",
        is_event=False,
    )
    async def set_account(
        self, info: Info, input: Annotated[SetAccountInput, strawberry.argument(description="The change.")]
    ) -> SetAccountResult:
        row = await accounts.set(
            info.context.pool,
            info.context.scope,
            ids.parse(input.account_id, "input.accountId"),
            name=input.name,
            is_admin=input.is_admin,
            is_disabled=input.is_disabled,
        )
        return SetAccountPayload(account=ManagedAccount.from_row(row))

    @mutation(
        "Revoke all tokens of an account and make it a new one: for somebody who lost theirs, or whose were stolen. "
        "Those who manage the instance may.",
        is_event=False,
    )
    async def replace_tokens(
        self, info: Info, input: Annotated[ReplaceTokensInput, strawberry.argument(description="The account.")]
    ) -> ReplaceTokensResult:
        account_id = ids.parse(input.account_id, "input.accountId")
        row, secret = await accounts.replace_tokens(info.context.pool, info.context.scope, account_id, input.days)
        return ReplaceTokensPayload(account=ManagedAccount.from_row(row), secret=secret, link=_link(info, secret))


def _link(info: Info, secret: str) -> str:
    """The token is behind the `#`, which no browser sends and no log sees."""
    return f"{info.context.deps.settings.url}/#token={secret}"
