"""The failures a caller can expect, each with one name from the constraint to the SDK's exception."""

import reprlib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

import asyncpg


class Code(StrEnum):
    """The kind of a failure, stable for programs."""

    BAD_REQUEST = "BAD_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    VALIDATION = "VALIDATION"
    CONFLICT = "CONFLICT"
    RUN_SEALED = "RUN_SEALED"
    UPLOAD_EXPIRED = "UPLOAD_EXPIRED"
    QUOTA = "QUOTA"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    QUERY_TOO_COMPLEX = "QUERY_TOO_COMPLEX"
    RATE_LIMITED = "RATE_LIMITED"
    TIMEOUT = "TIMEOUT"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class RunstoneError(Exception):
    """An expected failure, safe to show: what was refused, where, and what to do.

    `path` names the argument ("params[3].key"), `limit` the bound that was broken, `hint` the way out. Of one that is
    retryable `retry_after_s` says when; `more` are further facts for programs.
    """

    code: ClassVar[Code] = Code.INTERNAL
    retryable: ClassVar[bool] = False
    retry_after_s: int = 1
    more: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self, message: str, *, path: str | None = None, limit: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.limit = limit
        self.hint = hint


class Unauthenticated(RunstoneError):
    """No token, or one that is unknown, expired or revoked."""

    code = Code.UNAUTHENTICATED


class Forbidden(RunstoneError):
    """The viewer sees the object but may not do this to it."""

    code = Code.FORBIDDEN


class NotFound(RunstoneError):
    """There is no such object, or it is not the viewer's to see; the two look the same."""

    code = Code.NOT_FOUND


class Invalid(RunstoneError):
    """A value outside what is allowed; nothing was stored.

    `position` counts the characters of the text at `path`, from 0, to where it is wrong.
    """

    code = Code.VALIDATION

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        limit: str | None = None,
        hint: str | None = None,
        position: int | None = None,
    ) -> None:
        super().__init__(message, path=path, limit=limit, hint=hint)
        self.position = position


class Conflict(RunstoneError):
    """It contradicts what is there: an id that was used before with other content, or nobody left who decides."""

    code = Code.CONFLICT


class NameTaken(Conflict):
    """Another object has this name."""


class ParamConflict(Conflict):
    """The param has another value already; params are written once."""

    def __init__(self, key: str, stored: object, given: object, *, path: str | None = None) -> None:
        super().__init__(
            f"param {key!r} is {reprlib.repr(stored)} and cannot become {reprlib.repr(given)}",
            path=path,
            hint="params are written once; log the new value under another key or in a new run",
        )
        self.key = key
        self.stored = stored
        self.given = given


class SeqConflict(Conflict):
    """A block of points came out of order, or its number was used for other points."""

    def __init__(self, message: str, *, writer_id: str, expected_seq: int, path: str | None = None) -> None:
        super().__init__(message, path=path, hint=f"the writer's next block has seq {expected_seq}")
        self.writer_id = writer_id
        self.expected_seq = expected_seq


class ArtifactConflict(Conflict):
    """The run has another artifact at this path; artifacts are never overwritten."""

    def __init__(self, artifact_path: str, *, path: str | None = None) -> None:
        super().__init__(
            f"the run has other bytes at {artifact_path!r}",
            path=path,
            hint="artifacts are never overwritten; choose another path",
        )
        self.artifact_path = artifact_path


class RunSealed(RunstoneError):
    """The run has ended; what it recorded can no longer be added to or changed."""

    code = Code.RUN_SEALED

    def __init__(self, message: str, *, status: str = "FINISHED", path: str | None = None) -> None:
        super().__init__(message, path=path, hint="resume the run to log more: that is a new attempt")
        self.status = status


class UploadExpired(RunstoneError):
    """The upload was abandoned, aborted or took too long."""

    code = Code.UPLOAD_EXPIRED


class QuotaExceeded(RunstoneError):
    """The viewer has as much of this as it may have; there is room again when some of it is over."""

    code = Code.QUOTA


class Unavailable(RunstoneError):
    """A part of the server does not answer now; the same request may be sent again."""

    code = Code.UNAVAILABLE
    retryable = True


class TimedOut(Unavailable):
    """The database was given up on, because it took too long for this."""

    code = Code.TIMEOUT


# A constraint that a caller can break, and the failure it stands for.
BY_CONSTRAINT: dict[str, type[RunstoneError]] = {
    "project_name_key": NameTaken,
    "project_has_owner": Conflict,
    "account_name_key": NameTaken,
    "instance_has_admin": Conflict,
    "run_is_open": RunSealed,
    "run_depth_max": Invalid,
    "run_pkey": Conflict,
    "param_pkey": Conflict,
}

# What Postgres says of a key that is there already names tables and columns: callers get these words, and the argument.
TAKEN: dict[str, tuple[str, str]] = {
    "project_name_key": ("another project has this name", "input.name"),
    "account_name_key": ("another account has this name", "input.name"),
    "run_pkey": ("another run has this id", "input.id"),
    "param_pkey": ("the run has a param of this key", "input.params"),
}

# SQLSTATE classes that pass by themselves: connection lost, out of resources, shutdown, serialization, lock timeout.
RETRYABLE_CLASSES = ("08", "53", "57", "40", "55")


def known(error: BaseException) -> RunstoneError | None:
    """The failure that a database error stands for; None for a bug."""
    match error:
        case RunstoneError():
            return error
        case asyncpg.IntegrityConstraintViolationError() if error.constraint_name in BY_CONSTRAINT:
            words, path = TAKEN.get(error.constraint_name, (str(error), None))
            return BY_CONSTRAINT[error.constraint_name](words, path=path)
        case asyncpg.DataError():
            return Invalid("a value cannot be stored: text with NUL or half a character, or a number out of range")
        case asyncpg.QueryCanceledError():
            return TimedOut("the database took too long for this", hint="ask for less at a time, or the same later")
        case asyncpg.PostgresError() if not (error.sqlstate or "").startswith(RETRYABLE_CLASSES):
            return None
        # asyncpg raises InternalClientError when a connection breaks at an unlucky moment.
        case asyncpg.PostgresError() | asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return Unavailable("the database does not answer now", hint="send the same request again")
        case ConnectionError() | TimeoutError():
            return Unavailable("the database does not answer now", hint="send the same request again")
    return None
