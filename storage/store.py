"""The object store of the settings, through S3: the only module that knows aioboto3."""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from settings import S3Settings
from storage import keys
from storage.presign import BINARY, Signer

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 30
CLEANUP_TIMEOUT_S: Final = 2
SINGLE_PUT_BYTES_MAX: Final = 64 * 1024 * 1024
PART_BYTES: Final = 64 * 1024 * 1024
PARTS_MAX: Final = 10_000
COPY_PART_BYTES: Final = 8 * 1024 * 1024
MEBIBYTE: Final = 1024 * 1024
MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload", "NoSuchBucket"})
CHANGED: Final = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "PreconditionFailed", "412"})


class StoreError(Exception):
    """The store does not answer, or refuses us; the message says which and is safe to show."""


class BrokenOff(StoreError):
    """The store began to give an object and did not end: the network failed, or the object is damaged."""


class PartsChanged(Exception):
    """The parts in the store are not the ones that were to be joined."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object as the store describes it; `sha256` is what its writer claimed, in hexadecimal."""

    size_bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart upload that has arrived."""

    number: int
    etag: str
    size_bytes: int


def part_size_bytes(size_bytes: int) -> int | None:
    """How large the parts of such a file are, the last one apart; None when one PUT takes it."""
    if size_bytes <= SINGLE_PUT_BYTES_MAX:
        return None
    return max(PART_BYTES, _parted(size_bytes))


def _parted(size_bytes: int) -> int:
    """The smallest part size, in whole mebibytes, with which the file has at most 10,000 parts."""
    return -(-size_bytes // (PARTS_MAX * MEBIBYTE)) * MEBIBYTE


class Store:
    """One bucket; made by `open_store`, one per process."""

    def __init__(self, settings: S3Settings, session: aioboto3.Session, client: "S3Client") -> None:
        self.settings = settings
        self._session = session
        self._client = client

    @property
    def public_origin(self) -> str:
        """Where the links of clients lead: scheme, host and port."""
        url = urlsplit(self._bucket_url(internal=False))
        return f"{url.scheme}://{url.netloc}"

    async def signer(self, *, internal: bool = False) -> Signer:
        """Signs for the address that clients use, or for ours; good until the credentials change."""
        credentials = await self._session.get_credentials()
        if credentials is None:
            raise StoreError("there are no credentials for the store; set RUNSTONE_S3_ACCESS_KEY_ID or a role")
        frozen = await credentials.get_frozen_credentials()
        return Signer(
            bucket_url=self._bucket_url(internal=internal),
            region=self.settings.region,
            access_key_id=frozen.access_key,
            secret_access_key=frozen.secret_key,
            session_token=frozen.token,
            sse=self.settings.sse,
        )

    def _bucket_url(self, *, internal: bool) -> str:
        endpoint = self._client.meta.endpoint_url
        if not internal and self.settings.public_endpoint_url is not None:
            endpoint = self.settings.public_endpoint_url
        return bucket_url(endpoint, self.settings.bucket, path_style=self.settings.path_style)

    async def ensure_bucket(self) -> bool:
        """Make the bucket when it is missing; whether it was made now. Raises `StoreError`."""
        bucket, region = self.settings.bucket, self.settings.region
        with _translated():
            try:
                await self._client.head_bucket(Bucket=bucket)
            except ClientError as error:
                if _code(error) not in MISSING:
                    raise
            else:
                return False
            place: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            await self._client.create_bucket(Bucket=bucket, **place)
            return True

    async def find(self, key: str) -> Found | None:
        """What the store says of an object; None when there is none. Raises `StoreError`."""
        with _translated():
            try:
                head = await self._client.head_object(Bucket=self.settings.bucket, Key=key)
            except ClientError as error:
                if _code(error) in MISSING:
                    return None
                raise
        return Found(head["ContentLength"], head["Metadata"].get("sha256"))

    async def copy(self, source: str, target: str, digest: bytes, size_bytes: int) -> bool:
        """Copy the bytes while hashing them; False, and nothing stored, when they are not the ones expected.

        What is hashed is what is stored, so nothing that a client does to `source` meanwhile can reach `target`.
        Raises `StoreError`, also when `source` is gone, and `BrokenOff` when it cannot be read to its end.
        """
        with _translated():
            if size_bytes <= COPY_PART_BYTES:
                return await self._copy_whole(source, target, digest, size_bytes)
            return await self._copy_parts(source, target, digest, size_bytes)

    async def _copy_whole(self, source: str, target: str, digest: bytes, size_bytes: int) -> bool:
        async with aclosing(self._blocks(source, size_bytes, COPY_PART_BYTES)) as blocks:
            body = b"".join([block async for block in blocks])
        if (await asyncio.to_thread(sha256, body)).digest() != digest:
            return False
        await self._client.put_object(Bucket=self.settings.bucket, Key=target, Body=body, **self._description(digest))
        return True

    async def _copy_parts(self, source: str, target: str, digest: bytes, size_bytes: int) -> bool:
        found = sha256()
        place: Any = {"Bucket": self.settings.bucket, "Key": target}
        begun = await self._client.create_multipart_upload(**place, **self._description(digest))
        multipart_id = place["UploadId"] = begun["UploadId"]
        parts: list[Any] = []
        is_stored = False
        try:
            part_bytes = max(COPY_PART_BYTES, _parted(size_bytes))
            async with aclosing(self._blocks(source, size_bytes, part_bytes)) as blocks:
                async for block in blocks:
                    await asyncio.to_thread(found.update, block)
                    number = len(parts) + 1
                    sent = await self._client.upload_part(**place, PartNumber=number, Body=block)
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            if found.digest() == digest:
                await self._client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
                is_stored = True
        finally:
            if not is_stored:
                with suppress(StoreError, TimeoutError):
                    async with asyncio.timeout(CLEANUP_TIMEOUT_S):
                        await self.drop_multipart(target, multipart_id)
        return is_stored

    def writing(self, key: str) -> "Writing":
        """An object to be written part by part."""
        return Writing(self, key)

    async def _blocks(self, key: str, size_bytes: int, block_bytes: int) -> AsyncGenerator[bytes, None]:
        """The object in blocks; it ends early once it is longer than `size_bytes`. Raises `BrokenOff`."""
        answer = await self._client.get_object(Bucket=self.settings.bucket, Key=key)
        left = size_bytes + 1  # one byte more shows that it is longer
        async with answer["Body"] as body:
            while block := await _read(body.content, min(block_bytes, left)):
                yield block
                left -= len(block)

    def _description(self, digest: bytes | None = None) -> Any:
        encryption = {} if self.settings.sse is None else {"ServerSideEncryption": self.settings.sse}
        metadata = {} if digest is None else {"sha256": digest.hex()}
        return {"ContentType": BINARY, "Metadata": metadata, **encryption}

    async def start_multipart(self, key: str) -> str:
        """The store's name for a new multipart upload onto a staging key. Raises `StoreError`."""
        encryption: Any = {} if self.settings.sse is None else {"ServerSideEncryption": self.settings.sse}
        with _translated():
            begun = await self._client.create_multipart_upload(
                Bucket=self.settings.bucket, Key=key, ContentType=BINARY, **encryption
            )
        return begun["UploadId"]

    async def parts(self, key: str, multipart_id: str) -> list[Part] | None:
        """The parts that have arrived, by number; None when the multipart upload is over. Raises `StoreError`."""
        place: Any = {"Bucket": self.settings.bucket, "Key": key, "UploadId": multipart_id}
        found: list[Part] = []
        with _translated():
            try:
                async for page in self._client.get_paginator("list_parts").paginate(**place):
                    found += [Part(part["PartNumber"], part["ETag"], part["Size"]) for part in page.get("Parts", [])]
            except ClientError as error:
                if _code(error) in MISSING:
                    return None
                raise
        return found

    async def join(self, key: str, multipart_id: str, parts: Sequence[Part]) -> None:
        """Make one object of the parts. Raises `PartsChanged` when they are not these any more, and `StoreError`."""
        with _translated():
            try:
                await self._client.complete_multipart_upload(
                    Bucket=self.settings.bucket,
                    Key=key,
                    UploadId=multipart_id,
                    MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
                )
            except ClientError as error:
                if _code(error) in CHANGED:
                    raise PartsChanged from error
                raise

    async def drop_multipart(self, key: str, multipart_id: str) -> None:
        """Forget the parts; nothing happens when the multipart upload is over. Raises `StoreError`."""
        with _translated():
            try:
                await self._client.abort_multipart_upload(Bucket=self.settings.bucket, Key=key, UploadId=multipart_id)
            except ClientError as error:
                if _code(error) not in MISSING:
                    raise

    async def delete(self, key: str) -> None:
        """Delete an object, which may be gone already. Raises `StoreError`."""
        with _translated():
            await self._client.delete_object(Bucket=self.settings.bucket, Key=key)

    async def delete_all(self, beginning: str) -> int:
        """Delete the objects whose keys begin so, and multipart uploads onto them; how many. Raises `StoreError`."""
        place: Any = {"Bucket": self.settings.bucket, "Prefix": beginning}
        deleted = 0
        with _translated():
            async for page in self._client.get_paginator("list_multipart_uploads").paginate(**place):
                for item in page.get("Uploads", []):
                    await self.drop_multipart(item["Key"], item["UploadId"])
                    deleted += 1
            async for page in self._client.get_paginator("list_objects_v2").paginate(**place):
                for item in page.get("Contents", []):
                    await self.delete(item["Key"])
                    deleted += 1
        return deleted

    async def stale_stagings(self, older_than_s: float) -> list[str]:
        """Our staging keys of objects that were written longer ago. Raises `StoreError`."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        place: Any = {"Bucket": self.settings.bucket, "Prefix": keys.stagings(self.settings.prefix)}
        with _translated():
            return [
                item["Key"]
                async for page in self._client.get_paginator("list_objects_v2").paginate(**place)
                for item in page.get("Contents", [])
                if item["LastModified"] < before and keys.is_ours(self.settings.prefix, item["Key"])
            ]

    async def stale_multiparts(self, older_than_s: float) -> list[tuple[str, str]]:
        """(key, multipart id) of our multipart uploads that were begun longer ago. Raises `StoreError`."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        place: Any = {"Bucket": self.settings.bucket, "Prefix": self.settings.prefix}
        with _translated():
            return [
                (item["Key"], item["UploadId"])
                async for page in self._client.get_paginator("list_multipart_uploads").paginate(**place)
                for item in page.get("Uploads", [])
                if item["Initiated"] < before and keys.is_ours(self.settings.prefix, item["Key"])
            ]


