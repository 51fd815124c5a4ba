"""Comparing runs: key by key, what they share and where they differ."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

import strawberry

from api.artifacts import Artifact
from api.context import Info
from api.runs import Run
from api.scalars import Int64, MetricValue, ParamValue
from api.selections import RunSelection, selected
from db import attempts, ids, params, runs
from db.errors import Invalid
from db.summaries import Summary

Value = TypeVar("Value")

OnlyDifferences = Annotated[bool, strawberry.argument(description="Leave out what is the same in all runs.")]


@strawberry.type(description="A param over the compared runs.")
class ComparedParam:
    key: str = strawberry.field(description="The param's key.")
    differs: bool = strawberry.field(description="Whether any two runs differ; a run without it differs from one with.")
    values: list[ParamValue | None] = strawberry.field(description="The value in each run, in the order of `runs`.")
    types: list[params.ParamType | None] = strawberry.field(
        description="The kind of the value in each run; null where the run has no such param."
    )


@strawberry.type(description="A text, such as a tag or a package version, over the compared runs.")
class ComparedText:
    key: str = strawberry.field(description="What it is.")
    differs: bool = strawberry.field(description="Whether any two runs differ; a run without it differs from one with.")
    values: list[str | None] = strawberry.field(description="The text in each run; null where there is none.")


@strawberry.type(description="A metric over the compared runs; every list has one entry per run, null for none.")
class ComparedMetric:
    key: str = strawberry.field(description="The metric's key.")
    differs: bool = strawberry.field(description="Whether the last values differ.")
    last: list[MetricValue | None] = strawberry.field(description="The value at the highest step.")
    min: list[MetricValue | None] = strawberry.field(description="The smallest finite value.")
    max: list[MetricValue | None] = strawberry.field(description="The largest finite value.")
    count: list[Int64 | None] = strawberry.field(description="How many points.")
    delta: list[MetricValue | None] = strawberry.field(description="The last value minus the baseline's.")
    relative_delta: list[MetricValue | None] = strawberry.field(
        description="`delta` as a part of the baseline's absolute value; null where that is zero or not finite."
    )
    highest_run_id: strawberry.ID | None = strawberry.field(description="The run with the highest last value.")
    lowest_run_id: strawberry.ID | None = strawberry.field(description="The run with the lowest last value.")


@strawberry.type(description="A file over the compared runs; every list has one entry per run, null for none.")
class ComparedArtifact:
    path: str = strawberry.field(description="Its path in the runs.")
    differs: bool = strawberry.field(description="Whether any two runs have other bytes; known without reading them.")
    digests: list[str | None] = strawberry.field(description="`sha256:<hex>` of the bytes.")
    artifacts: list[Artifact | None] = strawberry.field(description="The artifacts, with their download addresses.")


@strawberry.type(description="Runs side by side.")
class RunComparison:
    rows: strawberry.Private[list[runs.Run]]
    baseline: strawberry.Private[int]

    @strawberry.field(description="The compared runs; every list below is in this order.")
    def runs(self) -> list[Run]:
        return [Run.from_row(row) for row in self.rows]

    @strawberry.field(description="Their ids.")
    def run_ids(self) -> list[strawberry.ID]:
        return [strawberry.ID(str(row.id)) for row in self.rows]

    @strawberry.field(description="The run that the deltas are against.")
    def baseline_id(self) -> strawberry.ID:
        return strawberry.ID(str(self.rows[self.baseline].id))

    @strawberry.field(description="How many keys there are: params, tags, source, environment, inputs, metrics, files.")
    async def total_keys(self, info: Info) -> int:
        return len(await self._differences(info))

    @strawberry.field(description="How many of them differ.")
    async def differing_keys(self, info: Info) -> int:
        return sum(await self._differences(info))

    @strawberry.field(description="Their params, by key.")
    async def params(self, info: Info, only_differences: OnlyDifferences = False) -> list[ComparedParam]:
        return _chosen(await self._params(info), only_differences)

    @strawberry.field(description="Their tags, by key.")
    async def tags(self, info: Info, only_differences: OnlyDifferences = False) -> list[ComparedText]:
        return _chosen(await self._tags(info), only_differences)

    @strawberry.field(description="Their source: commit, branch, remote, dirty, entryPoint, argv, patchDigest.")
    async def source(self, info: Info, only_differences: OnlyDifferences = False) -> list[ComparedText]:
        return _chosen(await self._source(info), only_differences)

    @strawberry.field(description="What they ran on; an installed package has the key `package <name>`.")
    async def environment(self, info: Info, only_differences: OnlyDifferences = False) -> list[ComparedText]:
        return _chosen(await self._environment(info), only_differences)

    @strawberry.field(description="The digests of the datasets that they read, by name and context.")
    async def inputs(self, info: Info, only_differences: OnlyDifferences = False) -> list[ComparedText]:
        return _chosen(await self._inputs(info), only_differences)

    @strawberry.field(description="Their metrics, by key.")
    async def metrics(self, info: Info, only_differences: OnlyDifferences = False) -> list[ComparedMetric]:
        return _chosen(await self._metrics(info), only_differences)

    @strawberry.field(description="Their files that are READY, by path.")
    async def artifacts(self, info: Info, only_differences: OnlyDifferences = False) -> list[ComparedArtifact]:
        return _chosen(await self._artifacts(info), only_differences)

    async def _differences(self, info: Info) -> list[bool]:
        """For each key of any kind whether it differs."""
        kinds: list[Sequence[Any]] = [
            await self._params(info),
            await self._tags(info),
            await self._source(info),
            await self._environment(info),
            await self._inputs(info),
            await self._metrics(info),
            await self._artifacts(info),
        ]
        return [one.differs for kind in kinds for one in kind]

    @property
    def _ids(self) -> list[UUID]:
        return [row.id for row in self.rows]

    async def _params(self, info: Info) -> list[ComparedParam]:
        found = await info.context.loaders.params.load_many(self._ids)
        return [
            ComparedParam(
                key=key,
                differs=_differ((param.type, param.text) if param else None for param in row),
                values=[cast(ParamValue, param.value) if param else None for param in row],
                types=[param.type if param else None for param in row],
            )
            for key, row in _aligned([{param.key: param for param in of_run} for of_run in found])
        ]

    async def _tags(self, info: Info) -> list[ComparedText]:
        found = await info.context.loaders.tags.load_many(self._ids)
        return _texts([{tag.key: tag.value for tag in of_run} for of_run in found])

    async def _source(self, info: Info) -> list[ComparedText]:
        found = await info.context.loaders.source.load_many([(row.id, row.attempt) for row in self.rows])
        return _texts([_source_texts(source) if source else {} for source in found])

    async def _environment(self, info: Info) -> list[ComparedText]:
        found = await info.context.loaders.environment.load_many([(row.id, row.attempt) for row in self.rows])
        return _texts([_environment_texts(environment) if environment else {} for environment in found])

    async def _inputs(self, info: Info) -> list[ComparedText]:
        found = await info.context.loaders.inputs.load_many(self._ids)
        return _texts(
            [
                {f"{one.name} ({one.context})" if one.context else one.name: one.digest for one in of_run}
                for of_run in found
            ]
        )

    async def _metrics(self, info: Info) -> list[ComparedMetric]:
        found = await info.context.loaders.summaries.load_many(self._ids)
        return [self._compared(key, row) for key, row in _aligned(found)]

    def _compared(self, key: str, row: Sequence[Summary | None]) -> ComparedMetric:
        last = [summary.last if summary else None for summary in row]
        baseline = last[self.baseline]
        ranked = [(value, -place) for place, value in enumerate(last) if value is not None and not math.isnan(value)]
        return ComparedMetric(
            key=key,
            differs=_differ(None if value is None else str(value) for value in last),
            last=_metric_values(last),
            min=_metric_values([summary.min if summary else None for summary in row]),
            max=_metric_values([summary.max if summary else None for summary in row]),
            count=[Int64(summary.count) if summary else None for summary in row],
            delta=_metric_values([_delta(value, baseline) for value in last]),
            relative_delta=_metric_values([_relative_delta(value, baseline) for value in last]),
            highest_run_id=self._id_at(-max(ranked)[1]) if ranked else None,
            lowest_run_id=self._id_at(min((value, -place) for value, place in ranked)[1]) if ranked else None,
        )

    def _id_at(self, place: int) -> strawberry.ID:
        return strawberry.ID(str(self.rows[place].id))

    async def _artifacts(self, info: Info) -> list[ComparedArtifact]:
        found = await info.context.loaders.ready_artifacts.load_many(self._ids)
        return [
            ComparedArtifact(
                path=path,
                differs=_differ(artifact.digest if artifact else None for artifact in row),
                digests=["sha256:" + artifact.digest.hex() if artifact else None for artifact in row],
                artifacts=[Artifact.from_row(artifact) if artifact else None for artifact in row],
            )
            for path, row in _aligned([{artifact.path: artifact for artifact in of_run} for of_run in found])
        ]


def _aligned(found: Sequence[Mapping[str, Value]]) -> list[tuple[str, list[Value | None]]]:
    """Each key of any run, in code point order, with its value in each run."""
    keys = sorted({key for of_run in found for key in of_run})
    return [(key, [of_run.get(key) for of_run in found]) for key in keys]


def _texts(found: Sequence[Mapping[str, str]]) -> list[ComparedText]:
    return [ComparedText(key=key, differs=_differ(row), values=row) for key, row in _aligned(found)]


def _differ(values: Iterable[Any]) -> bool:
    return len(set(values)) > 1


def _chosen(compared: list[Value], only_differences: bool) -> list[Value]:
    return [one for one in compared if cast(Any, one).differs] if only_differences else compared


def _metric_values(values: Sequence[float | None]) -> list[MetricValue | None]:
    return [None if value is None else MetricValue(value) for value in values]


def _delta(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or baseline is None else value - baseline


def _relative_delta(value: float | None, baseline: float | None) -> float | None:
    if value is None or baseline is None or baseline == 0 or not math.isfinite(baseline):
        return None
    return (value - baseline) / abs(baseline)


def _source_texts(source: attempts.Source) -> dict[str, str]:
    texts: dict[str, str | None] = {
        "commit": source.commit_id,
        "branch": source.branch,
        "remote": source.remote,
        "dirty": None if source.is_dirty is None else str(source.is_dirty).lower(),
        "entryPoint": source.entry_point,
        "argv": None if source.argv is None else " ".join(source.argv),
        "patchDigest": None if source.patch_digest is None else "sha256:" + source.patch_digest.hex(),
    }
    return {key: text for key, text in texts.items() if text is not None}


def _environment_texts(environment: attempts.Environment) -> dict[str, str]:
    texts: dict[str, str | None] = {
        "python": environment.python,
        "platform": environment.platform,
        "hostname": environment.hostname,
        "cpuCount": None if environment.cpu_count is None else str(environment.cpu_count),
        "memoryBytes": None if environment.memory_bytes is None else str(environment.memory_bytes),
        "gpus": ", ".join(environment.gpus) or None,
        **{f"package {name}": version for name, version in environment.packages.items()},
    }
    return {key: text for key, text in texts.items() if text is not None}


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
        places = {row.id: place for place, row in enumerate(rows)}
        if baseline_id is None:
            return RunComparison(rows=rows, baseline=0)
        place = places.get(ids.parse(baseline_id, "baselineId"))
        if place is None:
            raise Invalid("the baseline is not among the runs", path="baselineId", hint="name one of them")
        return RunComparison(rows=rows, baseline=place)
