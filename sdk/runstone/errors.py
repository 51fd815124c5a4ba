"""What can go wrong, under the names that the schema uses.

The server sends a name and a code; the tables below turn them into classes. Nothing that a server sends is ever
looked up, imported or called by its name.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class RunstoneError(Exception):
    """Something was refused or could not be done: what, where, and what to do.

    `path` names the argument ("input.params[3].key"), `limit` the bound that was broken, `hint` the way out;
    `request_id` finds the request in the server's log. `retryable` says that the same call may succeed later.
    """

    code: str = "INTERNAL"
    retryable: bool = False
    details: ClassVar[Mapping[str, str]] = {}  # more fields of the schema's type, and their attributes here

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        limit: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.limit = limit
        self.hint = hint
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        parts = [self.message]
        if self.limit is not None:
            parts.append(f"(allowed: {self.limit})")
        if self.hint is not None:
            parts.append(f"- {self.hint}")
        if self.request_id is not None and self.code == "INTERNAL":
            parts.append(f"[request {self.request_id}]")
        return " ".join(parts)


class BadRequest(RunstoneError):
    """The server could not read the request, or what answered is not a Runstone server."""

    code = "BAD_REQUEST"


class NotRunstone(BadRequest):
    """What answered is not a Runstone server, but another program, or a page of a proxy or of a login in between."""


class StopRequested(RunstoneError):
    """Somebody asked for the run to stop; raised by `run.stop_if_requested()` only. `reason` is theirs, if given."""

    code = "STOP_REQUESTED"
    reason: str | None = None


class Unauthenticated(RunstoneError):
    """No token, or one that is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class Forbidden(RunstoneError):
    """You see the object, but may not do this to it."""

    code = "FORBIDDEN"


class NotFound(RunstoneError):
    """There is no such object, or it is not yours to see; the two look the same."""

    code = "NOT_FOUND"


class Invalid(RunstoneError, ValueError):
    """A value outside what is allowed; nothing was stored.

    `position` counts the characters of the text at `path`, from 0, to where it is wrong.
    """

    code = "VALIDATION"
    details: ClassVar[Mapping[str, str]] = {"position": "position"}
    position: int | None = None


class PayloadTooLarge(RunstoneError):
    """The request has more bytes than the server takes."""

    code = "PAYLOAD_TOO_LARGE"


class QueryTooComplex(RunstoneError):
    """The query would cost more than the server allows."""

    code = "QUERY_TOO_COMPLEX"


class Conflict(RunstoneError):
    """The id was used before, with other content."""

    code = "CONFLICT"


class NameTaken(Conflict):
    """Another object has this name."""


class ParamConflict(Conflict):
    """The param has another value already; params are written once."""

    details: ClassVar[Mapping[str, str]] = {"key": "key", "storedValue": "stored", "givenValue": "given"}
    key: str = ""
    stored: Any = None
    given: Any = None


class SeqConflict(Conflict):
    """A block of points came out of order, or its seq was used for other points."""

    details: ClassVar[Mapping[str, str]] = {"writerId": "writer_id", "expectedSeq": "expected_seq"}
    writer_id: str = ""
    expected_seq: int = 0


class ArtifactConflict(Conflict):
    """The run has other bytes at this path; artifacts are never overwritten."""

    details: ClassVar[Mapping[str, str]] = {"artifactPath": "artifact_path"}
    artifact_path: str = ""


class RunSealed(RunstoneError):
    """The run has ended; what it recorded can no longer be added to or changed."""

    code = "RUN_SEALED"
    details: ClassVar[Mapping[str, str]] = {"status": "status"}
    status: str = "FINISHED"


class UploadExpired(RunstoneError):
    """The upload was abandoned, aborted or took too long."""

    code = "UPLOAD_EXPIRED"


class UploadFailed(RunstoneError):
    """The file is not stored: its bytes did not arrive as announced, or not at all."""

    code = "UPLOAD_FAILED"


