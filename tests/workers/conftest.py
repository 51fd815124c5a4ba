"""A database, a queue and a corner of the store of its own for each test, with a run to upload to and no worker yet."""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from arq.connections import ArqRedis

from db import access, artifacts, ids, migrate, projects, runs, uploads
from db.access import Role, Scope
from db.artifacts import Artifact
from db.pool import Pool, open_pool
from deploy.local import environment
from settings import Settings
from storage import keys
from storage.presign import Request
from storage.store import Store, open_store
from tests.conftest import Server
from tests.failpoints import Failpoints
from tests.parts import without_coverage
from workers import artifacts as verifying
from workers import main as worker
from workers import queue
from workers.work import Deps

PATIENCE_S = 40.0


@dataclass
class Place:
    """Everything between a client and the worker, with a client's and a thief's hands."""

    settings: Settings
    pool: Pool
    store: Store
    redis: ArqRedis
    http: httpx.AsyncClient
    scope: Scope
    project_id: uuid.UUID
    run_id: uuid.UUID
    failpoints: Failpoints

    @property
    def deps(self) -> Deps:
        return Deps(self.pool, self.store, self.settings, self.redis)

    def like_store(self, kind: type[Store]) -> Store:
        """The store, behaving as `kind` does."""
        return kind(self.store.settings, self.store._session, self.store._client)

    async def member(self, role: Role) -> Scope:
        """The scope of a new account with this role in the project."""
        account = await access.create_account(self.pool, f"account-{uuid.uuid4().hex}")
        await access.grant(self.pool, self.project_id, account, role)
        return Scope(account, "someone", False, {self.project_id: role})

    async def run(self, scope: Scope | None = None) -> uuid.UUID:
        """A new run in the project."""
        project = await self.pool.fetchval("select name from project where id = $1", self.project_id)
        asked = runs.Start(
            id=ids.new(),
            project=project,
            experiment="test",
            name="run",
            parent_id=None,
            started_at=None,
            params=[],
            tags={},
            source=None,
            environment=None,
        )
        run, _ = await runs.start(self.pool, scope or self.scope, asked)
        return run.id

    async def create(
        self,
        path: str,
        body: bytes,
        *,
        direct: bool = True,
        part_bytes: int | None = None,
        scope: Scope | None = None,
        run_id: uuid.UUID | None = None,
        expiry_s: float = 3600,
    ) -> uploads.Upload:
        """Ask for the upload of one file; with `part_bytes` in parts."""
        file = uploads.File(
            path=path,
            digest=sha256(body).digest(),
            size_bytes=len(body),
            media_type=None,
            staging_key=keys.staging(self.store.settings.prefix),
            part_size_bytes=part_bytes,
        )
        [upload] = await uploads.create(
            self.pool, scope or self.scope, run_id or self.run_id, [file], direct=direct, expiry_s=expiry_s
        )
        sending = upload.sending
        if sending is None or sending.part_size_bytes is None or sending.multipart_id is not None:
            return upload
        assert sending.staging_key is not None
        ours = await self.store.start_multipart(sending.staging_key)
        kept = await uploads.start_multipart(self.pool, upload.artifact.id, ours)
        return replace(upload, sending=replace(sending, multipart_id=kept))

    async def request(self, upload: uploads.Upload, length: int | None = None) -> Request:
        """The single PUT of an upload; with `length` as a store allows it that does not enforce lengths."""
        assert upload.sending is not None
        signer = await self.store.signer()
        size_bytes = upload.artifact.size_bytes
        if upload.sending.staging_key is None:
            key = keys.content(self.store.settings.prefix, self.project_id, upload.artifact.digest)
            return signer.put_content(key, upload.artifact.digest, size_bytes)
        return signer.put_staging(upload.sending.staging_key, size_bytes if length is None else length)

    async def send(self, upload: uploads.Upload, body: bytes, *, any_length: bool = False) -> int:
        """The status of the store's answer to these bytes."""
        request = await self.request(upload, len(body) if any_length else None)
        headers = {**request.headers, "content-length": str(len(body))}
        return (await self.http.request(request.method, request.url, headers=headers, content=body)).status_code

    async def send_part(self, upload: uploads.Upload, number: int, body: bytes) -> str:
        """The ETag of a part that was sent."""
        sending = upload.sending
        assert sending is not None
        assert sending.staging_key is not None
        assert sending.multipart_id is not None
        signer = await self.store.signer()
        request = signer.put_part(sending.staging_key, sending.multipart_id, number, len(body))
        answer = await self.http.request(request.method, request.url, headers=request.headers, content=body)
        assert answer.status_code == 200
        return answer.headers["etag"]

    async def complete(
        self, upload: uploads.Upload, parts: Mapping[int, str] | None = None, *, expiry_s: float = 3600
    ) -> Artifact:
        """Report that everything was sent."""
        completed = uploads.Completed(upload.artifact.id, parts or {})
        [artifact] = await uploads.complete(self.pool, self.scope, [completed], expiry_s=expiry_s)
        await queue.wake(self.redis, "artifacts")
        return artifact

    async def uploaded(self, path: str, body: bytes, **more: Any) -> uploads.Upload:
        """A file that was sent honestly and reported."""
        upload = await self.create(path, body, **more)
        assert await self.send(upload, body) == 200
        await self.complete(upload)
        return upload

    async def artifact(self, upload: uploads.Upload) -> Artifact:
        """The artifact as it is now."""
        [artifact] = await artifacts.by_ids(self.pool, self.scope, [upload.artifact.id])
        assert artifact is not None
        return artifact

    async def final(self, upload: uploads.Upload, timeout_s: float = PATIENCE_S) -> Artifact:
        """The artifact once it is READY or FAILED."""
        async with asyncio.timeout(timeout_s):
            while (artifact := await self.artifact(upload)).finalized_at is None:
                await asyncio.sleep(0.05)
        return artifact

    async def bytes_of(self, artifact: Artifact) -> bytes:
        """What a download gives."""
        assert artifact.object_key is not None
        return (await self.http.get((await self.store.signer()).get(artifact.object_key, artifact.path).url)).content

    async def lease_ends(self, upload: uploads.Upload) -> None:
        """What happens when the time of a claim is over."""
        await self.pool.execute("update upload set next_at = now() where id = $1", upload.artifact.id)

    async def claimed(self, upload: uploads.Upload) -> uploads.Claim:
        """The upload as a worker claims it."""
        [claim] = await uploads.claim(self.pool, 1, lease_s=45)
        assert claim.id == upload.artifact.id
        return claim

    async def verified(self, upload: uploads.Upload, store: Store | None = None) -> Artifact:
        """The artifact after a worker has looked at it once, at `store` if one is given."""
        claim = await self.claimed(upload)
        await verifying.finalize(replace(self.deps, store=store or self.store), claim)
        return await self.artifact(upload)

    async def finish_run(self) -> None:
        await runs.finish(self.pool, self.scope, self.run_id, runs.FinalStatus.FINISHED, None)

    @asynccontextmanager
    async def working(self, **changed: Any) -> AsyncIterator[None]:
        """A worker in this process, with some settings changed."""
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(replace(self.settings, **changed), stop))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(8):
                await task

    async def worker_process(self, failpoint: str = "", order: str = "kill") -> asyncio.subprocess.Process:
        """A worker in a process of its own, that does what it is told at the failpoint."""
        if failpoint:
            self.failpoints.arm(failpoint, order)
        with without_coverage():
            env = environment.for_child(self.settings)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "tests.failpoints", str(self.failpoints.folder), "workers",
            env=env, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await says(process, "worker is ready")
        return process


