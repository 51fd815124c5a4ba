"""From a failure to what a client sees: a member of a result union, or an error of the request."""

import logging
import re
from typing import Any, TypeAlias, cast

import strawberry
from graphql import GraphQLError

from api.scalars import Int64, ParamValue
from db import errors

log = logging.getLogger(__name__)

MESSAGES_MAX = 5  # errors answered per request
MESSAGE_CHARACTERS_MAX = 1_000  # graphql-core quotes the value at fault, however long it is

# How graphql-core says which variable is at fault: "Variable '$input' has invalid value at .params[3]: ..."
VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ([^:]+))?:")


@strawberry.interface(description="A failure that the caller can expect and act on; nothing was stored.")
class UserError:
    code: errors.Code = strawberry.field(description="The kind of failure.")
    message: str = strawberry.field(description="What was refused and why, for a person.")
    path: str | None = strawberry.field(description='The argument at fault, such as "input.params[3].key".')
    limit: str | None = strawberry.field(description="The bound that was broken, with its unit.")
    hint: str | None = strawberry.field(description="What to do about it.")
    retryable: bool = strawberry.field(description="Whether the same request may succeed later.")
    request_id: str = strawberry.field(description="Quote it to the operator; the server's log has it.")

    @classmethod
    def from_failure(cls, failure: errors.RunstoneError, request_id: str) -> "UserError":
        """The failure as GraphQL shows it."""
        return cls(**_common(failure, request_id))


def _common(failure: errors.RunstoneError, request_id: str) -> dict[str, Any]:
    return {
        "code": failure.code,
        "message": failure.message,
        "path": failure.path,
        "limit": failure.limit,
        "hint": failure.hint,
        "retryable": failure.retryable,
        "request_id": request_id,
    }


@strawberry.type(description="There is no such object, or it is not yours to see; the two look the same.")
class NotFound(UserError):
    pass


@strawberry.type(description="You see the object, but may not do this to it.")
class Forbidden(UserError):
    pass


@strawberry.type(description="A value outside what is allowed; `path` and `limit` say which and what is.")
class Invalid(UserError):
    position: int | None = strawberry.field(
        description="Where the text at `path` is wrong, in characters from 0; null when it is wrong as a whole."
    )

    @classmethod
    def from_failure(cls, failure: errors.RunstoneError, request_id: str) -> "Invalid":
        assert isinstance(failure, errors.Invalid)
        return cls(**_common(failure, request_id), position=failure.position)


@strawberry.type(
    description="It contradicts what is there: an id that was used before with other content, or a project without an "
    "owner."
)
class Conflict(UserError):
    pass


@strawberry.type(description="Another object has this name.")
class NameTaken(UserError):
    pass


@strawberry.type(description="The param has another value already; params are written once.")
class ParamConflict(UserError):
    key: str = strawberry.field(description="The param's key.")
    stored_value: ParamValue | None = strawberry.field(description="The value that the run has.")
    given_value: ParamValue | None = strawberry.field(description="The value that was refused.")

    @classmethod
    def from_failure(cls, failure: errors.RunstoneError, request_id: str) -> "ParamConflict":
        assert isinstance(failure, errors.ParamConflict)
        return cls(
            **_common(failure, request_id),
            key=failure.key,
            stored_value=cast(ParamValue, failure.stored),
            given_value=cast(ParamValue, failure.given),
        )


@strawberry.type(description="A block of points came out of order, or its seq was used for other points.")
class SeqConflict(UserError):
    writer_id: strawberry.ID = strawberry.field(description="The writer whose blocks these are.")
    expected_seq: Int64 = strawberry.field(description="The seq that the writer's next block must have.")

    @classmethod
    def from_failure(cls, failure: errors.RunstoneError, request_id: str) -> "SeqConflict":
        assert isinstance(failure, errors.SeqConflict)
        return cls(
            **_common(failure, request_id),
            writer_id=strawberry.ID(failure.writer_id),
            expected_seq=Int64(failure.expected_seq),
        )


@strawberry.type(description="The run has other bytes at this path; artifacts are never overwritten.")
class ArtifactConflict(UserError):
    artifact_path: str = strawberry.field(description="The path that is taken.")

    @classmethod
    def from_failure(cls, failure: errors.RunstoneError, request_id: str) -> "ArtifactConflict":
        assert isinstance(failure, errors.ArtifactConflict)
        return cls(**_common(failure, request_id), artifact_path=failure.artifact_path)


