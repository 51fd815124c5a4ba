"""What this store really enforces, found out by trying: the promises of presigned requests are only as good."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final

import httpx

from storage import keys
from storage.presign import SHA256_METADATA, Request, Signer
from storage.store import Store, StoreError

TIMEOUT_S: Final = 10.0
BODY: Final = b"Runstone asks what this store enforces."
OTHER_BODY: Final = b"Runstone asks what this store enforced."
LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})
NOT_NOW: Final = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Probe:
    """What a store holds to, each True when it did."""

    checksum_enforced: bool  # other bytes than the signed SHA-256 promises are refused
    overwrite_refused: bool  # a second PUT with If-None-Match: * is refused
    content_put_works: bool  # a PUT with all our signed headers is taken
    length_enforced: bool
    expiry_checked: bool
    key_checked: bool
    signature_checked: bool
    headers_checked: bool  # a PUT without one of its signed headers is refused

    @property
    def is_trusted(self) -> bool:
        """Whether clients may write content keys; otherwise they write staging keys and the worker copies."""
        return not self.gaps

    @property
    def gaps(self) -> list[str]:
        """Names of what the store does not hold to."""
        return [field.name for field in fields(self) if not getattr(self, field.name)]


class Prober:
    """Asks the store once, however many ask for the answers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._answers: Probe | None = None

    async def answers(self) -> Probe:
        """What the store enforces. Raises `StoreError` when it does not answer; then the next call asks again."""
        async with self._lock:
            if self._answers is None:
                self._answers = await ask(self._store)
            return self._answers


async def ask(store: Store) -> Probe:
    """Try to cheat with presigned PUTs in every way. Raises `StoreError`.

    A few requests, one after the other, of some bytes onto staging keys; what was taken is deleted.
    """
    signer = await store.signer(internal=True)
    new_key = partial(keys.staging, store.settings.prefix)
    honest = _put(signer, new_key())
    moved, other_key = new_key(), new_key()
    attempts = {
        "checksum_enforced": (_put(signer, new_key()), OTHER_BODY),
        "length_enforced": (_put(signer, new_key()), BODY[:-1]),
        "expiry_checked": (_put(signer.at(datetime.now(UTC) - timedelta(hours=1)), new_key()), BODY),
        "key_checked": (_at(_put(signer, moved), moved, other_key), BODY),
        "signature_checked": (_forged(_put(signer, new_key())), BODY),
        "headers_checked": (_without(_put(signer, new_key()), SHA256_METADATA), BODY),
    }
    is_local = httpx.URL(signer.bucket_url).host in LOCAL
    try:
        async with asyncio.timeout(TIMEOUT_S), httpx.AsyncClient(trust_env=not is_local) as client:
            first, second = await _send(client, honest, BODY), await _send(client, honest, BODY)
            refused = {name: await _send(client, *attempt) >= 400 for name, attempt in attempts.items()}
    except (httpx.TransportError, TimeoutError) as error:
        raise StoreError(f"the store does not answer: {type(error).__name__}") from error
    with suppress(StoreError):  # the sweep finds what stays
        for request in (honest, *(request for name, (request, _) in attempts.items() if not refused[name])):
            await store.delete(request.key)
    return Probe(content_put_works=first < 300, overwrite_refused=second in {409, 412}, **refused)


async def lets_read(store: Store, origin: str) -> bool:
    """Whether pages of this origin may read what signed links lead to. Raises `StoreError`."""
    signer = await store.signer(internal=True)
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    is_local = httpx.URL(signer.bucket_url).host in LOCAL
    try:
        async with httpx.AsyncClient(trust_env=not is_local, timeout=TIMEOUT_S) as client:
            answer = await client.options(signer.get(keys.staging(store.settings.prefix), "x").url, headers=headers)
    except httpx.TransportError as error:
        raise StoreError(f"the store does not answer: {type(error).__name__}") from error
    return answer.headers.get("access-control-allow-origin") in {"*", origin}


def _put(signer: Signer, key: str) -> Request:
    return signer.put_content(key, sha256(BODY).digest(), len(BODY))


def _at(request: Request, key: str, other_key: str) -> Request:
    return replace(request, key=other_key, url=request.url.replace(key, other_key))


def _forged(request: Request) -> Request:
    last = "1" if request.url.endswith("0") else "0"
    return replace(request, url=request.url[:-1] + last)


def _without(request: Request, name: str) -> Request:
    return replace(request, headers={each: value for each, value in request.headers.items() if each != name})


async def _send(client: httpx.AsyncClient, request: Request, body: bytes) -> int:
    headers = {**request.headers, "content-length": str(len(body))}
    answer = await client.request(request.method, request.url, headers=headers, content=body)
    if answer.status_code in NOT_NOW:
        raise StoreError(f"the store answers {answer.status_code} now")
    return answer.status_code
