"""Artifacts over GraphQL, through the doors that a client uses: the API for words, the store for bytes."""

import asyncio
import os
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from db.access import Role
from storage.store import Store, StoreError
from tests.api.test_http import client_of
from tests.conftest import Client, People, Server, new_id

CREATE = """
    mutation ($input: CreateUploadsInput!) {
      createUploads(input: $input) {
        __typename
        ... on CreateUploadsPayload {
          uploads {
            id partSizeBytes expiresAt
            artifact { id path state digest sizeBytes mediaType attempt finalizedAt download { url } }
            requests { partNumber offset sizeBytes method url headers { name value } }
          }
        }
        ... on UserError { code message path limit hint retryable requestId }
        ... on ArtifactConflict { artifactPath }
      }
    }
"""

COMPLETE = """
    mutation ($input: CompleteUploadsInput!) {
      completeUploads(input: $input) {
        __typename
        ... on CompleteUploadsPayload { artifacts { id path state } }
        ... on UserError { code message path limit }
      }
    }
"""

ABORT = """
    mutation ($id: ID!) {
      abortUpload(input: { uploadId: $id }) {
        __typename
        ... on AbortUploadPayload { artifact { state failure { reason message } } }
        ... on UserError { code message }
      }
    }
"""

ARTIFACT = """
    query ($id: ID!) {
      artifact(id: $id) {
        id path state digest sizeBytes attempt createdAt finalizedAt createdBy { name } run { id }
        failure { reason message }
        download { url expiresAt }
      }
    }
"""

OF_RUN = """
    query ($id: ID!, $prefix: String!, $state: [ArtifactState!], $first: Int!, $after: Cursor, $path: String!) {
      run(id: $id) {
        artifacts(prefix: $prefix, state: $state, first: $first, after: $after) {
          nodes { path state } totalCount pageInfo { hasNextPage endCursor }
        }
        artifact(path: $path) { path state failure { reason } }
      }
    }
"""

BODY = b"weights" * 100


def file(path: str = "weights.bin", body: bytes = BODY, **more: Any) -> dict[str, Any]:
    return {"path": path, "sizeBytes": len(body), "sha256": sha256(body).hexdigest(), **more}


async def create(client: Client, run_id: str, *files: dict[str, Any]) -> dict[str, Any]:
    answer = await client.ask(CREATE, input={"runId": run_id, "files": list(files)})
    return answer["createUploads"]  # type: ignore[no-any-return]


async def send(upload: dict[str, Any], body: bytes) -> dict[int, str]:
    """Send the bytes as a client does; the ETags by part number."""
    etags = {}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for request in upload["requests"]:
            answer = await http.request(
                request["method"],
                request["url"],
                headers={header["name"]: header["value"] for header in request["headers"]},
                content=body[request["offset"] : request["offset"] + request["sizeBytes"]],
            )
            assert answer.status_code in {200, 412}, answer.text
            etags[request["partNumber"]] = answer.headers.get("etag", "")
    return etags


async def complete(client: Client, *uploads: dict[str, Any]) -> dict[str, Any]:
    answer = await client.ask(COMPLETE, input={"uploads": [{"uploadId": upload["id"]} for upload in uploads]})
    return answer["completeUploads"]  # type: ignore[no-any-return]


async def final(client: Client, artifact_id: str) -> dict[str, Any]:
    """The artifact once it is READY or FAILED."""
    async with asyncio.timeout(60):
        while True:
            artifact: dict[str, Any] = (await client.ask(ARTIFACT, id=artifact_id))["artifact"]
            if artifact["state"] in {"READY", "FAILED"}:
                return artifact
            await asyncio.sleep(0.1)


async def uploaded(client: Client, run_id: str, path: str = "weights.bin", body: bytes = BODY) -> dict[str, Any]:
    """A READY artifact."""
    [upload] = (await create(client, run_id, file(path, body)))["uploads"]
    await send(upload, body)
    await complete(client, upload)
    return await final(client, upload["artifact"]["id"])


