"""A corner of the real store for each test."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from settings import S3Settings
from storage.store import Store, open_store
from tests.conftest import Server


@pytest.fixture
def s3(server: Server) -> S3Settings:
    """The store of `server`, under a prefix of this test's own."""
    assert server.settings.s3 is not None
    return replace(server.settings.s3, prefix=f"test-{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
async def opened(server: Server) -> AsyncIterator[Store]:
    """One client for all tests, since making one takes half a second."""
    assert server.settings.s3 is not None
    async with open_store(server.settings.s3) as store:
        yield store


@pytest.fixture
def store(opened: Store, s3: S3Settings) -> Store:
    """The store, seeing only this test's prefix."""
    return Store(s3, opened._session, opened._client)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client that sends what it is told, as anyone who has an address can."""
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
        yield client
