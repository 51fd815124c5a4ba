"""Comparing runs: key by key, what they share and where they differ."""

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import strawberry
from strawberry.dataloader import DataLoader

from api import cells
from api.artifacts import Artifact
from api.compared import (
    ComparedArtifact,
    ComparedMetric,
    ComparedPackage,
    ComparedParam,
    ComparedText,
    Metrics,
    artifacts_at,
)
from api.context import Context, Info
from api.runs import Run
from api.selections import RunSelection, selected
from db import comparisons, goals, ids, runs, texts
from db.comparisons import Column
from db.errors import Invalid
from db.goals import Goal
from db.summaries import Matrices

AnyColumn = TypeVar("AnyColumn", bound=Column)

PATCH_PATH: Final = "source/changes.patch"
PARTS_AT_ONCE: Final = 2  # connections to the database that one comparison holds

OnlyDifferences = Annotated[bool, strawberry.argument(description="Leave out what is the same in all runs.")]
Prefix = Annotated[str, strawberry.argument(description="Only keys that begin with this.")]


class Kind(Enum):
    """What runs have."""

    PARAMS = auto()
    TAGS = auto()
    SOURCE = auto()
    ENVIRONMENT = auto()
    INPUTS = auto()
    METRICS = auto()
    ARTIFACTS = auto()


Part = tuple[Kind, str]  # those keys of a kind that begin with a text


class Parts:
    """What the compared runs have, each part read once for all fields that ask for it."""

    def __init__(self, context: Context, run_ids: Sequence[UUID]) -> None:
        async def load(parts: list[Part]) -> list[Any]:
            return await asyncio.gather(*(self._read_in_turn(*part) for part in parts), return_exceptions=True)

        self._context = context
        self._run_ids = run_ids
        self._turns = asyncio.Semaphore(PARTS_AT_ONCE)
        self._loader: DataLoader[Part, Any] = DataLoader(load)

    async def of(self, kind: Kind, prefix: str = "") -> Any:
        """The part. Raises `Invalid` when it is too large."""
        return await self._loader.load((kind, texts.storable(prefix, "prefix")))

    async def _read_in_turn(self, kind: Kind, prefix: str) -> Any:
        async with self._turns:
            return await self._read(kind, prefix)

    async def _read(self, kind: Kind, prefix: str) -> Any:
        asked = (self._context.pool, self._context.scope, self._run_ids)
        match kind:
            case Kind.PARAMS:
                return await comparisons.params(*asked, prefix)
            case Kind.TAGS:
                return await comparisons.tags(*asked, prefix)
            case Kind.SOURCE:
                return await comparisons.sources(*asked)
            case Kind.ENVIRONMENT:
                return await comparisons.environments(*asked)
            case Kind.INPUTS:
                return await comparisons.inputs(*asked, prefix)
            case Kind.METRICS:
                return await comparisons.metrics(*asked, prefix)
            case Kind.ARTIFACTS:
                return await comparisons.artifacts(*asked, prefix)