async def test_file_goes_to_the_store_and_comes_back(client: Client, server: Server) -> None:
    run_id = await client.create_run()

    [upload] = (await create(client, run_id, file("model/weights.bin", mediaType="application/x-weights")))["uploads"]
    assert upload["artifact"]["state"] == "PENDING"
    assert upload["artifact"]["download"] is None
    assert upload["artifact"]["mediaType"] == "application/x-weights"
    [request] = upload["requests"]
    assert server.settings.s3 is not None
    assert urlsplit(request["url"]).netloc == urlsplit(server.settings.s3.public_endpoint_url or "").netloc
    await send(upload, BODY)
    done = await complete(client, upload)
    assert done["artifacts"][0]["state"] in {"VALIDATING", "READY"}
    artifact = await final(client, upload["artifact"]["id"])

    assert artifact["state"] == "READY"
    assert artifact["digest"] == f"sha256:{sha256(BODY).hexdigest()}"
    assert artifact["sizeBytes"] == len(BODY)
    assert artifact["run"]["id"] == run_id
    assert artifact["failure"] is None
    assert artifact["createdBy"]["name"].startswith("editor-")
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(artifact["download"]["url"])
    assert answer.content == BODY
    assert answer.headers["content-disposition"].startswith('attachment; filename="weights.bin"')


async def test_many_files_travel_together(client: Client) -> None:
    run_id = await client.create_run()
    bodies = {f"plots/{number:02}.png": os.urandom(number) for number in range(30)}
    uploads = (await create(client, run_id, *(file(path, body) for path, body in bodies.items())))["uploads"]
    assert [upload["artifact"]["path"] for upload in uploads] == list(bodies)
    await asyncio.gather(*(send(upload, body) for upload, body in zip(uploads, bodies.values(), strict=True)))
    done = await complete(client, *uploads)
    assert [artifact["path"] for artifact in done["artifacts"]] == list(bodies)
    for upload in uploads:
        assert (await final(client, upload["artifact"]["id"]))["state"] == "READY"


async def test_large_file_goes_in_parts(client: Client) -> None:
    run_id = await client.create_run()
    body = os.urandom(64 * 1024 * 1024 + 5)
    [upload] = (await create(client, run_id, file("large.bin", body)))["uploads"]
    parts = [(part["partNumber"], part["offset"], part["sizeBytes"]) for part in upload["requests"]]
    assert parts == [(1, 0, 64 * 1024 * 1024), (2, 64 * 1024 * 1024, 5)]
    assert upload["partSizeBytes"] == 64 * 1024 * 1024
    [again] = (await create(client, run_id, file("large.bin", body)))["uploads"]
    assert again["id"] == upload["id"]

    etags = await send(again, body)
    reported = [{"partNumber": number, "etag": etag} for number, etag in etags.items()]
    await client.ask(COMPLETE, input={"uploads": [{"uploadId": upload["id"], "parts": reported}]})

    assert (await final(client, upload["artifact"]["id"]))["state"] == "READY"


async def test_same_file_again_is_the_same_upload(client: Client) -> None:
    run_id = await client.create_run()
    [first] = (await create(client, run_id, file()))["uploads"]
    [second] = (await create(client, run_id, file()))["uploads"]
    assert second["id"] == first["id"]
    await send(second, BODY)
    await complete(client, first)
    await final(client, first["artifact"]["id"])
    [third] = (await create(client, run_id, file()))["uploads"]
    assert third["id"] is None
    assert third["requests"] == []
    assert third["artifact"]["state"] == "READY"
    [elsewhere] = (await create(client, await client.create_run(), file("copy.bin")))["uploads"]
    assert elsewhere["id"] is None
    assert elsewhere["artifact"]["state"] == "READY"


async def test_other_bytes_at_a_path_are_refused(client: Client) -> None:
    run_id = await client.create_run()
    await create(client, run_id, file())
    refused = await create(client, run_id, file("other.bin"), file(body=b"other"))
    assert refused["__typename"] == "ArtifactConflict"
    assert refused["artifactPath"] == "weights.bin"
    assert refused["path"] == "input.files[1].path"
    [upload] = (await create(client, run_id, file("other.bin", b"nothing was stored of it")))["uploads"]
    assert upload["artifact"]["state"] == "PENDING"