class Writing:
    """An object that is written part by part; it is not there before all of it is."""

    def __init__(self, store: Store, key: str) -> None:
        self.key = key
        self._store = store
        self._place: Any = {"Bucket": store.settings.bucket, "Key": key}
        self._parts: list[Any] = []

    async def send(self, part: bytes) -> None:
        """The next bytes, 5 MiB at least. Raises `StoreError`."""
        client = self._store._client
        with _translated():
            if "UploadId" not in self._place:
                begun = await client.create_multipart_upload(**self._place, **self._store._description())
                self._place["UploadId"] = begun["UploadId"]
            number = len(self._parts) + 1
            sent = await client.upload_part(**self._place, PartNumber=number, Body=part)
            self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    async def finish(self, rest: bytes, digest: bytes) -> None:
        """The last bytes, of any number; `digest` is that of the whole. Raises `StoreError`."""
        if not self._parts:
            with _translated():
                await self._store._client.put_object(**self._place, Body=rest, **self._store._description(digest))
            return
        if rest:
            await self.send(rest)
        with _translated():
            await self._store._client.complete_multipart_upload(**self._place, MultipartUpload={"Parts": self._parts})
        del self._place["UploadId"]

    async def drop(self) -> None:
        """Leave nothing of an object that was not finished; what a store that does not answer keeps is swept later."""
        if "UploadId" in self._place:
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(CLEANUP_TIMEOUT_S):
                    await self._store.drop_multipart(self.key, self._place["UploadId"])


