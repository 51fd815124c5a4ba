"""What uploads rely on: the embedded store checks what a link promises."""

import base64
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aioboto3
import httpx
import pytest
import pytest_asyncio
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from deploy.local.swift_filters import TOKEN_HEADER, Cache
from settings import Settings
from tests.deploy.processes import children, healed, listening

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

BODY = b"weights" * 1000
ORIGIN = "https://dashboard.example"


def sha256(body: bytes) -> str:
    """The digest as S3 writes it."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


@pytest_asyncio.fixture
async def s3(running: Settings) -> "AsyncIterator[S3Client]":
    """A client with the credentials of the store."""
    assert running.s3 is not None
    async with aioboto3.Session().client(
        "s3",
        endpoint_url=running.s3.endpoint_url,
        region_name=running.s3.region,
        aws_access_key_id=running.s3.access_key_id,
        aws_secret_access_key=running.s3.secret_access_key,
        config=AioConfig(signature_version="s3v4", s3={"addressing_style": "path"}),
    ) as client:
        yield client


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials, as an uploader has."""
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
        yield client


async def link(s3: "S3Client", key: str) -> tuple[str, dict[str, str]]:
    """A link to put BODY there once, and the headers that it signs."""
    url = await s3.generate_presigned_url(
        "put_object",
        Params={
            "Bucket": "runstone",
            "Key": key,
            "ContentLength": len(BODY),
            "ContentType": "application/octet-stream",
            "ChecksumSHA256": sha256(BODY),
            "IfNoneMatch": "*",
            "Metadata": {"sha256": sha256(BODY)},
        },
        ExpiresIn=60,
    )
    return url, {
        "content-type": "application/octet-stream",
        "x-amz-checksum-sha256": sha256(BODY),
        "x-amz-meta-sha256": sha256(BODY),
        "if-none-match": "*",
    }


def large_files(home: Path, size_bytes: int) -> list[Path]:
    """The files of stored objects that are so large."""
    return [path for path in (home / "s3").rglob("*.data") if path.stat().st_size >= size_bytes]


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return f"tests/{uuid.uuid4()}"


async def test_the_promised_body_is_taken_and_its_digest_comes_back(
    s3: "S3Client", http: httpx.AsyncClient, key: str
) -> None:
    url, headers = await link(s3, key)

    answer = await http.put(url, content=BODY, headers=headers)

    assert answer.status_code == 200
    head = await s3.head_object(Bucket="runstone", Key=key)
    assert head["ContentLength"] == len(BODY)
    assert head["Metadata"] == {"sha256": sha256(BODY)}


async def test_another_body_is_refused_and_not_stored(s3: "S3Client", http: httpx.AsyncClient, key: str) -> None:
    url, headers = await link(s3, key)

    answer = await http.put(url, content=BODY.replace(b"w", b"W"), headers=headers)

    assert answer.status_code == 400
    assert "BadDigest" in answer.text
    with pytest.raises(ClientError, match="404"):
        await s3.head_object(Bucket="runstone", Key=key)


async def test_a_second_put_is_refused(s3: "S3Client", http: httpx.AsyncClient, key: str) -> None:
    url, headers = await link(s3, key)
    await http.put(url, content=BODY, headers=headers)

    answer = await http.put(url, content=BODY, headers=headers)

    assert answer.status_code == 412


@pytest.mark.parametrize("header", ["x-amz-checksum-sha256", "x-amz-meta-sha256", "if-none-match", "content-type"])
async def test_a_signed_header_cannot_be_changed(
    s3: "S3Client", http: httpx.AsyncClient, key: str, header: str
) -> None:
    url, headers = await link(s3, key)

    answer = await http.put(url, content=BODY, headers={**headers, header: "x"})

    assert answer.status_code in {400, 403, 501}


async def test_a_page_can_read_a_refusal(s3: "S3Client", http: httpx.AsyncClient, key: str) -> None:
    url, headers = await link(s3, key)

    preflight = await http.request(
        "OPTIONS",
        url,
        headers={
            "origin": ORIGIN,
            "access-control-request-method": "PUT",
            "access-control-request-headers": ",".join(headers),
        },
    )
    refusal = await http.put(url, content=b"short", headers={**headers, "origin": ORIGIN})

    assert preflight.status_code == 200
    assert "x-amz-checksum-sha256" in preflight.headers["access-control-allow-headers"]
    assert refusal.status_code == 403
    assert refusal.headers.get_list("access-control-allow-origin") == ["*"]


async def test_strangers_are_refused(running: Settings, http: httpx.AsyncClient) -> None:
    assert running.s3 is not None

    answer = await http.get(f"{running.s3.endpoint_url}/runstone")

    assert answer.status_code >= 400


async def test_the_inner_servers_answer_to_nobody_else(running: Settings, http: httpx.AsyncClient) -> None:
    assert running.s3 is not None
    [store] = children(running.home, "s3")
    inner = listening(store) - {urlsplit(running.s3.endpoint_url or "").port}
    assert len(inner) == 3

    for port in inner:
        for headers in ({}, {TOKEN_HEADER: "guess"}):
            answer = await http.get(f"http://127.0.0.1:{port}/disk/0/AUTH_runstone", headers=headers)
            assert answer.status_code == 403


async def test_a_large_object_leaves_nothing_when_deleted(s3: "S3Client", running: Settings, key: str) -> None:
    part = os.urandom(5 * 1024 * 1024)
    upload_id = (await s3.create_multipart_upload(Bucket="runstone", Key=key))["UploadId"]
    parts: list[CompletedPartTypeDef] = []
    for number in (1, 2):
        stored = await s3.upload_part(
            Bucket="runstone",
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            Body=part,
            ChecksumSHA256=sha256(part),
        )
        parts.append({"PartNumber": number, "ETag": stored["ETag"]})
    await s3.complete_multipart_upload(Bucket="runstone", Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})
    assert (await s3.head_object(Bucket="runstone", Key=key))["ContentLength"] == 2 * len(part)
    assert len(large_files(running.home, len(part))) == 2

    await s3.delete_object(Bucket="runstone", Key=key)

    assert large_files(running.home, len(part)) == []


async def test_killed_it_comes_back_with_its_objects(
    s3: "S3Client", http: httpx.AsyncClient, key: str, running: Settings
) -> None:
    url, headers = await link(s3, key)
    await http.put(url, content=BODY, headers=headers)
    [store] = children(running.home, "s3")

    store.kill()

    found = await healed(lambda: s3.get_object(Bucket="runstone", Key=key), BotoCoreError)
    assert await found["Body"].read() == BODY


def test_marks_of_old_deletes_are_swept_and_nothing_else(tmp_path: Path) -> None:
    from deploy.local.swift_server import sweep

    now_s = time.time()
    place = tmp_path / "disk/objects/3/abc"
    files = [f"gone/{now_s - 1000:.5f}.ts", f"new/{now_s:.5f}.ts", f"kept/{now_s - 1000:.5f}.data"]
    for name in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()

    sweep(tmp_path, now_s - 500)

    assert sorted(path.name for path in place.iterdir()) == ["kept", "new"]


def test_cache_forgets_what_is_old_and_counts() -> None:
    cache = Cache()
    cache.set("kept", 1)
    cache.set("old", 1, time=-1)

    assert cache.get("kept") == 1
    assert cache.get("old") is None
    assert [cache.incr("count", 2), cache.decr("count"), cache.decr("count", 5)] == [2, 1, 0]