async def test_bytes_that_never_came_are_missed(client: Client) -> None:
    run_id = await client.create_run()
    [upload] = (await create(client, run_id, file()))["uploads"]
    await complete(client, upload)
    artifact = await final(client, upload["id"])
    assert artifact["state"] == "FAILED"
    assert artifact["failure"]["reason"] == "MISSING"
    assert artifact["download"] is None


async def test_abandoned_upload_is_over(client: Client) -> None:
    run_id = await client.create_run()
    [upload] = (await create(client, run_id, file()))["uploads"]
    aborted = (await client.ask(ABORT, id=upload["id"]))["abortUpload"]
    assert aborted["artifact"]["state"] == "FAILED"
    assert aborted["artifact"]["failure"]["reason"] == "ABORTED"
    assert (await complete(client, upload))["__typename"] == "UploadExpired"


async def test_artifacts_of_a_run_are_paged_by_path(client: Client) -> None:
    run_id = await client.create_run()
    await create(client, run_id, *(file(path, path.encode()) for path in ("b/1", "a", "b/2", "c")))
    asked = {"id": run_id, "prefix": "", "state": None, "first": 3, "after": None, "path": "b/1"}
    run = (await client.ask(OF_RUN, **asked))["run"]
    assert [artifact["path"] for artifact in run["artifacts"]["nodes"]] == ["a", "b/1", "b/2"]
    assert run["artifacts"]["totalCount"] == 4
    assert run["artifact"]["path"] == "b/1"
    after = run["artifacts"]["pageInfo"]["endCursor"]
    rest = (await client.ask(OF_RUN, **{**asked, "after": after, "path": "none"}))["run"]
    assert [artifact["path"] for artifact in rest["artifacts"]["nodes"]] == ["c"]
    assert rest["artifact"] is None
    below = (await client.ask(OF_RUN, **{**asked, "prefix": "b/", "state": ["PENDING"]}))["run"]
    assert [artifact["path"] for artifact in below["artifacts"]["nodes"]] == ["b/1", "b/2"]
    ready = (await client.ask(OF_RUN, **{**asked, "state": ["READY"]}))["run"]
    assert ready["artifacts"]["nodes"] == []


GOOD_PATHS = [
    "%2e%2e%2fx",
    "%252e",
    "a;b",
    "x?y",
    "<img src=x onerror=alert(1)>",
    "é",
    "模型/权重.bin",
    "A",
    "a",
    "-",
    "..a",
]
BAD_PATHS = [
    "", "../x", "a/../../x", "/abs/x", "a//b", ".", "..", "trailing/", "..\\..\\x", "C:\\x", "\\\\host\\s", "C:/x",
    "CON", "a/nul.txt", "com1", "LPT\u00b9.log", "a:b", "a;/../x", "x#/../y", "a\nb", "a\tb", "nul\0l",
    "e\u0301", "\u202egnp.exe", "x.", "x ", "é" * 512 + "a", "/".join("a" * 33),
]  # fmt: skip


async def test_paths_are_taken_literally_or_refused(client: Client) -> None:
    run_id = await client.create_run()
    taken = await create(client, run_id, *(file(path, path.encode()) for path in GOOD_PATHS))
    assert [upload["artifact"]["path"] for upload in taken["uploads"]] == GOOD_PATHS
    for path in BAD_PATHS:
        refused = await create(client, run_id, file("good"), file(path))
        assert refused["__typename"] == "Invalid", path
        assert refused["path"] == "input.files[1].path"
    longest = "/".join(["é" * 15] * 32)
    assert (await create(client, run_id, file(longest)))["__typename"] == "CreateUploadsPayload"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"sizeBytes": -1}, "sizeBytes"),
        ({"sizeBytes": 1024**4 + 1}, "sizeBytes"),
        ({"sizeBytes": 2**63 - 1}, "sizeBytes"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"sha256": "a" * 63}, "sha256"),
        ({"sha256": " " + "a" * 63}, "sha256"),
        ({"mediaType": ""}, "mediaType"),
        ({"mediaType": "x" * 251}, "mediaType"),
        ({"mediaType": "text/html\r\nX: y"}, "mediaType"),
    ],
)
async def test_wrong_promise_is_refused(client: Client, wrong: dict[str, Any], field: str) -> None:
    refused = await create(client, await client.create_run(), file(**{}) | wrong)
    assert refused["__typename"] == "Invalid"
    assert refused["path"] == f"input.files[0].{field}"