async def _read(body: aiohttp.StreamReader, size_bytes: int) -> bytes:
    """The next bytes, as many as asked unless the body ends. Raises `BrokenOff`."""
    block = bytearray()
    try:
        while len(block) < size_bytes and (chunk := await body.read(size_bytes - len(block))):
            block += chunk
    except aiohttp.ClientPayloadError as error:
        raise BrokenOff("the store broke off while the bytes were read") from error
    return bytes(block)


def bucket_url(endpoint_url: str, bucket: str, *, path_style: bool) -> str:
    """The address of the bucket, without a trailing slash."""
    endpoint = urlsplit(endpoint_url)
    base = endpoint.path.rstrip("/")
    if path_style:
        return f"{endpoint.scheme}://{endpoint.netloc}{base}/{bucket}"
    return f"{endpoint.scheme}://{bucket}.{endpoint.netloc}{base}"


@asynccontextmanager
async def open_store(settings: S3Settings) -> AsyncIterator[Store]:
    """The store, with one client that lives as long as the block."""
    session = aioboto3.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        region_name=settings.region,
    )
    config = AioConfig(
        signature_version="s3v4",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=32,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies=_proxies(settings.endpoint_url),
        s3={"addressing_style": "path" if settings.path_style else "virtual"},
    )
    async with session.client("s3", endpoint_url=settings.endpoint_url, config=config) as client:
        yield Store(settings, session, client)


def _proxies(endpoint_url: str | None) -> dict[str, str] | None:
    """No proxy to reach this machine; None: the ones of the environment."""
    host = urlsplit(endpoint_url or "").hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return {} if is_loopback else None


@contextmanager
def _translated() -> Iterator[None]:
    """Raise `StoreError` for what goes wrong between us and the store."""
    try:
        yield
    except ClientError as error:
        raise StoreError(f"the store refused {error.operation_name}: {_code(error)}") from error
    except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise StoreError(f"the store does not answer: {type(error).__name__}") from error


def _code(error: ClientError) -> str:
    answer: Mapping[str, Any] = error.response
    return str(answer.get("Error", {}).get("Code", ""))
