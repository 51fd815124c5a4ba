"""Presigned requests: what they allow, and that they allow nothing else."""

import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import quote

import httpx
import pytest

from storage import keys
from storage.presign import Request, Signer, attachment
from storage.store import Store, bucket_url

BODY = b"the bytes that were promised"


def test_signature_is_the_one_that_amazon_publishes() -> None:
    # The example of "Authenticating Requests: Using Query Parameters" in the reference of Amazon S3.
    signer = Signer(
        bucket_url="https://examplebucket.s3.amazonaws.com",
        region="us-east-1",
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    url = signer.url("GET", "test.txt", 86400, {}, {})
    assert url.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


@pytest.fixture
async def put(store: Store) -> Request:
    """Allows to put `BODY` at its content key."""
    signer = await store.signer()
    digest = sha256(BODY).digest()
    return signer.put_content(keys.content(store.settings.prefix, uuid.uuid4(), digest), digest, len(BODY))


async def send(http: httpx.AsyncClient, request: Request, body: bytes = BODY, extra: str | None = None) -> int:
    headers = {**request.headers, "content-length": str(len(body))}
    if extra is not None:
        headers[extra] = "public-read"
    return (await http.request(request.method, request.url, headers=headers, content=body)).status_code


async def test_promised_bytes_are_taken_once(store: Store, http: httpx.AsyncClient, put: Request) -> None:
    assert await send(http, put) == 200
    assert await send(http, put) == 412
    found = await store.find(put.key)
    assert found is not None
    assert (found.size_bytes, found.sha256) == (len(BODY), sha256(BODY).hexdigest())


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"!", b"T" + BODY[1:], b"", bytes(2_000_000)], ids=len)
async def test_other_bytes_are_refused_and_nothing_is_stored(
    store: Store, http: httpx.AsyncClient, put: Request, body: bytes
) -> None:
    assert await send(http, put, body) in {400, 403}
    assert await store.find(put.key) is None


async def test_replayed_url_cannot_change_the_object(store: Store, http: httpx.AsyncClient, put: Request) -> None:
    assert await send(http, put) == 200

    assert await send(http, put) == 412
    assert await send(http, put, b"T" + BODY[1:]) in {400, 412}
    get = (await store.signer()).get(put.key, "model.bin")
    assert (await http.get(get.url)).content == BODY


@pytest.mark.parametrize(
    "header",
    ["x-amz-acl", "x-amz-tagging", "x-amz-website-redirect-location", "x-amz-copy-source", "x-amz-meta-more"],
)
async def test_unsigned_amazon_header_is_refused(
    store: Store, http: httpx.AsyncClient, put: Request, header: str
) -> None:
    assert await send(http, put, extra=header) >= 400
    assert await store.find(put.key) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-delete-at", "1"),
        ("x-delete-after", "-1"),
        ("content-encoding", "gzip"),
        ("cache-control", "no-transform"),
    ],
)
async def test_what_is_not_signed_changes_nothing(
    store: Store, http: httpx.AsyncClient, put: Request, name: str, value: str
) -> None:
    answer = await http.request(put.method, put.url, headers={**put.headers, name: value}, content=BODY)
    assert answer.status_code == 200

    get = (await store.signer()).get(put.key, "model.bin")
    async with http.stream("GET", get.url) as found:
        assert name not in found.headers
        assert b"".join([piece async for piece in found.aiter_raw()]) == BODY


async def test_url_is_good_for_its_key_method_and_time_only(
    store: Store, http: httpx.AsyncClient, put: Request
) -> None:
    signer = await store.signer()
    digest = sha256(BODY).digest()
    other_key = keys.content(store.settings.prefix, uuid.uuid4(), digest)
    moved = Request("PUT", other_key, put.url.replace(put.key, other_key), put.headers)
    late = signer.at(datetime.now(UTC) - timedelta(hours=1)).put_content(put.key, digest, len(BODY))
    longer = Request("PUT", put.key, put.url.replace("X-Amz-Expires=900", "X-Amz-Expires=9000"), put.headers)

    assert await send(http, moved) == 403
    assert await send(http, late) == 403
    assert await send(http, longer) == 403
    assert (await http.get(put.url)).status_code == 403
    assert (await http.delete(put.url)).status_code == 403
    assert await store.find(put.key) is None


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "script.js", "paper.pdf", "MLmodel.yaml"])
async def test_download_is_saved_and_never_shown(
    store: Store, http: httpx.AsyncClient, put: Request, name: str
) -> None:
    await send(http, put)
    answer = await http.get((await store.signer()).get(put.key, f"folder/{name}").url)
    assert answer.content == BODY
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{name}"')


async def test_range_of_a_download_can_be_read(store: Store, http: httpx.AsyncClient, put: Request) -> None:
    await send(http, put)
    answer = await http.get((await store.signer()).get(put.key, "x").url, headers={"range": "bytes=4-8"})
    assert (answer.status_code, answer.content) == (206, BODY[4:9])


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("model/weights.bin", "weights.bin"),
        ('a"b\\c.txt', "a_b_c.txt"),
        ("été 100%.csv", "e_te_ 100_.csv"),
        ("模型.bin", "__.bin"),
    ],
)
def test_file_names_survive_the_header(path: str, plain: str) -> None:
    name = path.rsplit("/", 1)[-1]
    header = attachment(path)
    assert header == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='-_.~')}"
    assert header.isascii()


@pytest.mark.parametrize(
    ("endpoint", "path_style", "expected"),
    [
        ("http://127.0.0.1:9000", True, "http://127.0.0.1:9000/runs"),
        ("https://s3.eu-west-1.amazonaws.com", False, "https://runs.s3.eu-west-1.amazonaws.com"),
        ("https://store.example/s3/", True, "https://store.example/s3/runs"),
    ],
)
def test_bucket_has_one_address(endpoint: str, path_style: bool, expected: str) -> None:
    assert bucket_url(endpoint, "runs", path_style=path_style) == expected


def test_no_text_of_a_user_is_in_a_key() -> None:
    project = uuid.uuid4()
    key = keys.content("", project, sha256(BODY).digest())
    assert key == f"p/{project}/sha256/{key[-64:-62]}/{sha256(BODY).hexdigest()}"
    assert keys.content("team/a", project, sha256(BODY).digest()) == f"team/a/{key}"
    assert keys.staging("") != keys.staging("")
    assert keys.staging("team/a").startswith("team/a/staging/")


def test_encryption_and_session_are_signed() -> None:
    signer = Signer("https://b.example", "us-east-1", "id", "secret", session_token="t", sse="AES256")
    put = signer.put_content("k", bytes(32), 1)
    assert put.headers["x-amz-server-side-encryption"] == "AES256"
    assert "X-Amz-Security-Token=t" in put.url
    assert "x-amz-server-side-encryption" in put.url