@strawberry.type(description="Runs side by side.")
class RunComparison:
    rows: strawberry.Private[list[runs.Run]]
    baseline: strawberry.Private[int]
    parts: strawberry.Private[Parts]

    @strawberry.field(description="The compared runs; every list below is in this order.")
    def runs(self) -> list[Run]:
        return [Run.from_row(row) for row in self.rows]

    @strawberry.field(description="Their ids.")
    def run_ids(self) -> list[strawberry.ID]:
        return cells.texts([str(run_id) for run_id in self._ids])

    @strawberry.field(description="The run that the deltas are against.")
    def baseline_id(self) -> strawberry.ID:
        return strawberry.ID(str(self.rows[self.baseline].id))

    @strawberry.field(description="How many keys there are: params, tags, source, environment, inputs, metrics, files.")
    async def total_keys(self) -> int:
        return len(await self._differences())

    @strawberry.field(description="How many of them differ.")
    async def differing_keys(self) -> int:
        return sum(await self._differences())

    @strawberry.field(description="Their params, by key.")
    async def params(self, prefix: Prefix = "", only_differences: OnlyDifferences = False) -> list[ComparedParam]:
        columns = await self.parts.of(Kind.PARAMS, prefix)
        return [ComparedParam(column=column) for column in _chosen(columns, only_differences)]

    @strawberry.field(description="Their tags, by key.")
    async def tags(self, prefix: Prefix = "", only_differences: OnlyDifferences = False) -> list[ComparedText]:
        return _texts(await self.parts.of(Kind.TAGS, prefix), only_differences)

    @strawberry.field(description="Their source: commit, branch, remote, dirty, entryPoint, argv, patchDigest.")
    async def source(self, only_differences: OnlyDifferences = False) -> list[ComparedText]:
        return _texts(await self.parts.of(Kind.SOURCE), only_differences)

    @strawberry.field(
        description="The difference of each run's files to its commit, as an artifact with its download address; "
        "null where it was not uploaded."
    )
    async def patches(self, info: Info) -> list[Artifact | None]:
        [digests] = [column.texts for column in await self.parts.of(Kind.SOURCE) if column.key == "patchDigest"] or [
            [None] * len(self.rows)
        ]
        return await artifacts_at(info, self._ids, PATCH_PATH, digests)

    @strawberry.field(description="What they ran on; an installed package has the key `package <name>`.")
    async def environment(self, prefix: Prefix = "", only_differences: OnlyDifferences = False) -> list[ComparedText]:
        columns = (await self.parts.of(Kind.ENVIRONMENT)).columns
        return _texts([column for column in columns if column.key.startswith(prefix)], only_differences)

    @strawberry.field(description="Their installed packages, by name, and what became of each against the baseline.")
    async def packages(self, prefix: Prefix = "", only_differences: OnlyDifferences = False) -> list[ComparedPackage]:
        columns = [
            column for column in (await self.parts.of(Kind.ENVIRONMENT)).packages if column.key.startswith(prefix)
        ]
        return [ComparedPackage(column=column, baseline=self.baseline) for column in _chosen(columns, only_differences)]

    @strawberry.field(description="The digests of the datasets that they read, by name and context.")
    async def inputs(self, prefix: Prefix = "", only_differences: OnlyDifferences = False) -> list[ComparedText]:
        return _texts(await self.parts.of(Kind.INPUTS, prefix), only_differences)

    @strawberry.field(description="Their metrics, by key.")
    async def metrics(
        self, info: Info, prefix: Prefix = "", only_differences: OnlyDifferences = False
    ) -> list[ComparedMetric]:
        found: Matrices = await self.parts.of(Kind.METRICS, prefix)
        declared = await self._goals(info, found)
        metrics = Metrics(found, declared, self._ids, self.baseline)
        rows = [row for row, differs in enumerate(metrics.differs) if differs or not only_differences]
        return [ComparedMetric(row=row, of=metrics) for row in rows]

    @strawberry.field(description="Their files that are READY, by path.")
    async def artifacts(self, prefix: Prefix = "", only_differences: OnlyDifferences = False) -> list[ComparedArtifact]:
        columns = await self.parts.of(Kind.ARTIFACTS, prefix)
        return [ComparedArtifact(column=column, run_ids=self._ids) for column in _chosen(columns, only_differences)]

    @property
    def _ids(self) -> list[UUID]:
        return [row.id for row in self.rows]

    async def _goals(self, info: Info, found: Matrices) -> list[Goal | None]:
        """For each key the goal that all projects declare whose runs have it."""
        context = info.context
        project_ids = list(dict.fromkeys(row.project_id for row in self.rows))
        declared = await goals.of_projects(context.pool, context.scope, project_ids)
        return comparisons.agreed_goals(found, [row.project_id for row in self.rows], declared)

    async def _differences(self) -> list[bool]:
        """For each key of any kind whether it differs."""
        params, tags, source, environment, inputs, metrics, artifacts = await asyncio.gather(
            self.parts.of(Kind.PARAMS),
            self.parts.of(Kind.TAGS),
            self.parts.of(Kind.SOURCE),
            self.parts.of(Kind.ENVIRONMENT),
            self.parts.of(Kind.INPUTS),
            self.parts.of(Kind.METRICS),
            self.parts.of(Kind.ARTIFACTS),
        )
        columns = (params, tags, source, environment.columns, inputs, artifacts)
        return [*(column.differs for kind in columns for column in kind), *comparisons.differing(metrics).tolist()]


def _chosen(columns: Sequence[AnyColumn], only_differences: bool) -> Sequence[AnyColumn]:
    return [column for column in columns if column.differs] if only_differences else columns


def _texts(columns: Sequence[Column], only_differences: bool) -> list[ComparedText]:
    return [ComparedText(column=column) for column in _chosen(columns, only_differences)]


@strawberry.type
class CompareQuery:
    @strawberry.field(description="Runs side by side, of any experiments, key by key; 1 to 1,000 runs.")
    async def compare_runs(
        self,
        info: Info,
        select: Annotated[RunSelection, strawberry.argument(description="Which; with runIds in the order given.")],
        baseline_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="The run that deltas are against; absent: the first.")
        ] = None,
    ) -> RunComparison:
        rows = await selected(info, select)
        parts = Parts(info.context, [row.id for row in rows])
        places = {row.id: place for place, row in enumerate(rows)}
        if baseline_id is None:
            return RunComparison(rows=rows, baseline=0, parts=parts)
        place = places.get(ids.parse(baseline_id, "baselineId"))
        if place is None:
            raise Invalid("the baseline is not among the runs", path="baselineId", hint="name one of them")
        return RunComparison(rows=rows, baseline=place, parts=parts)
