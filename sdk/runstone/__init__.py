"""Runstone: experiment tracking where every run is one immutable record.

with runstone.start_run(experiment="churn", params={"C": 0.1}) as run:
    run.log({"loss": 0.3}, step=1)
    run.log_model(model, "model")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runstone.background import (
        active_run,
        compare,
        create_account,
        download,
        execute,
        export,
        group_runs,
        init,
        log,
        request_stop,
        run,
        run_frame,
        runs,
        series,
        set_metric_goal,
        start_run,
    )
    from runstone.client import Client
    from runstone.columns import GroupMetric, RunFrame, RunGroup, RunGroupList
    from runstone.errors import (
        ArtifactConflict,
        BadRequest,
        Conflict,
        DigestMismatch,
        ExportFailed,
        Forbidden,
        Incomplete,
        Internal,
        Invalid,
        NameTaken,
        NotFound,
        NotRunstone,
        ParamConflict,
        PayloadTooLarge,
        QueryTooComplex,
        QuotaExceeded,
        RateLimited,
        RunSealed,
        RunstoneError,
        SeqConflict,
        SlowConsumer,
        StopRequested,
        TimedOut,
        Unauthenticated,
        Unavailable,
        UploadExpired,
        UploadFailed,
    )
    from runstone.exports import Export, ExportedFile
    from runstone.frames import RunList, Series, SeriesList
    from runstone.live import AsyncRun, Finished, Run
    from runstone.records import (
        Artifact,
        ArtifactFailure,
        ComparedArtifact,
        ComparedMetric,
        ComparedParam,
        ComparedText,
        Comparison,
        DatasetInput,
        Environment,
        Metric,
        Package,
        RunRecord,
        RunSummary,
        Source,
    )
    from runstone.uploads import Upload

__all__ = [
    "Artifact",
    "ArtifactConflict",
    "ArtifactFailure",
    "AsyncRun",
    "BadRequest",
    "Client",
    "ComparedArtifact",
    "ComparedMetric",
    "ComparedParam",
    "ComparedText",
    "Comparison",
    "Conflict",
    "DatasetInput",
    "DigestMismatch",
    "Environment",
    "Export",
    "ExportFailed",
    "ExportedFile",
    "Finished",
    "Forbidden",
    "GroupMetric",
    "Incomplete",
    "Internal",
    "Invalid",
    "Metric",
    "NameTaken",
    "NotFound",
    "NotRunstone",
    "Package",
    "ParamConflict",
    "PayloadTooLarge",
    "QueryTooComplex",
    "QuotaExceeded",
    "RateLimited",
    "Run",
    "RunFrame",
    "RunGroup",
    "RunGroupList",
    "RunList",
    "RunRecord",
    "RunSealed",
    "RunSummary",
    "RunstoneError",
    "SeqConflict",
    "Series",
    "SeriesList",
    "SlowConsumer",
    "Source",
    "StopRequested",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "Upload",
    "UploadExpired",
    "UploadFailed",
    "active_run",
    "compare",
    "create_account",
    "download",
    "execute",
    "export",
    "group_runs",
    "init",
    "log",
    "request_stop",
    "run",
    "run_frame",
    "runs",
    "series",
    "set_metric_goal",
    "start_run",
]

# Importing this package costs a training script nothing: each part is loaded when it is first used.
_PARTS = ("errors", "records", "background", "client", "live", "uploads", "exports", "frames", "columns")


def __getattr__(name: str) -> object:
    if name in __all__:
        for part in _PARTS:
            found = getattr(import_module(f"{__name__}.{part}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
