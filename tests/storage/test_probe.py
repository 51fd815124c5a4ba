"""The probe: it believes what it sees, and asks again when it saw nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from settings import S3Settings
from storage.probe import Prober, ask
from storage.store import Store, StoreError, open_store


async def test_embedded_store_holds_to_everything(store: Store) -> None:
    answers = await ask(store)
    assert answers.is_trusted
    assert answers.gaps == []
    assert await store.stale_stagings(-60) == []


async def test_store_that_takes_everything_is_not_trusted(s3: S3Settings) -> None:
    async with careless(200) as url, open_store(replace(s3, endpoint_url=url)) as store:
        answers = await ask(store)
    assert not answers.is_trusted
    assert answers.content_put_works
    assert set(answers.gaps) == {
        "checksum_enforced",
        "overwrite_refused",
        "length_enforced",
        "expiry_checked",
        "key_checked",
        "signature_checked",
        "headers_checked",
    }


async def test_store_that_does_not_know_our_headers_is_not_trusted(s3: S3Settings) -> None:
    async with careless(501) as url, open_store(replace(s3, endpoint_url=url)) as store:
        answers = await ask(store)
    assert not answers.content_put_works
    assert not answers.is_trusted


async def test_store_that_is_away_is_asked_again(s3: S3Settings) -> None:
    async with careless(503) as url, open_store(replace(s3, endpoint_url=url)) as store:
        with pytest.raises(StoreError, match="503"):
            await Prober(store).answers()
    async with open_store(replace(s3, endpoint_url="http://127.0.0.1:9")) as store:
        with pytest.raises(StoreError, match="does not answer"):
            await Prober(store).answers()


async def test_store_is_asked_once(s3: S3Settings) -> None:
    async with careless(200) as url, open_store(replace(s3, endpoint_url=url)) as store:
        prober = Prober(store)
        first, second = await asyncio.gather(prober.answers(), prober.answers())
    assert first is second


@asynccontextmanager
async def careless(status: int) -> AsyncIterator[str]:
    """The address of an HTTP server that answers every request alike."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))
        writer.write(b"HTTP/1.1 %d .\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
