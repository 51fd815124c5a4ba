"""GraphQL over HTTP to one server: one request, or one request until it is answered."""

import asyncio
import importlib
import json
import logging
import math
import random
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runstone.config import Config
from runstone.errors import (
    BY_HTTP_STATUS,
    Invalid,
    NotRunstone,
    RunstoneError,
    TimedOut,
    Unauthenticated,
    Unavailable,
    from_request_error,
    from_user_error,
)
from runstone.operations import document

if TYPE_CHECKING:  # importing httpx takes longer than everything else of ours, so it waits for the first request
    import httpx

log = logging.getLogger("runstone")

CONNECT_S: Final = 5.0
ANSWER_S: Final = 30.0
PATIENCE_S: Final = 20.0  # how long a person waits for a server that restarts
PATIENCE_AT_FIRST_S: Final = 2.0  # the same where no server was ever seen
SILENCE_S: Final = 2.0  # how long a person may wonder what we wait for
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 30.0


def pause_s(attempt: int, most_s: float = RETRY_MOST_S) -> float:
    """How long to wait before the next attempt: doubling, with jitter so that clients do not come back as one."""
    return min(most_s, RETRY_FIRST_S * 2.0 ** min(attempt, 20)) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret


# httpx logs every request with its full address; ours hold signatures, and a program's log is not the place for them.
_is_ours: ContextVar[bool] = ContextVar("runstone_request", default=False)


