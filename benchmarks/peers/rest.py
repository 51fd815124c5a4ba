"""MLflow's REST API, which both peers speak."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import orjson

from benchmarks.load import Talk
from benchmarks.points import START_MS, Batch
from benchmarks.wire import Client, Door, Refused, connected

PREFIX: Final = "/api/2.0/mlflow"
PAGE: Final = 25_000


@dataclass(frozen=True, slots=True)
class Posts:
    """Sends requests that were made before; the status says whether each was taken."""

    requests: Sequence[bytes]

    def talk(self) -> Talk:
        """One after the other."""
        for request in self.requests:  # noqa: UP028 - answers are sent in, which a list does not take
            yield request


@dataclass(frozen=True, slots=True)
class Peer:
    """A running peer. Its amounts fit its speed: what is compared are rates."""

    name: str
    door: Door
    bulk_steps: int
    points_per_request: int
    live_connections: int
    venv: Path | None = None  # where its own Python client is, when that is measured too

    def connected(self) -> AbstractContextManager[Client]:
        """A client of it."""
        return connected(self.door)

    def post(self, path: str, content: dict[str, Any]) -> bytes:
        """A whole request."""
        return self.door.post(f"{PREFIX}/{path}", orjson.dumps(content))

    def get(self, path: str, **query: str | int) -> bytes:
        """A whole request."""
        return self.door.get(f"{PREFIX}/{path}?{urlencode(query)}")

    def create(self, experiment_id: str, tags: Mapping[str, str] | None = None) -> bytes:
        """The request that creates a run."""
        given = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        content = {"experiment_id": experiment_id, "start_time": START_MS, "run_name": "bench", "tags": given}
        return self.post("runs/create", content)

    def log(self, run_id: str, keys: Sequence[str], batch: Batch) -> bytes:
        """The request that logs points."""
        return self.post("runs/log-batch", {"run_id": run_id, "metrics": metrics(keys, batch)})

    def finish(self, run_id: str) -> bytes:
        """The request that ends a run."""
        return self.post("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": START_MS + 1000})

    async def experiment(self, client: Client, name: str) -> str:
        """The id of a new experiment."""
        answer = await client.ask_json(self.post("experiments/create", {"name": name}))
        return str(answer["experiment_id"])

    async def runs(self, client: Client, experiment_id: str) -> list[dict[str, Any]]:
        """The runs of an experiment, as they are answered."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"experiment_ids": [experiment_id], "max_results": 1000}
        while True:
            answer = await client.ask_json(self.post("runs/search", query))
            found += answer.get("runs", [])
            if not answer.get("next_page_token"):
                return found
            query["page_token"] = answer["next_page_token"]

    async def create_runs(self, client: Client, count: int) -> list[str]:
        """The ids of new runs."""
        return [run_id_of(await client.ask(self.create("0"))) for _ in range(count)]

    async def history(self, client: Client, run_id: str, key: str) -> list[tuple[int, float]]:
        """Every (step, value) of a metric, over as many pages as it takes."""
        found: list[tuple[int, float]] = []
        query: dict[str, str | int] = {"run_id": run_id, "metric_key": key, "max_results": PAGE}
        while True:
            answer = await client.ask_json(self.get("metrics/get-history", **query))
            found += [(int(each.get("step", 0)), float(each["value"])) for each in answer.get("metrics", ())]
            if not answer.get("next_page_token"):
                return found
            query["page_token"] = answer["next_page_token"]

    async def expect(self, client: Client, run_ids: Sequence[str], keys: Sequence[str], steps: int) -> None:
        """Raises `Refused` unless each run has this many points of each key."""
        for run_id in run_ids:
            for key in keys:
                found = len(await self.history(client, run_id, key))
                if found != steps:
                    raise Refused(f"{self.name} has {found} of {steps} points of {key}")


def metrics(keys: Sequence[str], batch: Batch) -> list[dict[str, Any]]:
    """The points of a batch as the API wants them."""
    steps, times = batch.steps.tolist(), batch.times.tolist()
    return [
        {"key": key, "value": value, "timestamp": time_ms, "step": step}
        for key, values in zip(keys, np.asarray(batch.values).tolist(), strict=True)
        for step, time_ms, value in zip(steps, times, values, strict=True)
    ]


def run_id_of(answer: bytes) -> str:
    """The id of the run that was created."""
    return str(orjson.loads(answer)["run"]["info"]["run_id"])