async def test_too_many_files_are_refused_with_the_limit(client: Client) -> None:
    run_id = await client.create_run()
    refused = await create(client, run_id, *(file(str(number)) for number in range(1001)))
    assert refused["__typename"] == "Invalid"
    assert "1000" in refused["limit"]
    none = await create(client, run_id)
    assert none["uploads"] == []


@pytest.mark.parametrize("parts", [[{"partNumber": 0, "etag": "x"}], [{"partNumber": 1, "etag": "x" * 251}]])
async def test_wrong_parts_are_refused(client: Client, parts: list[dict[str, Any]]) -> None:
    [upload] = (await create(client, await client.create_run(), file()))["uploads"]
    answer = await client.ask(COMPLETE, input={"uploads": [{"uploadId": upload["id"], "parts": parts}]})
    assert answer["completeUploads"]["__typename"] == "Invalid"
    assert answer["completeUploads"]["path"] == "input.uploads[0].parts"


async def test_stranger_sees_and_does_nothing(client: Client, stranger: Client) -> None:
    run_id = await client.create_run()
    artifact = await uploaded(client, run_id)
    assert (await stranger.ask(ARTIFACT, id=artifact["id"]))["artifact"] is None
    assert (await create(stranger, run_id, file("x")))["__typename"] == "NotFound"
    assert (await complete(stranger, artifact))["__typename"] == "NotFound"
    assert (await stranger.ask(ABORT, id=artifact["id"]))["abortUpload"]["__typename"] == "NotFound"
    assert (await complete(client, {"id": "no id"}))["__typename"] == "Invalid"


async def test_other_project_must_send_the_bytes_itself(client: Client, stranger: Client) -> None:
    await uploaded(client, await client.create_run())
    [upload] = (await create(stranger, await stranger.create_run(), file()))["uploads"]
    assert upload["artifact"]["state"] == "PENDING"
    await complete(stranger, upload)
    assert (await final(stranger, upload["id"]))["state"] == "FAILED"


async def test_viewer_reads_and_cannot_upload(people: People) -> None:
    project = await people.project()
    editor, viewer = await people.member(project, Role.EDITOR), await people.member(project, Role.VIEWER)
    run_id = await editor.create_run()
    artifact = await uploaded(editor, run_id)
    seen = (await viewer.ask(ARTIFACT, id=artifact["id"]))["artifact"]
    assert seen["download"] is not None
    assert (await create(viewer, run_id, file("x")))["__typename"] == "Forbidden"
    assert (await viewer.ask(ABORT, id=artifact["id"]))["abortUpload"]["__typename"] == "Forbidden"


async def test_two_who_ask_at_once_send_the_same_parts(client: Client) -> None:
    run_id = await client.create_run()
    large = {"path": "large.bin", "sizeBytes": 1 << 30, "sha256": "a" * 64}
    answers = await asyncio.gather(*(create(client, run_id, large) for _ in range(4)))
    urls = {urlsplit(answer["uploads"][0]["requests"][0]["url"]) for answer in answers}
    assert len({(url.path, parse_qs(url.query)["uploadId"][0]) for url in urls}) == 1


