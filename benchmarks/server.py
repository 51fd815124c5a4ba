"""A Runstone to measure: started on a temporary home by the code of `make run`, and asked as clients ask."""

import base64
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson
import psutil
from numpy.typing import NDArray

from benchmarks.points import Batch
from benchmarks.wire import Client, Door, Refused, connected
from db import access, ids
from db.access import Scope
from db.pool import Pool, open_pool
from deploy import up
from deploy.local.home import free_port
from settings import Settings

PATH: Final = "/graphql"

CREATE = """
mutation Create($input: CreateRunInput!) {
  createRun(input: $input) { __typename ... on CreateRunPayload { created } ... on UserError { code message } }
}
"""

LOG = """
mutation Log($runId: ID!, $writerId: ID!, $blocks: [MetricBlockInput!]!) {
  logMetrics(input: {runId: $runId, writerId: $writerId, blocks: $blocks}) {
    __typename ... on LogMetricsPayload { nextSeq } ... on UserError { code message }
  }
}
"""

FINISH = """
mutation Finish($runId: ID!) {
  finishRun(input: {runId: $runId}) {
    __typename ... on FinishRunPayload { run { status } } ... on UserError { code message }
  }
}
"""

READ = """
query Read(
  $runIds: [ID!]!, $keys: [String!]!, $maxPoints: Int, $fromStep: Int64, $toStep: Int64, $encoding: ColumnEncoding!
) {
  series(
    select: {runIds: $runIds}, keys: $keys, maxPoints: $maxPoints, fromStep: $fromStep, toStep: $toStep,
    encoding: $encoding
  ) {
    runId key count exact steps values
  }
}
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """A series as it was answered."""

    run_id: str
    key: str
    count: int
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Requester:
    """Makes requests to a Runstone; it can travel to another process."""

    door: Door

    def request(self, query: str, **variables: Any) -> bytes:
        """A whole HTTP request."""
        return self.door.post(PATH, body(query, variables))


class Server:
    """A running Runstone and one connection to it."""

    def __init__(self, settings: Settings, door: Door, client: Client, pool: Pool, scope: Scope) -> None:
        self.settings = settings
        self.door = door
        self.requester = Requester(door)
        self.pool = pool  # straight to its database
        self.scope = scope  # what its token may do
        self._client = client

    @property
    def database_url(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url

    def request(self, query: str, **variables: Any) -> bytes:
        """A whole HTTP request."""
        return self.requester.request(query, **variables)

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of the answer. Raises `Refused`."""
        return data_of(await self.answer(self.request(query, **variables)))

    async def answer(self, request: bytes) -> bytes:
        """The body of the answer, as it came. Raises `Refused`."""
        return await self._client.ask(request)

    async def create_run(self, name: str = "bench", **more: Any) -> str:
        """The id of a new run."""
        run_id = new_run()
        payload(await self.ask(CREATE, input={"id": run_id, "experiment": "bench", "name": name, **more}))
        return run_id

    async def finish(self, run_ids: Sequence[str]) -> None:
        """End the runs, so that what they logged is compacted whole."""
        for run_id in run_ids:
            payload(await self.ask(FINISH, runId=run_id))

    async def read(
        self,
        run_ids: Sequence[str],
        keys: Sequence[str],
        *,
        max_points: int | None = None,
        steps: tuple[int, int] | tuple[None, None] = (None, None),
        encoding: str = "COMPACT",
    ) -> list[Curve]:
        """The series, decoded, as a client has them; of all steps or from one to another."""
        first, last = steps
        data = await self.ask(
            READ, runIds=run_ids, keys=keys, maxPoints=max_points, fromStep=first, toStep=last, encoding=encoding
        )
        return [
            Curve(
                found["runId"],
                found["key"],
                found["count"],
                column(found["steps"], "<i8"),
                column(found["values"], "<f8"),
            )
            for found in data["series"]
        ]

    def process(self, package: str) -> psutil.Process:
        """The process that runs `api` or `workers`."""
        return next(
            process
            for process in psutil.Process().children(recursive=True)
            if process.cmdline()[-2:] == ["-m", package]
            and process.environ().get("RUNSTONE_PORT") == str(self.settings.port)
        )


