"""Enums of the database's words, described for GraphQL."""

from enum import Enum

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from api.columns import ColumnEncoding
from api.previews import PreviewKind
from db.access import Role
from db.artifacts import ArtifactState, FailureReason
from db.attempts import RunStatus
from db.buckets import FrameAxis
from db.comparisons import PackageChange
from db.conditions import Area, Stat
from db.errors import Code
from db.events import EventKind
from db.experiments import ExperimentOrder
from db.exports import ExportFailureReason, ExportState, ExportTable
from db.facets import Kind
from db.goals import Goal
from db.params import ParamType
from db.runs import FinalStatus
from db.series import XAxis


def describe(kind: type[Enum], name: str, description: str, **values: str) -> None:
    """Make `kind` a GraphQL enum whose every value says what it means."""
    strawberry.enum(kind, name=name, description=description)
    definition: StrawberryEnumDefinition = kind.__strawberry_definition__  # type: ignore[attr-defined]  # set by strawberry.enum
    for value in definition.values:
        value.description = values[value.name]


def describe_all() -> None:
    """Make each a GraphQL enum; to be called before a type uses one."""
    describe(
        Role,
        "Role",
        "What a member may do in a project.",
        VIEWER="Reads everything.",
        LOGGER="Starts runs, appends to its own and reads those back; for training machines.",
        EDITOR="Reads and writes everything.",
        OWNER="An editor who also manages the project.",
    )
    describe(
        RunStatus,
        "RunStatus",
        "The state of a run: that of its newest attempt.",
        RUNNING="It is open and alive.",
        FINISHED="It ended well.",
        FAILED="It ended with an error.",
        KILLED="It was stopped by someone.",
        LOST="Its heartbeat stopped. It comes back with the next heartbeat, or is resumed.",
    )
    describe(
        ExperimentOrder,
        "ExperimentOrder",
        "How experiments are listed.",
        NAME="By name.",
        ACTIVITY="The one whose runs were heard of last first; one without runs by when it was made.",
    )
    describe(
        FinalStatus,
        "FinalStatus",
        "How a run is ended.",
        FINISHED="It ended well.",
        FAILED="It ended with an error.",
        KILLED="It was stopped by someone.",
    )
    describe(
        ParamType,
        "ParamType",
        "The kind of a param's value.",
        STRING="Text.",
        INT="A whole number of 64 bits.",
        FLOAT="A 64-bit float, exactly.",
        BOOL="True or false.",
        NULL="No value.",
        JSON="A list or an object.",
    )
    describe(
        FrameAxis,
        "FrameAxis",
        "What the buckets of a frame divide.",
        STEP="The step.",
        RELATIVE_TIME="Milliseconds since the first point of the attempt.",
        WALL_TIME="Unix milliseconds.",
        METRIC="The value that another metric of the run has at the same step.",
    )
    describe(
        XAxis,
        "XAxis",
        "What the points of a series stand over.",
        STEP="Their step.",
        RELATIVE_TIME="Milliseconds since the first point of their attempt.",
        WALL_TIME="Unix milliseconds.",
    )
    describe(
        ColumnEncoding,
        "ColumnEncoding",
        "How columns are answered.",
        JSON="As a list.",
        BASE64="As base64 text of 8 little-endian bytes a number: fast and exact, for programs.",
        COMPACT="As an object, in the smallest of a few forms that give back the same bits: a quarter of the bytes.",
    )
    describe(
        PreviewKind,
        "PreviewKind",
        "What a page may show of a file.",
        TEXT="Text.",
        JSON="JSON.",
        CSV="Comma-separated values.",
        PNG="A PNG image.",
        JPEG="A JPEG image.",
    )
    describe(
        ArtifactState,
        "ArtifactState",
        "How far an artifact is.",
        PENDING="The client is sending its bytes.",
        VALIDATING="The worker compares the bytes with what was promised.",
        READY="The bytes are the promised ones; nothing changes them any more.",
        FAILED="It never came to be; `failure` says why.",
    )
    describe(
        FailureReason,
        "FailureReason",
        "Why an artifact failed.",
        DIGEST_MISMATCH="The bytes have another SHA-256 than was promised.",
        SIZE_MISMATCH="There are more or fewer bytes than were promised.",
        MISSING="The bytes never arrived, or the store refused them.",
        EXPIRED="The upload was not completed in time, or before the run ended.",
        ABORTED="The client gave the upload up.",
        POISON="Again and again, the attempt to verify the bytes ended without a result.",
        STORAGE="The store could not be reached for too long.",
    )
    describe(
        Goal,
        "Goal",
        "The declared direction of a metric.",
        MINIMIZE="Smaller is better, as of a loss.",
        MAXIMIZE="Larger is better, as of an accuracy.",
    )
    describe(
        ExportTable,
        "ExportTable",
        "What an export has files of; `docs/exporting.md` tells the columns.",
        RUNS="A row for each run: its name, status, times, who, where from, and its tags as a map.",
        PARAMS="A row for each param of each run.",
        METRICS="A row for each series of each run: count, first, last, lowest and highest value.",
        POINTS="Every point of every series, exactly.",
        TAGS="A row for each tag of each run.",
        INPUTS="A row for each dataset that a run read.",
        ARTIFACTS="A row for each READY file of a run: path, size, digest; not its bytes.",
        PACKAGES="A row for each package that was installed where a run ran.",
    )
    describe(
        ExportState,
        "ExportState",
        "How far an export is.",
        QUEUED="It waits for a worker.",
        RUNNING="A worker writes its files.",
        READY="Its files can be downloaded.",
        FAILED="It came to nothing; `failure` says why.",
        EXPIRED="Its files were kept long enough and are deleted.",
    )
    describe(
        ExportFailureReason,
        "ExportFailureReason",
        "Why an export is FAILED.",
        FORBIDDEN="Who asked for it may no longer see what it would hold.",
        TOO_LARGE="It would have more points than an export may have.",
        TOO_SLOW="It was not done in time.",
        POISON="Again and again, the attempt to write it ended without a result.",
    )
    describe(
        Kind,
        "RunKeyKind",
        "Where a key of runs lies; keys are listed in this order of kinds.",
        DATASET="A field of the datasets that they read.",
        METRIC="A metric.",
        PARAM="A param.",
        SOURCE="A field of the code that they ran.",
        TAG="A tag.",
    )
    describe(
        Area,
        "Area",
        "Where a field of a run lies.",
        ATTRIBUTE="What every run has, such as its name, status and times.",
        PARAM="Its params, by key.",
        METRIC="Its metrics, by key.",
        TAG="Its tags, by key.",
        SOURCE="The code that its newest attempt ran: commit, branch, remote, dirty, entryPoint.",
        DATASET="The datasets that it read: name, digest, context.",
    )
    describe(
        Stat,
        "Stat",
        "Which number of a series.",
        LAST="The value at the last step.",
        FIRST="The value at the first step.",
        MIN="The least finite value.",
        MAX="The greatest finite value.",
        BEST="MIN or MAX, as the declared goal of the metric says.",
        COUNT="How many points there are.",
    )
    describe(
        PackageChange,
        "PackageChange",
        "What became of a package.",
        ADDED="It is installed, and the baseline lacks it.",
        REMOVED="It is not installed, and the baseline has it.",
        CHANGED="It has another version than in the baseline.",
    )
    describe(
        EventKind,
        "RunEventKind",
        "What happened to a run.",
        SUBSCRIBED="Nothing yet: the subscription begins here.",
        RUN_CREATED="It was started, with its first params, tags and inputs.",
        ATTEMPT_STARTED="It was resumed.",
        STATUS_CHANGED="Its newest attempt ended, was lost, or came back.",
        STOP_REQUESTED="Somebody wants its newest attempt to end.",
        PARAMS_LOGGED="It has new params.",
        TAGS_CHANGED="Its tags were changed.",
        INPUTS_LOGGED="It has new inputs.",
        ARTIFACT_READY="The bytes of an artifact are the promised ones.",
        ARTIFACT_FAILED="An artifact never came to be.",
    )
    describe(
        Code,
        "ErrorCode",
        "What kind of failure it is; stable for programs.",
        BAD_REQUEST="The request is not one that GraphQL over HTTP knows.",
        UNAUTHENTICATED="There is no valid token.",
        FORBIDDEN="You see the object, but may not do this to it.",
        NOT_FOUND="There is no such object for you to see.",
        VALIDATION="A value is outside what is allowed.",
        CONFLICT="It contradicts what is stored.",
        RUN_SEALED="The run has ended.",
        UPLOAD_EXPIRED="The upload is over.",
        QUOTA="You have as much of it as you may have at once.",
        PAYLOAD_TOO_LARGE="The request is larger than the server takes.",
        QUERY_TOO_COMPLEX="The query would cost more than the server spends on one.",
        RATE_LIMITED="Your token has spent what it may in a minute.",
        TIMEOUT="It took too long.",
        SLOW_CONSUMER="The client of a subscription did not take what was sent to it.",
        UNAVAILABLE="A part of the server does not answer now.",
        INTERNAL="A fault of the server; the operator finds it by the request id.",
    )
