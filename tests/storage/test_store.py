"""The store: finding, copying with verification, multipart uploads, and what it says when it cannot."""

import os
import uuid
from dataclasses import replace
from hashlib import sha256

import httpx
import pytest

from storage import keys
from storage.store import (
    PART_BYTES,
    PARTS_MAX,
    BrokenOff,
    Part,
    PartsChanged,
    Store,
    StoreError,
    open_store,
    part_size_bytes,
)

MIB = 1024 * 1024
SMALL, LARGE = os.urandom(1000), os.urandom(20 * MIB)


async def stage(store: Store, http: httpx.AsyncClient, body: bytes) -> str:
    """The staging key that holds `body` now."""
    request = (await store.signer()).put_staging(keys.staging(store.settings.prefix), len(body))
    answer = await http.request(request.method, request.url, headers=request.headers, content=body)
    assert answer.status_code == 200
    return request.key


async def read(store: Store, http: httpx.AsyncClient, key: str) -> bytes:
    return (await http.get((await store.signer()).get(key, "x").url)).content


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_copy_stores_what_it_hashed(store: Store, http: httpx.AsyncClient, body: bytes) -> None:
    source = await stage(store, http, body)
    digest = sha256(body).digest()
    target = keys.content(store.settings.prefix, uuid.uuid4(), digest)

    assert await store.copy(source, target, digest, len(body))

    assert await read(store, http, target) == body
    found = await store.find(target)
    assert found is not None
    assert found.sha256 == digest.hex()


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("fault", ["other digest", "shorter", "longer"])
async def test_copy_of_other_bytes_stores_nothing(
    store: Store, http: httpx.AsyncClient, body: bytes, fault: str
) -> None:
    promised = {"other digest": body + b"?", "shorter": body + b"more", "longer": body[: len(body) // 2]}[fault]
    source = await stage(store, http, body + (b"!" if fault == "longer" else b""))
    digest = sha256(promised).digest()
    target = keys.content(store.settings.prefix, uuid.uuid4(), digest)

    assert not await store.copy(source, target, digest, len(promised))

    assert await store.find(target) is None
    assert await store.stale_multiparts(-60) == []


async def test_missing_object_is_none_or_an_error(store: Store) -> None:
    assert await store.find("nothing") is None
    with pytest.raises(StoreError, match="NoSuchKey"):
        await store.copy("nothing", "target", bytes(32), 1)
    await store.delete("nothing")


async def test_parts_become_one_object(store: Store, http: httpx.AsyncClient) -> None:
    key, multipart_id = await begin(store)
    pieces = [LARGE[: 8 * MIB], LARGE[8 * MIB : 16 * MIB], LARGE[16 * MIB :]]
    for number, piece in enumerate(pieces, start=1):
        assert await send_part(store, http, key, multipart_id, number, piece) == 200

    parts = await store.parts(key, multipart_id)

    assert parts is not None
    assert [(part.number, part.size_bytes) for part in parts] == [(1, 8 * MIB), (2, 8 * MIB), (3, 4 * MIB)]
    await store.join(key, multipart_id, parts)
    assert await read(store, http, key) == LARGE


async def test_part_of_other_length_is_refused(store: Store, http: httpx.AsyncClient) -> None:
    key, multipart_id = await begin(store)
    request = (await store.signer()).put_part(key, multipart_id, 1, 1000)
    answer = await http.put(request.url, headers={"content-length": "1001"}, content=bytes(1001))
    assert answer.status_code == 403
    assert await store.parts(key, multipart_id) == []


async def test_part_that_was_replaced_is_not_joined(store: Store, http: httpx.AsyncClient) -> None:
    key, multipart_id = await begin(store)
    await send_part(store, http, key, multipart_id, 1, SMALL)
    parts = await store.parts(key, multipart_id)
    assert parts is not None

    await send_part(store, http, key, multipart_id, 1, SMALL[::-1])

    with pytest.raises(PartsChanged):
        await store.join(key, multipart_id, parts)


async def test_part_replaced_after_joining_breaks_the_read_and_not_the_copy(
    store: Store, http: httpx.AsyncClient
) -> None:
    # The embedded store lets a client do this. What was copied before is out of its reach.
    key, multipart_id = await begin(store)
    await send_part(store, http, key, multipart_id, 1, LARGE)
    await send_part(store, http, key, multipart_id, 2, SMALL)
    await store.join(key, multipart_id, await store.parts(key, multipart_id) or [])
    whole, digest = LARGE + SMALL, sha256(LARGE + SMALL).digest()
    target = keys.content(store.settings.prefix, uuid.uuid4(), digest)
    assert await store.copy(key, target, digest, len(whole))

    assert await send_part(store, http, key, multipart_id, 2, SMALL[::-1][:500]) == 200

    with pytest.raises(BrokenOff):
        await store.copy(key, target, digest, len(whole))
    assert await read(store, http, target) == whole


async def test_dropped_multipart_is_gone(store: Store, http: httpx.AsyncClient) -> None:
    key, multipart_id = await begin(store)
    await send_part(store, http, key, multipart_id, 1, SMALL)
    assert await store.stale_multiparts(-60) == [(key, multipart_id)]
    assert await store.stale_multiparts(3600) == []

    await store.drop_multipart(key, multipart_id)
    await store.drop_multipart(key, multipart_id)

    assert await store.parts(key, multipart_id) is None
    assert await store.stale_multiparts(-60) == []
    with pytest.raises(StoreError):
        await store.join(key, multipart_id, [Part(1, "x", 1)])


async def test_stale_stagings_are_listed_by_age(store: Store, http: httpx.AsyncClient) -> None:
    key = await stage(store, http, SMALL)
    assert await store.stale_stagings(-60) == [key]
    assert await store.stale_stagings(3600) == []
    await store.delete(key)
    assert await store.stale_stagings(-60) == []


async def test_bucket_is_made_when_missing(store: Store) -> None:
    assert not await store.ensure_bucket()
    async with open_store(replace(store.settings, bucket=f"other-{uuid.uuid4().hex[:8]}")) as other:
        assert await other.ensure_bucket()
        assert not await other.ensure_bucket()


async def test_store_that_does_not_answer_is_a_store_error(store: Store) -> None:
    async with open_store(replace(store.settings, endpoint_url="http://127.0.0.1:9")) as dead:
        with pytest.raises(StoreError, match="does not answer"):
            await dead.find("x")


async def test_wrong_secret_is_a_store_error(store: Store) -> None:
    async with open_store(replace(store.settings, secret_access_key="wrong")) as locked:
        with pytest.raises(StoreError, match="refused"):
            await locked.find("x")


@pytest.mark.parametrize(
    ("size_bytes", "part_bytes"),
    [(0, None), (64 * MIB, None), (64 * MIB + 1, PART_BYTES), (64 * MIB * PARTS_MAX, PART_BYTES), (1024**4, 105 * MIB)],
)
def test_no_file_has_more_than_ten_thousand_parts(size_bytes: int, part_bytes: int | None) -> None:
    found = part_size_bytes(size_bytes)
    assert found == part_bytes
    assert found is None or -(-size_bytes // found) <= PARTS_MAX


async def begin(store: Store) -> tuple[str, str]:
    key = keys.staging(store.settings.prefix)
    return key, await store.start_multipart(key)


async def send_part(
    store: Store, http: httpx.AsyncClient, key: str, multipart_id: str, number: int, body: bytes
) -> int:
    request = (await store.signer()).put_part(key, multipart_id, number, len(body))
    answer = await http.request(request.method, request.url, headers=request.headers, content=body)
    return answer.status_code
