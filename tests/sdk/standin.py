"""A small server that speaks the schema and misbehaves when told to.

It answers the SDK's operations over real HTTP, keeps blocks once by (writer, seq) as the real one does, and takes
files by PUT. Faults are told per operation ("Flush") or for the store ("PUT", "GET"), one for each request to come.
"""

import asyncio
import base64
import functools
import hashlib
import json
import struct
import threading
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from graphql import GraphQLSchema, build_schema, graphql_sync

from deploy.local.home import free_port

TOKEN = "rs_test_secret"
SCHEMA = Path(__file__).parents[2] / "schema.graphql"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request."""

    status: int | None = None  # answer this and do nothing
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut_before: bool = False  # close the connection and do nothing
    cut_after: bool = False  # do it, and close the connection before the answer
    cut_body: int | None = None  # do it, and close the connection after so many bytes of the answer
    delay_s: float = 0.0
    answer: dict[str, Any] | None = None  # answer this GraphQL response and do nothing


@dataclass(slots=True)
class StoredRun:
    """What the server holds of a run."""

    id: str
    name: str
    experiment: str
    request: dict[str, Any]
    status: str = "RUNNING"
    attempt: int = 1
    stop_reason: str | None = None  # why somebody wants it to stop
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    blocks: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def points(self, key: str) -> list[tuple[int, float]]:
        """(step, value) of the key in the order of writers and seqs."""
        found: list[tuple[int, float]] = []
        for blocks in self.blocks.values():
            for block in blocks:
                if key in block["keys"]:
                    steps, values = unpacked(block["steps"], "q"), unpacked(block["values"], "d")
                    start = block["keys"].index(key) * len(steps)
                    found += zip(steps, values[start : start + len(steps)], strict=True)
        return found


def unpacked(text: str, kind: str) -> list[Any]:
    """The numbers of a column."""
    data = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(data) // 8}{kind}", data))


class StandIn:
    """The server, in a thread of its own."""

    def __init__(self) -> None:
        self.runs: dict[str, StoredRun] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []  # operations in the order they came
        self.seen_headers: list[tuple[str, dict[str, str]]] = []
        self.bodies: list[dict[str, Any]] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.refused_keys: set[str] = set()  # params, tags and metrics that are Invalid
        self.bad_uploads: dict[str, str] = {}  # path -> reason for which validation fails
        self.bad_paths: dict[str, bool] = {}  # refused by createUploads; whether it says which
        self.expired_uploads: set[str] = set()  # paths that completeUploads refuses
        self.validating: deque[int] = deque()  # what finishRun answers, then 0
        self.part_bytes: int | None = None
        self.expired: set[str] = set()  # signatures that are no longer good
        self.arrived = threading.Condition()
        self._schema = _schema()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = free_port("127.0.0.1")  # none that an outgoing connection takes between `stop` and `start`

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)

    def stop(self) -> None:
        """Refuse connections, as a server that is down."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)

    def wait_for(self, operation: str, count: int = 1, timeout_s: float = 20.0) -> None:
        """Until so many requests of the operation have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.requests.count(operation) >= count, timeout_s), self.requests

    @property
    def only_run(self) -> StoredRun:
        [run] = self.runs.values()
        return run

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _end(self) -> None:
        await self._stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False when the connection ends."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.strip().split("\r\n")
        method, target, _ = request_line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = json.loads(body) if target == "/graphql" else {}
        operation = asked.get("operationName") or method
        fault = self.faults[operation].popleft() if self.faults[operation] else Fault()
        await asyncio.sleep(fault.delay_s)
        if fault.cut_before:
            self._note(operation, headers, asked)
            return False
        status, more, answer = self._handle(fault, method, target, headers, asked, body)
        self._note(operation, headers, asked)
        if fault.cut_after:
            return False
        lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(answer)}", *(f"{k}: {v}" for k, v in more.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + answer[: fault.cut_body])
        await writer.drain()
        return fault.cut_body is None

    def _note(self, operation: str, headers: dict[str, str], asked: dict[str, Any]) -> None:
        with self.arrived:
            self.requests.append(operation)
            self.seen_headers.append((operation, headers))
            self.bodies.append(asked)
            self.arrived.notify_all()

    def _handle(
        self, fault: Fault, method: str, target: str, headers: dict[str, str], asked: dict[str, Any], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if fault.status is not None:
            return fault.status, fault.headers, fault.body.encode()
        if fault.answer is not None:
            return 200, {}, json.dumps(fault.answer).encode()
        if target == "/graphql":
            return self._graphql(headers, asked)
        return self._put(target, headers, body) if method == "PUT" else self._get(target, headers)

    def _graphql(self, headers: dict[str, str], asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            error = {"message": "no valid token", "extensions": {"code": "UNAUTHENTICATED", "retryable": False}}
            return 401, {}, json.dumps({"errors": [error]}).encode()
        result = graphql_sync(
            self._schema,
            asked["query"],
            root_value=Root(self),
            variable_values=asked.get("variables"),
            operation_name=asked.get("operationName"),
        )
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            extensions = {"code": "VALIDATION", "retryable": False}
            answer["errors"] = [{"message": str(error), "extensions": extensions} for error in result.errors]
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _put(self, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        key, _, signature = target.partition("?signature=")
        if signature in self.expired or "x-test-signed" not in headers:
            return 403, {}, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
        if key in self.objects:
            return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        wanted = headers.get("x-amz-checksum-sha256")
        if wanted and wanted != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return 400, {}, b"<Error><Code>BadDigest</Code></Error>"
        self.objects[key] = body
        return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""

    def _get(self, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        data = self.objects.get(target.partition("?")[0])
        if data is None:
            return 404, {}, b""
        if "range" in headers:
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
            return 206, {}, data[start:]
        return 200, {}, data


@functools.cache
def _schema() -> GraphQLSchema:
    return build_schema(SCHEMA.read_text("utf-8"))


def problem(typename: str, code: str, message: str, **more: Any) -> dict[str, Any]:
    """A failure as a mutation answers it."""
    common = {"message": message, "path": None, "limit": None, "hint": None, "retryable": False, "requestId": "r-1"}
    return {"__typename": typename, "code": code, **common, **more}


class Root:
    """The operations, on the stand-in's memory."""

    def __init__(self, server: StandIn) -> None:
        self._server = server

    def createRun(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        runs = self._server.runs
        created = input["id"] not in runs
        run = runs.setdefault(
            input["id"], StoredRun(input["id"], input.get("name") or "calm-otter", input["experiment"], input)
        )
        if not created and run.request != input:
            return problem("Conflict", "CONFLICT", "this run id was used before")
        if created:
            run.params = {param["key"]: param for param in input.get("params") or []}
            run.tags = {tag["key"]: tag["value"] for tag in input.get("tags") or []}
        return {"__typename": "CreateRunPayload", "created": created, "run": _run(run)}

    def resumeRun(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self._server.runs.get(input["runId"])
        if run is None:
            return problem("NotFound", "NOT_FOUND", f"there is no run {input['runId']}")
        run.attempt += run.status != "RUNNING"
        run.status = "RUNNING"
        return {"__typename": "ResumeRunPayload", "attempt": run.attempt, "run": _run(run)}

    def logParams(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self._server.runs[input["runId"]]
        for index, param in enumerate(input["params"]):
            if param["key"] in self._server.refused_keys:
                return problem("Invalid", "VALIDATION", f"{param['key']} is bad", path=f"input.params[{index}].key")
            stored = run.params.get(param["key"], param)
            if stored != param:
                given = {"key": param["key"], "storedValue": stored["value"], "givenValue": param["value"]}
                return problem("ParamConflict", "CONFLICT", f"param {param['key']!r} has another value", **given)
        run.params.update((param["key"], param) for param in input["params"])
        return {"__typename": "LogParamsPayload"}

    def logMetrics(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self._server.runs[input["runId"]]
        if run.status != "RUNNING":
            return problem("RunSealed", "RUN_SEALED", "the run has ended", status=run.status)
        stored = run.blocks[input["writerId"]]
        fresh: list[dict[str, Any]] = []
        for block in input["blocks"]:
            if not self._server.refused_keys.isdisjoint(block["keys"]):
                return problem("Invalid", "VALIDATION", "a key is bad", path="input.blocks[0].keys[0]")
            seq, expected = block["seq"], len(stored) + len(fresh)
            if seq > expected or (seq < len(stored) and stored[seq] != block):
                conflict = {"writerId": input["writerId"], "expectedSeq": expected}
                return problem("SeqConflict", "CONFLICT", f"seq {seq}, expected {expected}", **conflict)
            if seq == expected:
                fresh.append(block)
        stored += fresh
        return {"__typename": "LogMetricsPayload", "stopRequested": run.stop_reason is not None}

    def setTags(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self._server.runs[input["runId"]]
        for tag in input["tags"]:
            if tag["key"] in self._server.refused_keys:
                return problem("Invalid", "VALIDATION", f"{tag['key']} is bad")
        for tag in input["tags"]:
            if tag["value"] is None:
                run.tags.pop(tag["key"], None)
            else:
                run.tags[tag["key"]] = tag["value"]
        return {"__typename": "SetTagsPayload"}

    def logInputs(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._server.runs[input["runId"]].inputs += input["inputs"]
        return {"__typename": "LogInputsPayload"}

    def heartbeat(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:
        reason = self._server.runs[input["runId"]].stop_reason
        return {"__typename": "HeartbeatPayload", "stopRequest": None if reason is None else {"reason": reason}}

    def finishRun(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self._server.runs[input["runId"]]
        if run.status not in {"RUNNING", input["status"]}:
            return problem("RunSealed", "RUN_SEALED", f"the run ended as {run.status}", status=run.status)
        run.status = input["status"]
        left = self._server.validating.popleft() if self._server.validating else 0
        failed = [artifact for artifact in run.artifacts.values() if artifact["state"] == "FAILED"]
        return {"__typename": "FinishRunPayload", "run": _run(run), "validating": left, "failed": failed}

    def createUploads(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self._server.runs[input["runId"]]
        for index, file in enumerate(input["files"]):
            stored = run.artifacts.get(file["path"])
            if file["path"] in self._server.bad_paths:
                named = self._server.bad_paths[file["path"]]
                path = f"input.files[{index}].path" if named else None
                return problem("Invalid", "VALIDATION", "a path is bad", path=path)
            if stored is not None and stored["digest"] != f"sha256:{file['sha256']}":
                more = {"artifactPath": file["path"]}
                return problem("ArtifactConflict", "CONFLICT", f"other bytes at {file['path']}", **more)
        uploads = [self._upload(run, file) for file in input["files"]]
        return {"__typename": "CreateUploadsPayload", "uploads": uploads}

    def _upload(self, run: StoredRun, file: dict[str, Any]) -> dict[str, Any]:
        artifact = run.artifacts.setdefault(file["path"], _artifact(file))
        if artifact["state"] == "READY":
            return {"id": None, "artifact": artifact, "requests": []}
        checksum = base64.b64encode(bytes.fromhex(file["sha256"])).decode()
        size, part = file["sizeBytes"], self._server.part_bytes
        requests = []
        for number, offset in enumerate(range(0, max(size, 1), part or max(size, 1)), 1):
            url = f"{self._server.url}/{file['sha256']}{f'-{number}' if part else ''}?signature={uuid.uuid4().hex}"
            headers = {"X-Test-Signed": "yes"} if part else {"X-Test-Signed": "yes", "X-Amz-Checksum-Sha256": checksum}
            requests.append(
                {
                    "partNumber": number if part else None,
                    "offset": offset,
                    "sizeBytes": min(part or size, size - offset),
                    "method": "PUT",
                    "url": url,
                    "headers": [{"name": name, "value": value} for name, value in headers.items()],
                }
            )
        return {"id": artifact["id"], "artifact": artifact, "requests": requests}

    def completeUploads(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        artifacts = []
        for upload in input["uploads"]:
            [artifact] = [
                artifact
                for run in self._server.runs.values()
                for artifact in run.artifacts.values()
                if artifact["id"] == upload["uploadId"]
            ]
            if artifact["path"] in self._server.expired_uploads:
                return problem("UploadExpired", "UPLOAD_EXPIRED", "the upload took too long")
            self._validate(artifact, upload["parts"])
            artifacts.append({**artifact, "state": "VALIDATING", "failure": None})
        return {"__typename": "CompleteUploadsPayload", "artifacts": artifacts}

    def _validate(self, artifact: dict[str, Any], parts: list[dict[str, Any]] | None) -> None:
        objects, sha256 = self._server.objects, artifact["digest"].removeprefix("sha256:")
        if parts:
            etags = [part["etag"].strip('"') for part in sorted(parts, key=lambda part: part["partNumber"])]
            data = [objects[f"/{sha256}-{number}"] for number in range(1, len(parts) + 1)]
            assert etags == [hashlib.md5(one).hexdigest() for one in data]
            objects[f"/{sha256}"] = b"".join(data)
        found = objects.get(f"/{sha256}")
        reason = self._server.bad_uploads.get(artifact["path"])
        if reason is None and (found is None or hashlib.sha256(found).hexdigest() != sha256):
            reason = "DIGEST_MISMATCH"
        artifact["state"] = "FAILED" if reason else "READY"
        artifact["failure"] = {"reason": reason, "message": "the bytes are wrong"} if reason else None

    def run(self, info: Any, id: str) -> dict[str, Any] | None:
        run = self._server.runs.get(id)
        return None if run is None else {**_run(run), "artifacts": lambda info, **given: self._artifacts(run, **given)}

    def _artifacts(self, run: StoredRun, prefix: str | None = None, **_: Any) -> dict[str, Any]:
        nodes = [
            {**artifact, "download": {"url": f"{self._server.url}/{artifact['digest'].removeprefix('sha256:')}"}}
            for path, artifact in sorted(run.artifacts.items())
            if path.startswith(prefix or "") and artifact["state"] == "READY"
        ]
        return {"nodes": nodes, "pageInfo": {"hasNextPage": False, "endCursor": None}}


def _run(run: StoredRun) -> dict[str, Any]:
    return {"id": run.id, "name": run.name, "status": run.status, "attempt": run.attempt}


def _artifact(file: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "path": file["path"],
        "state": "PENDING",
        "digest": f"sha256:{file['sha256']}",
        "sizeBytes": file["sizeBytes"],
        "mediaType": file["mediaType"],
        "failure": None,
    }