async def says(process: asyncio.subprocess.Process, text: str) -> None:
    """Wait for a line of the process that holds the text."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        while text.encode() not in (line := await process.stderr.readline()):
            assert line, f"the process ended without saying {text!r}"


@pytest.fixture(scope="session")
async def template(server: Server) -> str:
    """The name of a migrated database to copy."""
    assert server.settings.database_url is not None
    conn = await asyncpg.connect(server.settings.database_url)
    await conn.execute("create database worker_template")
    await conn.close()
    await migrate.migrate(beside(server.settings.database_url, "worker_template"))
    return "worker_template"


def beside(url: str, name: str) -> str:
    """The address of another database of the same server."""
    return f"{url.rsplit('/', 1)[0]}/{name}"


@pytest.fixture(scope="session")
async def opened_store(server: Server) -> AsyncIterator[Store]:
    assert server.settings.s3 is not None
    async with open_store(server.settings.s3) as store:
        yield store


@pytest.fixture
async def place(server: Server, template: str, opened_store: Store, tmp_path: Path) -> AsyncIterator[Place]:
    """A place of this test's own."""
    url, redis_url, s3 = server.settings.database_url, server.settings.redis_url, server.settings.s3
    assert url is not None
    assert redis_url is not None
    assert s3 is not None
    name = f"worker_{os.urandom(6).hex()}"
    conn = await asyncpg.connect(url)
    await conn.execute(f"create database {name} template {template}")
    settings = replace(
        server.settings,
        database_url=beside(url, name),
        redis_url=beside(redis_url, "7"),
        s3=replace(s3, prefix=f"test-{name}"),
    )
    assert settings.s3 is not None
    assert settings.database_url is not None
    async with (
        open_pool(settings.database_url, size_max=4, statement_timeout_s=30, name="test") as pool,
        queue.open_redis(beside(redis_url, "7")) as redis,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as http,
    ):
        account = await access.create_account(pool, "editor")
        project = await projects.insert(pool, account, "project", "")
        scope = Scope(account, "editor", False, {project.id: Role.EDITOR})
        store = Store(settings.s3, opened_store._session, opened_store._client)
        made = Place(settings, pool, store, redis, http, scope, project.id, uuid.UUID(int=0), Failpoints(tmp_path))
        made.run_id = await made.run()
        yield made
    await conn.execute(f"drop database {name} with (force)")
    await conn.close()