@contextmanager
def unlogged() -> Iterator[None]:
    """Keeps the requests made here out of httpx's log."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


def _is_not_ours(_: logging.LogRecord) -> bool:
    return not _is_ours.get()


async def open_http(url: str, **options: Any) -> "httpx.AsyncClient":
    """An HTTP client for addresses like `url`. It follows no redirect, and no proxy to this machine."""
    await asyncio.to_thread(_import_httpx)
    import httpx

    parts = urlsplit(url)
    if parts.scheme == "https":
        context = await asyncio.to_thread(httpx.create_ssl_context)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no one, and loads in no time
    logging.getLogger("httpx").addFilter(_is_not_ours)
    trust_env = parts.hostname not in {"127.0.0.1", "::1", "localhost"}
    return httpx.AsyncClient(verify=context, follow_redirects=False, trust_env=trust_env, **options)


def _import_httpx() -> None:
    """Import it without its command line, for which it would import click, rich and Pygments where they are there.

    That would take as long as all the rest of it. A module that is None in `sys.modules` is one that is not installed.
    """
    command_line = "httpx._main"
    if "httpx" in sys.modules:
        return
    sys.modules.setdefault(command_line, None)  # type: ignore[arg-type]  # typeshed knows no such thing
    try:
        importlib.import_module("httpx")
    finally:
        if sys.modules.get(command_line) is None:
            sys.modules.pop(command_line, None)


class Transport:
    """Asks one server. Open between `open` and `close`; belongs to the event loop that opened it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.requests = 0  # sent so far
        self._http: httpx.AsyncClient | None = None
        self._was_answered = False

    async def open(self) -> None:
        headers = {"Content-Type": "application/json"}
        if self.config.token is not None:
            headers["Authorization"] = self.config.token.header()
        self._http = await open_http(self.config.url, headers=headers)

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def call(
        self,
        operation: str,
        variables: Mapping[str, Any],
        *,
        patience_s: float | None = None,
        answer_s: float = ANSWER_S,
    ) -> dict[str, Any]:
        """The data of one of our operations; asked again while it fails in ways that pass, for `patience_s`.

        All our operations may be repeated: nothing is stored twice. Raises `RunstoneError`.
        """

        async def ask() -> dict[str, Any]:
            return await self.post(document(operation), variables, operation, answer_s=answer_s)

        return await self._asked(ask, patience_s)

    async def mutate(
        self,
        operation: str,
        variables: Mapping[str, Any],
        *,
        patience_s: float | None = None,
        answer_s: float = ANSWER_S,
    ) -> dict[str, Any]:
        """The payload of one of our operations that has a single field, asked again as in `call`.

        Raises the failure it answered.
        """

        async def ask() -> dict[str, Any]:
            answers = (await self.post(document(operation), variables, operation, answer_s=answer_s)).values()
            return payload(next(iter(answers), None))

        return await self._asked(ask, patience_s)

    async def _asked(self, ask: Callable[[], Awaitable[dict[str, Any]]], patience_s: float | None) -> dict[str, Any]:
        """What `ask` gives, once it no longer fails in ways that pass."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        attempt = 0
        told = patience_s == math.inf  # uploads go on in the background, where the sender speaks for all
        while True:
            try:
                return await ask()
            except RunstoneError as error:
                patience = patience_s
                if patience is None:
                    patience = PATIENCE_S if self._was_answered else PATIENCE_AT_FIRST_S
                pause = max(pause_s(attempt), error.retry_after_s or 0.0)
                waited_s = loop.time() - start
                # What answers in between may go; who waits in the background waits for that too.
                is_passing = error.retryable or (isinstance(error, NotRunstone) and patience_s == math.inf)
                if not is_passing or waited_s + pause > patience:
                    raise
                if not told and waited_s + pause > SILENCE_S:
                    told = True
                    log.warning("%s; trying again", error.message)
            await asyncio.sleep(pause)
            attempt += 1

    async def post(
        self, query: str, variables: Mapping[str, Any], operation: str | None = None, *, answer_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """The data of one request. Raises `RunstoneError`, retryable where no answer came."""
        import httpx

        assert self._http is not None, "the client is open"
        body = _encoded({"query": query, "variables": variables, "operationName": operation})
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        self.requests += 1
        try:
            with unlogged():
                response = await self._http.post(f"{self.config.url}/graphql", content=body, timeout=timeout)
        except httpx.ConnectError:
            raise Unavailable(
                f"no server answers at {self.config.url}", hint="start one with `runstone up`, or set RUNSTONE_URL"
            ) from None
        except httpx.TimeoutException:
            raise TimedOut(f"{self.config.url} gave no answer in {answer_s:g} s") from None
        except httpx.RequestError as error:
            raise Unavailable(f"the connection to {self.config.url} broke: {type(error).__name__}") from None
        self._was_answered = True
        return self._data(response)

    def _data(self, response: "httpx.Response") -> dict[str, Any]:
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if errors and isinstance(errors, list) and isinstance(errors[0], dict):
            error = from_request_error(errors[0], response.status_code)
            error.retry_after_s = _retry_after_s(response)
            raise self._with_hint(error)
        if response.is_success and not errors and isinstance(answer, dict) and isinstance(answer.get("data"), dict):
            data: dict[str, Any] = answer["data"]
            return data
        raise self._with_hint(self._refusal(response))

    def _refusal(self, response: "httpx.Response") -> RunstoneError:
        status = response.status_code
        if response.is_redirect:
            return NotRunstone(
                f"{self.config.url} redirects to another address", hint="set RUNSTONE_URL to where the server is"
            )
        if response.is_success:
            return self.not_runstone()
        kind = BY_HTTP_STATUS.get(status) or (Unavailable if status >= 500 else NotRunstone)
        return kind(
            f"{self.config.url} answered {status} {response.reason_phrase}".rstrip(),
            request_id=response.headers.get("x-request-id"),
            retry_after_s=_retry_after_s(response),
        )

    def not_runstone(self) -> NotRunstone:
        """What answered makes no sense."""
        return NotRunstone(f"what answers at {self.config.url} is not a Runstone server", hint="see RUNSTONE_URL")

    def _with_hint(self, error: RunstoneError) -> RunstoneError:
        if isinstance(error, Unauthenticated) and self.config.token is None:
            error.hint = "set RUNSTONE_TOKEN; the token file of RUNSTONE_HOME is only for a server on this machine"
        return error


def payload(answer: Any) -> dict[str, Any]:
    """The answer of a mutation when it is its payload. Raises the failure otherwise, `NotRunstone` when it is none."""
    kind = answer.get("__typename") if isinstance(answer, dict) else None
    if not isinstance(kind, str):
        raise NotRunstone("the answer to a mutation has no type", hint="see RUNSTONE_URL")
    if kind.endswith("Payload"):
        found: dict[str, Any] = answer
        return found
    raise from_user_error(answer)


def _encoded(content: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        hint = 'JSON has no NaN; send "NaN", "Infinity" or "-Infinity"'
        raise Invalid(f"the variables cannot be sent as JSON: {error}", hint=hint) from None


def _retry_after_s(response: "httpx.Response") -> float | None:
    """Seconds that the server asks to wait, at most a minute."""
    text = response.headers.get("retry-after", "")
    return min(60.0, float(text)) if text.isascii() and text.isdigit() else None