async def test_large_file_waits_for_a_store_that_is_away(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await client.create_run()
    large = {"path": "large.bin", "sizeBytes": 1 << 30, "sha256": "a" * 64}

    async def away(*_: object) -> str:
        raise StoreError("the store does not answer")

    monkeypatch.setattr(Store, "start_multipart", away)
    async with client_of(server.settings) as http:
        headers = {"Authorization": f"Bearer {client.token}"}
        body = {"query": CREATE, "variables": {"input": {"runId": run_id, "files": [large]}}}
        answer = (await http.post("/graphql", json=body, headers=headers)).json()
    assert answer["data"]["createUploads"]["__typename"] == "Unavailable"

    [upload] = (await create(client, run_id, large))["uploads"]
    assert len(upload["requests"]) == 16


async def test_store_that_is_away_is_unavailable(server: Server, client: Client) -> None:
    run_id = await client.create_run()
    artifact = await uploaded(client, run_id)
    assert server.settings.s3 is not None
    away = replace(server.settings, s3=replace(server.settings.s3, endpoint_url="http://127.0.0.1:9"))
    async with client_of(away) as http:

        async def ask(document: str, **variables: Any) -> Any:
            headers = {"Authorization": f"Bearer {client.token}"}
            answer = await http.post("/graphql", json={"query": document, "variables": variables}, headers=headers)
            return answer.json()["data"]

        created = (await ask(CREATE, input={"runId": run_id, "files": [file("x")]}))["createUploads"]
        read = (await ask(ARTIFACT, id=artifact["id"]))["artifact"]

    assert created["__typename"] == "Unavailable"
    assert created["retryable"]
    assert "store" in created["message"]
    assert read["state"] == "READY"


PREVIEW = """
    query ($id: ID!) {
      artifact(id: $id) {
        preview { kind url sizeBytes expiresAt } sameBytes { id path run { id } } download { url }
      }
    }
"""


@pytest.mark.parametrize(
    ("path", "media_type", "kind", "answered"),
    [
        ("notes.TXT", None, "TEXT", "text/plain"),
        ("conf/a.json", "text/html", "JSON", "text/plain"),
        ("table.csv", None, "CSV", "text/plain"),
        ("plot.jpeg", None, "JPEG", "image/jpeg"),
        ("plot", "image/png", "PNG", "image/png"),
    ],
)
async def test_a_page_gets_the_beginning_of_a_file_from_the_store(
    client: Client, path: str, media_type: str | None, kind: str, answered: str
) -> None:
    run_id = await client.create_run()
    created = await create(client, run_id, file(path, mediaType=media_type))
    await send(created["uploads"][0], BODY)
    await complete(client, *created["uploads"])
    artifact = await final(client, created["uploads"][0]["artifact"]["id"])

    preview = (await client.ask(PREVIEW, id=artifact["id"]))["artifact"]["preview"]

    assert (preview["kind"], preview["sizeBytes"]) == (kind, len(BODY))
    origin = client.server.url
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(preview["url"], headers={"Range": "bytes=0-6", "Origin": origin})
    assert (answer.status_code, answer.content) == (206, BODY[:7])
    assert answer.headers["content-type"].split(";")[0] == answered
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["access-control-allow-origin"] in {"*", origin}


@pytest.mark.parametrize("path", ["page.html", "drawing.svg", "model.pkl", "weights.bin", ".json"])
async def test_what_could_run_has_no_preview(client: Client, path: str) -> None:
    artifact = await uploaded(client, await client.create_run(), path)
    assert (await client.ask(PREVIEW, id=artifact["id"]))["artifact"]["preview"] is None


async def test_same_bytes_are_found_in_other_runs_that_are_seen(people: People, stranger: Client) -> None:
    project = await people.project()
    editor, logger = await people.member(project, Role.EDITOR), await people.member(project, Role.LOGGER)
    body = new_id().encode()

    async def logged(client: Client, path: str) -> dict[str, Any]:
        """Of bytes that the project has, nothing is sent."""
        [upload] = (await create(client, await client.create_run(), file(path, body)))["uploads"]
        if upload["id"] is not None:
            await send(upload, body)
            await complete(client, upload)
        return await final(client, upload["artifact"]["id"])

    first, second = await logged(editor, "a.bin"), await logged(editor, "a.bin")
    of_logger = await logged(logger, "b.bin")
    await logged(stranger, "a.bin")

    async def same(client: Client, artifact: dict[str, Any]) -> list[str]:
        answer = (await client.ask(PREVIEW, id=artifact["id"]))["artifact"]
        return [one["id"] for one in answer["sameBytes"]]

    assert await same(editor, first) == [of_logger["id"], second["id"]]
    assert await same(logger, of_logger) == []
