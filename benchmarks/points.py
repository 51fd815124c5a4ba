"""The points that all contenders are given."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

START_MS: Final = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Some steps of a run, of all its keys; `values` has a row for each key."""

    run: int
    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def points(self) -> int:
        return self.values.size


def keys(count: int) -> list[str]:
    """Names of metrics."""
    return [f"metric_{number:02}" for number in range(count)]


def curve(keys: int, steps: int, seed: int, *, full: bool = False) -> NDArray[np.float64]:
    """Random walks, a row for each key: what float32 holds exactly, as losses are; or `full` float64."""
    random = np.random.default_rng(seed)
    walks = random.normal(0, 0.01, (keys, steps)).cumsum(axis=1) + 1
    return walks if full else walks.astype("<f4").astype("<f8")


def batches(runs: int, keys: int, steps: int, per_batch: int, *, full: bool = False) -> Iterator[Batch]:
    """The points of so many runs, `per_batch` steps at a time, run by run."""
    for run in range(runs):
        values = curve(keys, steps, seed=run, full=full)
        for first in range(0, steps, per_batch):
            chosen = np.arange(first, min(first + per_batch, steps))
            yield Batch(run, chosen, START_MS + chosen * 50, np.ascontiguousarray(values[:, chosen]))


def cut(batch: Batch, steps: int) -> Iterator[Batch]:
    """The batch in parts of so many steps."""
    for first in range(0, len(batch.steps), steps):
        part = slice(first, first + steps)
        yield Batch(batch.run, batch.steps[part], batch.times[part], batch.values[:, part])


def dealt(given: Sequence[Batch], clients: int) -> list[Sequence[Batch]]:
    """The batches, dealt to clients in turn."""
    return [given[client::clients] for client in range(clients)]
