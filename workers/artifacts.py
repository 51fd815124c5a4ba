"""Artifacts: find out whether the bytes that a client sent are the ones that it promised."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Final

from db import uploads
from db.artifacts import FailureReason
from db.pool import Pool
from db.uploads import Claim
from storage import keys
from storage.store import BrokenOff, Part, PartsChanged, Store, StoreError
from workers import queue
from workers.work import Deps, Job

LEASE_S: Final = 45.0
RENEW_S: Final = 15.0
RETRY_S: Final = 5.0
RELEASE_TIMEOUT_S: Final = 2.0
ATTEMPTS_MAX: Final = 5
AT_ONCE: Final = 6

log = logging.getLogger(__name__)


class Refused(Exception):
    """The bytes are not the ones that were promised, and never will be."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


async def claim(deps: Deps, limit: int) -> Sequence[Claim]:
    """Uploads that wait to be verified."""
    return await uploads.claim(deps.pool, limit, lease_s=LEASE_S)


async def finalize(deps: Deps, claimed: Claim) -> None:
    """Compare the bytes with the promise, then make the artifact READY or FAILED."""
    try:
        object_key = await _while_held(deps.pool, claimed, verified(deps.store, claimed))
    except Refused as refused:
        ended = await uploads.fail(deps.pool, claimed, refused.reason, refused.message)
    except StoreError as error:
        ended = await _put_off(deps.pool, claimed, error)
    except TimeoutError:
        log.warning("the claim on upload %s was lost to another worker", claimed.id)
        return
    except asyncio.CancelledError:
        async with asyncio.timeout(RELEASE_TIMEOUT_S):
            await uploads.release(deps.pool, claimed, delay_s=0, counts=False)
        raise
    except Exception:
        await uploads.release(deps.pool, claimed, delay_s=RETRY_S, counts=True)
        raise
    else:
        ended = await uploads.finalize(deps.pool, claimed, object_key)
    if ended:
        await queue.tell_of_events(deps.redis)
    if ended and claimed.staging_key is not None:
        await _clear(deps.store, claimed, claimed.staging_key)


JOB: Final = Job("artifacts", claim=claim, do=finalize, at_once=AT_ONCE)


async def verified(store: Store, claimed: Claim) -> str:
    """The key of the bytes, which are the promised ones. Raises `Refused`, `StoreError`."""
    if claimed.attempts > ATTEMPTS_MAX:
        raise Refused(FailureReason.POISON, f"{ATTEMPTS_MAX} attempts to verify the bytes ended without a result")
    content_key = keys.content(store.settings.prefix, claimed.project_id, claimed.digest)
    if claimed.staging_key is None:
        await _check_content(store, claimed, content_key)
    else:
        await _copy_staged(store, claimed, claimed.staging_key, content_key)
    return content_key


async def _check_content(store: Store, claimed: Claim, content_key: str) -> None:
    """The client could only write the promised bytes here; see whether it did."""
    found = await store.find(content_key)
    if found is None:
        raise _missing()
    _check_size(found.size_bytes, claimed.size_bytes)
    if found.sha256 != claimed.digest.hex():
        raise Refused(FailureReason.DIGEST_MISMATCH, "the stored object is described with another SHA-256")


async def _copy_staged(store: Store, claimed: Claim, staging_key: str, content_key: str) -> None:
    found = await store.find(staging_key)
    if found is None and claimed.multipart_id is not None and claimed.part_size_bytes is not None:
        await _join(store, claimed, staging_key)
        found = await store.find(staging_key)
    if found is None:
        raise _missing()
    _check_size(found.size_bytes, claimed.size_bytes)
    try:
        is_copied = await store.copy(staging_key, content_key, claimed.digest, claimed.size_bytes)
    except BrokenOff:
        # A store may let a client replace a part even after the parts were joined, which damages the whole.
        await _arrived(store, claimed, staging_key)
        raise
    if not is_copied:
        raise Refused(
            FailureReason.DIGEST_MISMATCH, f"the bytes that arrived do not have the SHA-256 {claimed.digest.hex()}"
        )


async def _join(store: Store, claimed: Claim, staging_key: str) -> None:
    parts = await _arrived(store, claimed, staging_key)
    try:
        await store.join(staging_key, claimed.multipart_id or "", parts)
    except PartsChanged as error:
        raise Refused(FailureReason.DIGEST_MISMATCH, "a part was replaced while the parts were joined") from error


async def _arrived(store: Store, claimed: Claim, staging_key: str) -> list[Part]:
    """The parts as they were promised and reported, empty when the store has forgotten them. Raises `Refused`."""
    if claimed.multipart_id is None or claimed.part_size_bytes is None:
        return []
    found = await store.parts(staging_key, claimed.multipart_id)
    if found is None:
        return []
    by_number = {part.number: part for part in found}
    count = -(-claimed.size_bytes // claimed.part_size_bytes)
    for number in range(1, count + 1):
        part = by_number.get(number)
        if part is None:
            raise Refused(FailureReason.MISSING, f"part {number} of {count} never arrived")
        _check_size(part.size_bytes, _size_of_part(claimed, number), f"part {number}")
        reported = claimed.parts.get(number, part.etag)
        if reported.strip('"') != part.etag.strip('"'):
            raise Refused(FailureReason.DIGEST_MISMATCH, f"part {number} was replaced after it was reported")
    return [by_number[number] for number in range(1, count + 1)]


def _size_of_part(claimed: Claim, number: int) -> int:
    assert claimed.part_size_bytes is not None
    return min(claimed.part_size_bytes, claimed.size_bytes - (number - 1) * claimed.part_size_bytes)


def _check_size(found_bytes: int, promised_bytes: int, what: str = "the object") -> None:
    if found_bytes != promised_bytes:
        raise Refused(FailureReason.SIZE_MISMATCH, f"{what} has {found_bytes} bytes and {promised_bytes} were promised")


def _missing() -> Refused:
    return Refused(
        FailureReason.MISSING,
        "the bytes never arrived, or the store refused them because their length or SHA-256 was not the promised one",
    )


async def _while_held(pool: Pool, claimed: Claim, work: Awaitable[str]) -> str:
    """The result of `work`. Raises `TimeoutError` when the claim could not be renewed in time."""
    async with asyncio.timeout(LEASE_S) as lease:
        renewing = asyncio.create_task(_renew(pool, claimed, lease))
        try:
            return await work
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])


async def _renew(pool: Pool, claimed: Claim, lease: asyncio.Timeout) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        with suppress(Exception):  # then the lease runs out, unless the next try succeeds
            if not await uploads.renew(pool, claimed, lease_s=LEASE_S):
                lease.reschedule(asyncio.get_running_loop().time())
                return
            lease.reschedule(asyncio.get_running_loop().time() + LEASE_S)


async def _put_off(pool: Pool, claimed: Claim, error: StoreError) -> bool:
    """Try again later, as long as the upload is waited for; whether it is over."""
    if claimed.is_overdue:
        return await uploads.fail(pool, claimed, FailureReason.STORAGE, str(error))
    log.warning("upload %s waits: %s", claimed.id, error)
    await uploads.release(pool, claimed, delay_s=RETRY_S, counts=isinstance(error, BrokenOff))
    return False


async def _clear(store: Store, claimed: Claim, staging_key: str) -> None:
    """Delete what was staged; the sweep finds what stays."""
    with suppress(StoreError):
        await store.delete(staging_key)
        if claimed.multipart_id is not None:
            await store.drop_multipart(staging_key, claimed.multipart_id)
