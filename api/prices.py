"""Prices: what each field of the schema costs. One unit is about a microsecond of a core, here or in the database.

A plain field costs 1, whatever is not listed here too; a list costs what its items do, as many as it may have. Fields
with `first` or `last` are pages: they cost a statement, and their `nodes` and `edges` are as many as were asked for. A
list that is neither a page nor listed here is taken for a large one; a test finds it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from api.connections import FIRST_MAX
from api.selections import SELECTED_MAX

Arguments: TypeAlias = Mapping[str, Any]  # of a field: as given, else the schema's defaults

CELL: Final = 0.1  # an entry of a list of plain values, or of a column
STATEMENT: Final = 300.0
COUNT: Final = 10_000.0  # counting all that a list has
MUTATION: Final = 10_000.0
PAGE_USUAL: Final = 50
UNLISTED_USUAL: Final = 1_000


@dataclass(frozen=True, slots=True)
class Size:
    """How many items there are, by these of the field's arguments."""

    count: Callable[[Arguments], float]
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Price:
    """What a field costs: `own`, and what is below it for each of `items`; with `page`, its lists are as long."""

    own: float = 1.0
    items: Size | None = None  # None: one
    page: Size | None = None
    is_paged: bool = False  # as many items as the page has that it belongs to


def usual(count: int) -> Size:
    """As many as there usually are."""
    return Size(lambda _: count)


def length(name: str) -> Size:
    """As many as the argument has values."""
    return Size(lambda arguments: _length(arguments.get(name)), (name,))


def number(*names: str, absent: int, most: int) -> Size:
    """The number in one of the arguments. More than `most` are refused by the field itself, in words that fit."""

    def count(arguments: Arguments) -> float:
        given = [value for name in names if type(value := arguments.get(name)) is int]
        return min(max(1, *given), most) if given else absent

    return Size(count, names)


def product(one: Size, other: Size) -> Size:
    """Each with each."""
    return Size(lambda arguments: one.count(arguments) * other.count(arguments), (*one.arguments, *other.arguments))


def _length(given: Any) -> int:
    return max(1, len(given)) if isinstance(given, list) else 1


def _selected(arguments: Arguments) -> float:
    select = arguments.get("select")
    named = select.get("runIds") if isinstance(select, dict) else None
    return SELECTED_MAX if named is None else min(_length(named), SELECTED_MAX)


FIRST_OR_LAST: Final = number("first", "last", absent=PAGE_USUAL, most=FIRST_MAX)


def _drawn(arguments: Arguments) -> float:
    most = arguments.get("maxSeries")
    return min(_selected(arguments), most) if type(most) is int else SELECTED_MAX


def _buckets(arguments: Arguments) -> float:
    given = arguments.get("buckets")
    return min(max(1, given), 2_000) if type(given) is int else 500


SELECTED: Final = Size(_selected, ("select",))  # as many runs as it names, else as many as a selection may have
DRAWN: Final = Size(_drawn, ("select", "maxSeries"))
BUCKETS: Final = Size(lambda arguments: _buckets(arguments) / 4, ("buckets",))  # numbers as bytes cost less than cells
PAGED: Final = Price(is_paged=True)
POINTS: Final = number("maxPoints", absent=1_000, most=100_000)

# Mutations that a training waits for. They cost nothing, so that no budget ever stops a training.
TRAINING: Final = frozenset(
    {
        "createRun",
        "resumeRun",
        "heartbeat",
        "finishRun",
        "logParams",
        "logMetrics",
        "setTags",
        "logInputs",
        "createUploads",
        "completeUploads",
        "abortUpload",
    }
)

# Mutations of which a document may hold one.
ALONE: Final = frozenset({"createProject", "createAccount", "createToken", "replaceTokens", "startExport"})

