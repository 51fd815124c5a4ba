"""Tokens: made, listed and revoked by the account that they speak for."""

from datetime import datetime
from typing import Annotated

import strawberry

from api.auth import mutation
from api.context import Info
from api.errors import Forbidden, Invalid, NotFound, Unavailable
from api.projects import Project
from db import ids, tokens
from db.access import Limits, Role


@strawberry.type(description="A token of yours, without its secret.")
class Token:
    id: strawberry.ID = strawberry.field(description="The part between `rs_` and its secret.")
    name: str = strawberry.field(description="What you called it; empty for one that the server made.")
    role: Role | None = strawberry.field(description="The most that it may do; null when it may do what you may.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(description="When it stops working; null for one without an end.")
    last_used_at: datetime | None = strawberry.field(description="When it was last used, to the minute; null: not yet.")
    is_current: bool = strawberry.field(description="Whether this request was sent with it.")
    limits: strawberry.Private[Limits]

    @classmethod
    def from_row(cls, row: tokens.Token, info: Info) -> "Token":
        return cls(
            id=strawberry.ID(row.id),
            name=row.name,
            role=row.limits.role,
            created_at=row.created_at,
            expires_at=row.limits.expires_at,
            last_used_at=row.last_used_at,
            is_current=row.id == info.context.scope.token_id,
            limits=row.limits,
        )

    @strawberry.field(description="The only project that it may use; null when it may use all of yours.")
    async def project(self, info: Info) -> Project | None:
        if self.limits.project_id is None:
            return None
        row = await info.context.loaders.project.load(self.limits.project_id)
        return Project.from_row(row) if row else None


async def tokens_of_viewer(info: Info) -> list[Token]:
    """The viewer's live tokens, the newest first."""
    rows = await tokens.of_viewer(info.context.pool, info.context.scope)
    return [Token.from_row(row, info) for row in rows]


@strawberry.input(description="A token to make.")
class CreateTokenInput:
    name: str = strawberry.field(description="What you call it, such as the machine that uses it; 1 to 250 characters.")
    project_id: strawberry.ID | None = strawberry.field(
        default=None, description="The only project that it may use; absent: all that the token you send may use."
    )
    role: Role | None = strawberry.field(
        default=None, description="The most that it may do; absent: what the token you send may do."
    )
    days: int = strawberry.field(
        default=90, description="So many days it works, 1 to 365; never longer than a token with limits that made it."
    )


@strawberry.type(description="The token is made. Its secret is shown this once.")
class CreateTokenPayload:
    token: Token = strawberry.field(description="The token.")
    secret: str = strawberry.field(description="What to send as `Authorization: Bearer`; it is not kept anywhere.")


@strawberry.type(description="The token is revoked.")
class RevokeTokenPayload:
    id: strawberry.ID = strawberry.field(description="The token.")


CreateTokenResult = Annotated[
    CreateTokenPayload | NotFound | Forbidden | Invalid | Unavailable,
    strawberry.union("CreateTokenResult", description="What createToken answers."),
]
RevokeTokenResult = Annotated[
    RevokeTokenPayload | NotFound | Invalid | Unavailable,
    strawberry.union("RevokeTokenResult", description="What revokeToken answers."),
]


@strawberry.type
class TokenMutation:
    @mutation("Make a token for yourself, which may do no more than the one you send.", is_event=False)
    async def create_token(
        self, info: Info, input: Annotated[CreateTokenInput, strawberry.argument(description="The token.")]
    ) -> CreateTokenResult:
        context = info.context
        project_id = ids.given(input.project_id, "input.projectId")
        row, secret = await tokens.create(
            context.pool, context.scope, input.name, project_id=project_id, role=input.role, days=input.days
        )
        return CreateTokenPayload(token=Token.from_row(row, info), secret=secret)

    @mutation(
        "Revoke a token of yours, even this one. Reading with it ends at once, logging and sockets within 5 seconds.",
        is_event=False,
    )
    async def revoke_token(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The token.")]
    ) -> RevokeTokenResult:
        await tokens.revoke(info.context.pool, info.context.scope, id)
        return RevokeTokenPayload(id=id)