@strawberry.type(description="The run has ended; what it recorded can no longer be added to or changed.")
class RunSealed(UserError):
    status: str = strawberry.field(description="How the run ended: FINISHED, FAILED, KILLED or LOST.")

    @classmethod
    def from_failure(cls, failure: errors.RunstoneError, request_id: str) -> "RunSealed":
        assert isinstance(failure, errors.RunSealed)
        return cls(**_common(failure, request_id), status=failure.status)


@strawberry.type(description="The upload was abandoned, aborted or took too long.")
class UploadExpired(UserError):
    pass


@strawberry.type(description="You have as much of this as you may have at once; `limit` says how much that is.")
class QuotaExceeded(UserError):
    pass


@strawberry.type(description="A part of the server does not answer now; send the same request again.")
class Unavailable(UserError):
    pass


BY_FAILURE: dict[type[errors.RunstoneError], type[UserError]] = {
    errors.NotFound: NotFound,
    errors.Forbidden: Forbidden,
    errors.Invalid: Invalid,
    errors.Conflict: Conflict,
    errors.NameTaken: NameTaken,
    errors.ParamConflict: ParamConflict,
    errors.SeqConflict: SeqConflict,
    errors.ArtifactConflict: ArtifactConflict,
    errors.RunSealed: RunSealed,
    errors.UploadExpired: UploadExpired,
    errors.QuotaExceeded: QuotaExceeded,
    errors.Unavailable: Unavailable,
}

Answer: TypeAlias = dict[str, Any]


def to_user_error(failure: errors.RunstoneError, request_id: str) -> UserError:
    """The failure as a member of a result union."""
    shown_as = next(BY_FAILURE[kind] for kind in type(failure).__mro__ if kind in BY_FAILURE)
    return shown_as.from_failure(failure, request_id)


def to_answer(failure: errors.RunstoneError, request_id: str) -> Answer:
    """The failure as an entry of `errors`."""
    extensions = {**_common(failure, request_id), **failure.more}
    message = extensions.pop("message")
    extensions["requestId"] = extensions.pop("request_id")
    extensions["position"] = failure.position if isinstance(failure, errors.Invalid) else None
    return {"message": message, "extensions": {key: value for key, value in extensions.items() if value is not None}}


def shown(errors_found: list[GraphQLError], request_id: str) -> list[Answer]:
    """What of the errors of an operation the client sees: expected ones as they are, bugs as "internal error"."""
    answers = []
    for error in errors_found[:MESSAGES_MAX]:
        answer = _answer(error, request_id)
        if error.path is not None:
            answer["path"] = error.path
        if error.locations is not None:
            answer["locations"] = [location.formatted for location in error.locations]
        answers.append(answer)
    for error in errors_found:
        _forget_frames(error)
    return answers


def _forget_frames(error: BaseException | None) -> None:
    """Let go of where it was raised, which holds the request: they refer to each other until garbage is collected."""
    while error is not None:
        error.__traceback__ = None
        error = error.original_error if isinstance(error, GraphQLError) else error.__cause__ or error.__context__


def _answer(error: GraphQLError, request_id: str) -> Answer:
    inner, cause = error, error.original_error
    while isinstance(cause, GraphQLError):
        inner, cause = cause, cause.original_error
    if cause is None:
        at = VARIABLE.match(error.message)
        path = {"path": at[1] + (at[2] or "")} if at else {}
        extensions = {"code": errors.Code.VALIDATION, "retryable": False, **path, **(inner.extensions or {})}
        return {
            "message": error.message[:MESSAGE_CHARACTERS_MAX],
            "extensions": {**extensions, "requestId": request_id},
        }
    failure = errors.known(cause)
    if failure is not None:
        return to_answer(failure, request_id)
    log.error("request %s failed at %s", request_id, error.path, exc_info=cause)
    return internal(request_id)


def internal(request_id: str) -> Answer:
    """What a client sees of a bug."""
    return {
        "message": "internal error",
        "extensions": {
            "code": "INTERNAL",
            "retryable": True,
            "requestId": request_id,
            "hint": "send the same request again; if it stays, quote the request id to the operator",
        },
    }