PRICES: Final[Mapping[str, Price]] = {
    "Viewer.memberships": Price(STATEMENT, usual(20)),
    "Viewer.tokens": Price(STATEMENT, usual(10)),
    "Project.members": Price(STATEMENT, usual(20)),
    "Project.metricGoals": Price(STATEMENT, usual(10)),
    "Project.metricGoalHistory": Price(STATEMENT, usual(50)),
    # experiments, of each of which all runs are counted
    "Experiment.runCount": Price(STATEMENT),
    "Experiment.statusCounts": Price(STATEMENT, usual(3)),
    "Experiment.lastActivityAt": Price(STATEMENT),
    # runs
    "Query.runs": Price(2_000, page=FIRST_OR_LAST),
    "Experiment.runs": Price(2_000, page=FIRST_OR_LAST),
    "RunConnection.totalCount": Price(COUNT),
    "Run.ancestors": Price(STATEMENT, usual(3)),
    "Run.descendantCount": Price(STATEMENT),
    "Run.attempts": Price(items=usual(3)),
    "Run.tags": Price(items=usual(20)),
    "Run.tagHistory": Price(STATEMENT, usual(50)),
    "Run.inputs": Price(items=usual(5)),
    "Run.series": Price(STATEMENT, length("keys"), page=POINTS),
    "Source.argv": Price(items=usual(20)),
    "Environment.gpus": Price(items=usual(8)),
    "Environment.packages": Price(items=usual(200)),
    "Artifact.download": Price(20),
    "Artifact.preview": Price(20),
    "Artifact.sameBytes": Price(STATEMENT, number("first", absent=10, most=100)),
    "FilterCheck.suggestions": Price(items=usual(20)),
    "RunKey.types": Price(items=usual(2)),
    # series
    "Query.series": Price(STATEMENT, product(SELECTED, length("keys")), page=POINTS),
    "Series.steps": PAGED,
    "Series.times": PAGED,
    "Series.x": PAGED,
    "Series.values": PAGED,
    "Series.attempts": PAGED,
    # frames of metrics: for each metric and run its points are read, and divided into as many buckets as are asked for
    "Query.metricFrames": Price(2_000, product(DRAWN, length("metrics")), page=BUCKETS),
    "MetricFrame.series": Price(60),
    "MetricFrame.x": Price(),
    "MetricSeries.group": Price(items=usual(2)),
    **{f"NonFinite.{name}": Price(items=usual(4)) for name in ("x", "nanX", "infinityX", "negativeInfinityX")},
    **{f"MetricSeries.{name}": PAGED for name in ("mean", "min", "max", "last", "std")},
    # comparisons: by key, and for each key as many values as there are runs
    "Query.compareRuns": Price(STATEMENT, page=SELECTED),
    "RunComparison.runs": PAGED,
    "RunComparison.runIds": PAGED,
    "RunComparison.totalKeys": Price(COUNT),
    "RunComparison.differingKeys": Price(COUNT),
    "RunComparison.params": Price(STATEMENT, usual(100)),
    "RunComparison.tags": Price(STATEMENT, usual(20)),
    "RunComparison.source": Price(STATEMENT, usual(7)),
    "RunComparison.patches": PAGED,
    "RunComparison.packages": Price(STATEMENT, usual(200)),
    "RunComparison.environment": Price(STATEMENT, usual(200)),
    "RunComparison.inputs": Price(STATEMENT, usual(10)),
    "RunComparison.metrics": Price(STATEMENT, usual(100)),
    "RunComparison.artifacts": Price(STATEMENT, usual(10)),
    "ComparedParam.values": PAGED,
    "ComparedParam.types": PAGED,
    "ComparedText.values": PAGED,
    "ComparedPackage.versions": PAGED,
    "ComparedPackage.changes": PAGED,
    "ComparedMetric.last": PAGED,
    "ComparedMetric.min": PAGED,
    "ComparedMetric.max": PAGED,
    "ComparedMetric.count": PAGED,
    "ComparedMetric.delta": PAGED,
    "ComparedMetric.relativeDelta": PAGED,
    "ComparedMetric.best": PAGED,
    "ComparedMetric.better": PAGED,
    "ComparedArtifact.digests": PAGED,
    "ComparedArtifact.artifacts": PAGED,
    # frames and groups: for each column as many cells as there are runs or groups
    "Query.runFrame": Price(2_000, page=number("first", absent=1_000, most=1_000)),
    "RunFrame.ids": PAGED,
    "RunFrame.runs": PAGED,
    "RunFrame.columns": Price(STATEMENT, usual(100)),
    "RunFrame.totalCount": Price(COUNT),
    "FrameColumn.cells": PAGED,
    "FrameColumn.differsInSelection": Price(1_000),  # together with its others it reads 10,000 runs
    "Query.groupRuns": Price(COUNT, length("metrics"), page=number("first", absent=200, most=1_000)),
    "RunGroups.totalCount": Price(),
    "RunGroups.keys": Price(items=usual(3)),
    "RunGroups.runCounts": PAGED,
    "RunGroups.runIds": PAGED,
    "RunGroups.columns": Price(items=usual(1)),
    "RunGroups.groups": PAGED,
    "RunGroup.values": Price(items=usual(3)),
    "RunGroup.runIds": Price(items=usual(10)),
    "RunGroup.metrics": Price(items=usual(1)),
    **{
        f"GroupColumn.{name}": PAGED
        for name in ("count", "nonFinite", "mean", "standardDeviation", "confidenceLow", "confidenceHigh", "min", "max")
    },
    # exports
    "Export.tables": Price(items=usual(8)),
    "Export.files": Price(items=usual(20)),
    "ExportFile.download": Price(20),
    # mutations, and their payloads
    "Mutation.startExport": Price(100_000),
    "FinishRunPayload.failed": Price(items=usual(10)),
    "CreateUploadsPayload.uploads": Price(items=usual(100)),
    "Upload.requests": Price(items=usual(2)),
    "UploadRequest.headers": Price(items=usual(5)),
    "CompleteUploadsPayload.artifacts": Price(items=usual(100)),
    # subscriptions: what a message costs
    "FreshPoints.series": Price(items=usual(20), page=usual(100)),
    "FreshSeries.steps": PAGED,
    "FreshSeries.times": PAGED,
    "FreshSeries.values": PAGED,
    "FreshSeries.attempts": PAGED,
    # the schema itself
    "__Schema.types": Price(items=usual(200)),
    "__Schema.directives": Price(items=usual(6)),
    "__Type.fields": Price(items=usual(6)),
    "__Type.inputFields": Price(items=usual(3)),
    "__Type.enumValues": Price(items=usual(3)),
    "__Type.interfaces": Price(items=usual(1)),
    "__Type.possibleTypes": Price(items=usual(2)),
    "__Field.args": Price(items=usual(2)),
    "__Directive.args": Price(items=usual(2)),
    "__Directive.locations": Price(items=usual(5)),
}