class DigestMismatch(RunstoneError):
    """The bytes that came are not those that the run recorded."""

    code = "DIGEST_MISMATCH"


class ExportFailed(RunstoneError):
    """The server could not write the files of the export, or has deleted them."""

    code = "EXPORT_FAILED"


class RateLimited(RunstoneError):
    """Too many requests at once."""

    code = "RATE_LIMITED"
    retryable = True


class QuotaExceeded(RunstoneError):
    """You have as much of this as you may have at once."""

    code = "QUOTA"


class TimedOut(RunstoneError):
    """The server gave up on the request."""

    code = "TIMEOUT"
    retryable = True


class SlowConsumer(RunstoneError):
    """The subscription was cut because its messages were not taken; continue behind the last one."""

    code = "SLOW_CONSUMER"
    retryable = True


class Unavailable(RunstoneError):
    """The server, or a part of it, does not answer now."""

    code = "UNAVAILABLE"
    retryable = True


class Internal(RunstoneError):
    """A fault of the server; its log has the reason under `request_id`."""

    code = "INTERNAL"
    retryable = True


class Incomplete(RunstoneError):
    """The run has ended or was left, and not all that was logged is stored; `finished` counts both."""

    code = "INCOMPLETE"
    finished: Any = None


BY_TYPENAME: Mapping[str, type[RunstoneError]] = {
    kind.__name__: kind
    for kind in (
        NotFound,
        Forbidden,
        Invalid,
        Conflict,
        NameTaken,
        ParamConflict,
        SeqConflict,
        ArtifactConflict,
        RunSealed,
        UploadExpired,
        QuotaExceeded,
        Unavailable,
    )
}

BY_CODE: Mapping[str, type[RunstoneError]] = {
    kind.code: kind
    for kind in (
        BadRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        Invalid,
        Conflict,
        RunSealed,
        PayloadTooLarge,
        QueryTooComplex,
        RateLimited,
        UploadExpired,
        QuotaExceeded,
        TimedOut,
        SlowConsumer,
        Unavailable,
        Internal,
    )
}

BY_HTTP_STATUS: Mapping[int, type[RunstoneError]] = {
    401: Unauthenticated,
    408: TimedOut,
    413: PayloadTooLarge,
    429: RateLimited,
    500: Internal,
    502: Unavailable,
    503: Unavailable,
    504: TimedOut,
}


def from_user_error(answer: Mapping[str, Any]) -> RunstoneError:
    """The exception for a failure that a mutation answered."""
    kind = BY_TYPENAME.get(answer["__typename"]) or BY_CODE.get(_text(answer.get("code")) or "", RunstoneError)
    return _filled(kind, _text(answer.get("message")) or "the server refused this", answer)


def from_request_error(answer: Mapping[str, Any], http_status: int) -> RunstoneError:
    """The exception for an entry of `errors`, where the request as a whole failed."""
    extensions = answer.get("extensions")
    fields = extensions if isinstance(extensions, Mapping) else {}
    code = _text(fields.get("code"))
    kind = BY_CODE.get(code or "") or BY_HTTP_STATUS.get(http_status, BadRequest if code else NotRunstone)
    return _filled(kind, _text(answer.get("message")) or "the server refused the request", fields)


def _filled(kind: type[RunstoneError], message: str, fields: Mapping[str, Any]) -> RunstoneError:
    error = kind(
        message,
        path=_text(fields.get("path")),
        limit=_text(fields.get("limit")),
        hint=_text(fields.get("hint")),
        request_id=_text(fields.get("requestId")),
    )
    error.retryable = bool(fields.get("retryable", kind.retryable))
    for name, attribute in kind.details.items():
        if name in fields:
            setattr(error, attribute, fields[name])
    return error


def _text(value: object) -> str | None:
    """What the server sent, when it is text."""
    return value if isinstance(value, str) else None
