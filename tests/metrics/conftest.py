"""A Postgres of its own, which tests may kill, and runs to log to."""

import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
import pytest_asyncio

from db import access, chunks, errors, ids, migrate, projects, runs, series
from db.access import Role, Scope
from db.errors import Unavailable
from db.metrics import Columns, Recorder, open_recorder
from db.packing import Floats, Ints
from db.pool import Pool, open_pool
from db.runs import FinalStatus
from deploy.local.stack import services
from settings import S3Settings, Settings

START_MS = 1_700_000_000_000

# A point as stored: key, step, time, the bits of its value.
Stored = tuple[str, int, int, int]


@pytest_asyncio.fixture(scope="session")
async def database() -> AsyncIterator[Settings]:
    """Settings whose database_url is a migrated database; it comes back when it is killed."""
    with tempfile.TemporaryDirectory(prefix="runstone-") as folder:
        asked = Settings(home=Path(folder, "home"), redis_url="redis://unused", s3=S3Settings())
        async with services(asked) as settings:
            assert settings.database_url is not None
            await migrate.migrate(settings.database_url)
            yield settings


@dataclass(frozen=True, slots=True)
class Lab:
    """Someone who owns a project, and the doors to log to it and to read it."""

    url: str
    pool: Pool
    recorder: Recorder
    scope: Scope
    project: str

    async def run(self) -> UUID:
        """The id of a new run."""
        asked = runs.Start(
            id=ids.new(),
            project=self.project,
            experiment="test",
            name="run",
            parent_id=None,
            started_at=None,
            params=[],
            tags={},
            source=None,
            environment=None,
        )
        run, _ = await self.recorder.start(self.scope, asked)
        return run.id

    async def finish(self, run_id: UUID) -> None:
        """End the run's attempt."""
        await self.recorder.finish(self.scope, run_id, FinalStatus.FINISHED, None)

    async def resume(self, run_id: UUID) -> None:
        """Begin another attempt."""
        await runs.resume(self.pool, self.scope, run_id, ids.new(), None, None)

    async def send(self, run_id: UUID, writer_id: UUID, *blocks: Columns) -> int:
        """The writer's next seq."""
        return (await self.recorder.append(self.scope, run_id, writer_id, blocks)).next_seq

    async def compact(self, run_id: UUID) -> int:
        """How many blocks became chunks, until none is left."""
        compacted = 0
        while blocks := await chunks.compact(self.pool, [run_id]):
            compacted += blocks
        return compacted

    async def points(self, run_id: UUID, *keys: str, attempt: int | None = None) -> list[Stored]:
        """The points of these keys as they are read, sorted."""
        curves = await series.read(self.pool, self.scope, [run_id], keys or ("loss",), attempt=attempt)
        assert all(curve.is_exact and curve.count == len(curve.steps) for curve in curves)
        return sorted(
            (curve.key, *point)
            for curve in curves
            for point in zip(curve.steps.tolist(), curve.times.tolist(), bits(curve.values).tolist(), strict=True)
        )


@pytest.fixture
async def lab(database: Settings) -> AsyncIterator[Lab]:
    """A project of its own."""
    assert database.database_url is not None
    url = database.database_url
    async with (
        open_pool(url, size_max=8, statement_timeout_s=20, name="test") as pool,
        open_recorder(pool, url, statement_timeout_s=20) as recorder,
    ):
        name = f"p-{uuid4().hex[:12]}"
        account = await access.create_account(pool, name)
        project = await projects.insert(pool, account, name, "")
        yield Lab(url, pool, recorder, Scope(account, name, False, {project.id: Role.OWNER}), name)


@contextmanager
def while_away() -> Iterator[None]:
    """Let pass what the absence of the database explains, and nothing else."""
    try:
        yield
    except Exception as error:
        if not isinstance(errors.known(error), Unavailable):
            raise


def bits(values: Sequence[float] | Floats) -> Ints:
    """The 64 bits of each float."""
    return np.ascontiguousarray(np.array(values, "<f8")).view("<i8")


def block(
    seq: int,
    values: Sequence[Sequence[float]] | Floats | None = None,
    *,
    keys: Sequence[str] = ("loss",),
    steps: Sequence[int] | None = None,
    times: Sequence[int] | None = None,
) -> Columns:
    """A block whose values, steps and times follow from its seq unless given; `values` has a row for each key."""
    rows = [[seq + number / 8] for number in range(len(keys))] if values is None else values
    n = len(rows[0])
    steps = range(seq * n, seq * n + n) if steps is None else steps
    times = [START_MS + step for step in steps] if times is None else times
    return Columns(
        seq,
        tuple(keys),
        np.array(steps, "<i8").tobytes(),
        np.array(times, "<i8").tobytes(),
        np.array(rows, "<f8").tobytes(),
    )


def points_of(*blocks: Columns) -> list[Stored]:
    """The points of the blocks, sorted."""
    found = []
    for one in blocks:
        steps, times = np.frombuffer(one.steps, "<i8"), np.frombuffer(one.times, "<i8")
        rows = np.frombuffer(one.values, "<i8").reshape(len(one.keys), -1)
        for key, row in zip(one.keys, rows, strict=True):
            found += [(key, *point) for point in zip(steps.tolist(), times.tolist(), row.tolist(), strict=True)]
    return sorted(found)
