"""Compared runs: what they have of a key, as columns with an entry for each run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast
from uuid import UUID

import numpy as np
import strawberry
from numpy.typing import NDArray

from api import cells
from api.artifacts import Artifact
from api.context import Info
from api.scalars import Int64, MetricValue, ParamValue
from db import comparisons, params
from db.comparisons import Column, PackageChange, ParamColumn
from db.goals import Goal
from db.packing import Floats
from db.summaries import Matrices


@strawberry.type(description="A param over the compared runs.")
class ComparedParam:
    column: strawberry.Private[ParamColumn]

    @strawberry.field(description="The param's key.")
    def key(self) -> str:
        return self.column.key

    @strawberry.field(description="Whether any two runs differ; a run without it differs from one with.")
    def differs(self) -> bool:
        return self.column.differs

    @strawberry.field(description="The value in each run, in the order of `runs`.")
    def values(self) -> list[ParamValue | None]:
        return cells.params(self.column)

    @strawberry.field(description="The kind of the value in each run; null where the run has no such param.")
    def types(self) -> list[params.ParamType | None]:
        return cells.texts(self.column.types)


@strawberry.type(description="A text, such as a tag or a package version, over the compared runs.")
class ComparedText:
    column: strawberry.Private[Column]

    @strawberry.field(description="What it is.")
    def key(self) -> str:
        return self.column.key

    @strawberry.field(description="Whether any two runs differ; a run without it differs from one with.")
    def differs(self) -> bool:
        return self.column.differs

    @strawberry.field(description="The text in each run; null where there is none.")
    def values(self) -> list[str | None]:
        return cells.texts(self.column.texts)


@strawberry.type(description="An installed package over the compared runs.")
class ComparedPackage:
    column: strawberry.Private[Column]
    baseline: strawberry.Private[int]

    @strawberry.field(description="Its name.")
    def name(self) -> str:
        return self.column.key

    @strawberry.field(description="Whether any two runs differ; a run without it differs from one with.")
    def differs(self) -> bool:
        return self.column.differs

    @strawberry.field(description="Its version in each run; null where it is not installed.")
    def versions(self) -> list[str | None]:
        return cells.texts(self.column.texts)

    @strawberry.field(description="What became of it in each run against the baseline; null where nothing did.")
    def changes(self) -> list[PackageChange | None]:
        return cells.texts(comparisons.package_changes(self.column, self.baseline))


@dataclass(frozen=True)  # without slots, for what is worked out once
class Metrics:
    """The metrics of a comparison: each column, of all keys at once, when it is first asked for."""

    found: Matrices
    goals: Sequence[Goal | None]
    run_ids: Sequence[UUID]
    baseline: int

    @cached_property
    def differs(self) -> list[bool]:
        differs: list[bool] = comparisons.differing(self.found).tolist()
        return differs

    @cached_property
    def lasts(self) -> list[cells.Spliced]:
        return cells.floats(self.found.lasts, self.found.has)

    @cached_property
    def lows(self) -> list[cells.Spliced]:
        return cells.floats(self.found.lows, ~np.isnan(self.found.lows))

    @cached_property
    def highs(self) -> list[cells.Spliced]:
        return cells.floats(self.found.highs, ~np.isnan(self.found.highs))

    @cached_property
    def counts(self) -> list[cells.Spliced]:
        return cells.counts(self.found.counts, self.found.has)

    @cached_property
    def deltas(self) -> list[cells.Spliced]:
        return cells.floats(*comparisons.deltas(self.found, self.baseline))

    @cached_property
    def relative_deltas(self) -> list[cells.Spliced]:
        return cells.floats(*comparisons.relative_deltas(self.found, self.baseline))

    @cached_property
    def is_large_better(self) -> NDArray[np.bool_]:
        return np.array([goal is Goal.MAXIMIZE for goal in self.goals], np.bool_)

    @cached_property
    def best_values(self) -> Floats:
        return np.where(self.is_large_better[:, None], self.found.highs, self.found.lows)

    @cached_property
    def best(self) -> list[cells.Spliced]:
        return cells.floats(self.best_values, ~np.isnan(self.best_values))

    @cached_property
    def better(self) -> list[cells.Spliced]:
        return cells.flags(comparisons.better(self.found, self.baseline, largest=self.is_large_better))

    @cached_property
    def best_run_ids(self) -> list[str | None]:
        return self._ids(self.best_values, self.found.has, self.is_large_better)

    @cached_property
    def best_last_run_ids(self) -> list[str | None]:
        return self._ids(self.found.lasts, self.found.has, self.is_large_better)

    @cached_property
    def highest_run_ids(self) -> list[str | None]:
        return self._ids(self.found.lasts, self.found.has, np.ones(len(self.goals), np.bool_))

    @cached_property
    def lowest_run_ids(self) -> list[str | None]:
        return self._ids(self.found.lasts, self.found.has, np.zeros(len(self.goals), np.bool_))

    def _ids(self, values: Floats, has: NDArray[np.bool_], largest: NDArray[np.bool_]) -> list[str | None]:
        places = comparisons.best_places(values, has, largest=largest).tolist()
        return [None if place < 0 else str(self.run_ids[place]) for place in places]


@strawberry.type(description="A metric over the compared runs; every list has one entry per run, null for none.")
class ComparedMetric:
    row: strawberry.Private[int]
    of: strawberry.Private[Metrics]

    @strawberry.field(description="The metric's key.")
    def key(self) -> str:
        return self.of.found.keys[self.row]

    @strawberry.field(description="Whether the last values differ.")
    def differs(self) -> bool:
        return self.of.differs[self.row]

    @strawberry.field(description="The value at the highest step.")
    def last(self) -> list[MetricValue | None]:
        return self.of.lasts[self.row]

    @strawberry.field(description="The smallest finite value.")
    def min(self) -> list[MetricValue | None]:
        return self.of.lows[self.row]

    @strawberry.field(description="The largest finite value.")
    def max(self) -> list[MetricValue | None]:
        return self.of.highs[self.row]

    @strawberry.field(description="How many points.")
    def count(self) -> list[Int64 | None]:
        return self.of.counts[self.row]

    @strawberry.field(description="The last value minus the baseline's.")
    def delta(self) -> list[MetricValue | None]:
        return self.of.deltas[self.row]

    @strawberry.field(
        description="`delta` as a part of the baseline's absolute value; null where that is zero or not finite."
    )
    def relative_delta(self) -> list[MetricValue | None]:
        return self.of.relative_deltas[self.row]

    @strawberry.field(description="The run with the highest last value; of several the first.")
    def highest_run_id(self) -> strawberry.ID | None:
        return cast(strawberry.ID | None, self.of.highest_run_ids[self.row])

    @strawberry.field(description="The run with the lowest last value; of several the first.")
    def lowest_run_id(self) -> strawberry.ID | None:
        return cast(strawberry.ID | None, self.of.lowest_run_ids[self.row])

    @strawberry.field(
        description="Which values are better, as the projects of all runs that have the metric declare it; null when "
        "one of them does not, or they disagree. Without a goal the fields below are null."
    )
    def goal(self) -> Goal | None:
        return self.of.goals[self.row]

    @strawberry.field(description="The best finite value of each run: its `min` or its `max`, as the goal says.")
    def best(self) -> list[MetricValue | None] | None:
        return self.of.best[self.row] if self.goal() else None

    @strawberry.field(description="The run with the best of them; of several the first.")
    def best_run_id(self) -> strawberry.ID | None:
        return cast(strawberry.ID, self.of.best_run_ids[self.row]) if self.goal() else None

    @strawberry.field(description="The run with the best last value; of several the first.")
    def best_last_run_id(self) -> strawberry.ID | None:
        return cast(strawberry.ID, self.of.best_last_run_ids[self.row]) if self.goal() else None

    @strawberry.field(
        description="Whether the last value of each run is better than the baseline's, or worse; null where it is "
        "neither: equal, NaN or missing."
    )
    def better(self) -> list[bool | None] | None:
        return self.of.better[self.row] if self.goal() else None


@strawberry.type(description="A file over the compared runs; every list has one entry per run, null for none.")
class ComparedArtifact:
    column: strawberry.Private[Column]
    run_ids: strawberry.Private[Sequence[UUID]]

    @strawberry.field(description="Its path in the runs.")
    def path(self) -> str:
        return self.column.key

    @strawberry.field(description="Whether any two runs have other bytes; known without reading them.")
    def differs(self) -> bool:
        return self.column.differs

    @strawberry.field(description="`sha256:<hex>` of the bytes.")
    def digests(self) -> list[str | None]:
        return cells.texts(self.column.texts)

    @strawberry.field(description="The artifacts, with their download addresses.")
    async def artifacts(self, info: Info) -> list[Artifact | None]:
        return await artifacts_at(info, self.run_ids, self.column.key, self.column.texts)


async def artifacts_at(
    info: Info, run_ids: Sequence[UUID], path: str, digests: Sequence[str | None]
) -> list[Artifact | None]:
    """The artifact of each run at this path; None where it does not have this digest."""
    wanted = [(run_id, path) for run_id, digest in zip(run_ids, digests, strict=True) if digest is not None]
    rows = await info.context.loaders.artifact_at.load_many(wanted)
    found = {row.run_id: Artifact.from_row(row) for row in rows if row}
    return [
        artifact if (artifact := found.get(run_id)) and artifact.digest == digest else None
        for run_id, digest in zip(run_ids, digests, strict=True)
    ]