@asynccontextmanager
async def started() -> AsyncIterator[Server]:
    """Runstone with Postgres, Redis and S3, one api process and one worker; gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="runstone-bench-") as home:
        async with (
            up.running(Settings(home=Path(home), port=free_port("127.0.0.1"))) as settings,
            reached(settings) as server,
        ):
            yield server


@asynccontextmanager
async def reached(settings: Settings) -> AsyncIterator[Server]:
    """The Runstone that runs with these settings."""
    assert settings.database_url is not None
    door = Door(settings.host, settings.port, settings.token_path.read_text().strip())
    with connected(door) as client:
        async with open_pool(settings.database_url, size_max=4, statement_timeout_s=600, name="benchmark") as pool:
            yield Server(settings, door, client, pool, await _scope(pool, door))


async def _scope(pool: Pool, door: Door) -> Scope:
    """What the token may do, for calling query functions."""
    _, token_id, _ = (door.token or "").split("_", 2)
    found = await access.find_token(pool, token_id)
    assert found is not None
    return found.scope


def body(query: str, variables: dict[str, Any]) -> bytes:
    """The body of a request."""
    return orjson.dumps({"query": query, "variables": variables})


def data_of(answer: bytes) -> dict[str, Any]:
    """The data of an answer. Raises `Refused` when it has errors."""
    parsed = orjson.loads(answer)
    if "errors" in parsed:
        raise Refused(str(parsed["errors"][0]))
    data: dict[str, Any] = parsed["data"]
    return data


def payload(data: dict[str, Any]) -> None:
    """Raises `Refused` when a mutation was answered with a failure."""
    for answer in data.values():
        if not answer["__typename"].endswith("Payload"):
            raise Refused(str(answer))


def block(seq: int, keys: Sequence[str], batch: Batch) -> dict[str, Any]:
    """A block as the SDK sends it: columns of little-endian numbers in base64."""
    return {
        "seq": seq,
        "keys": keys,
        "steps": text(batch.steps.astype("<i8")),
        "times": text(batch.times.astype("<i8")),
        "values": text(batch.values.astype("<f8")),
    }


def text(column: NDArray[Any]) -> str:
    """The bytes of a column in base64."""
    return base64.b64encode(column.tobytes()).decode()


def column(answered: str | dict[str, Any], kind: str) -> NDArray[Any]:
    """The numbers of a column that was answered as BASE64 or COMPACT."""
    if isinstance(answered, str):
        return np.frombuffer(base64.b64decode(answered), kind)
    if "count" in answered:
        even: NDArray[Any] = answered["start"] + answered["stride"] * np.arange(answered["count"], dtype="<i8")
        return even.astype(kind)
    [(name, numbers)] = ((name, numbers) for name, numbers in answered.items() if name != "start")
    column: NDArray[Any] = np.frombuffer(base64.b64decode(numbers), name).astype(kind)
    return column + answered["start"] if "start" in answered else column


def new_run(in_ms: int = 0) -> str:
    """The id of a new run, as a client makes it so many milliseconds from now."""
    return str(_new_id(in_ms))


def new_writer(in_ms: int = 0) -> str:
    """The id of a new writer, as a client makes it so many milliseconds from now."""
    return str(_new_id(in_ms))


def _new_id(in_ms: int) -> UUID:
    return UUID(int=ids.new().int + (in_ms << 80))  # UUIDv7: the first 48 of 128 bits are the time


SETTLED = """
    select count(*) from block where run_id = any ($1::uuid[])
"""


async def blocks_of(pool: Pool, run_ids: Sequence[str]) -> int:
    """How many blocks of the runs are not compacted yet."""
    return int(await pool.fetchval(SETTLED, [UUID(run_id) for run_id in run_ids]))
