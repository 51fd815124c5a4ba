"""Exports through the door that people use."""

import asyncio
import hashlib
import io
import json
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import Client, new_id

PATIENCE_S = 60.0

START = """
    mutation ($input: StartExportInput!) {
      startExport(input: $input) {
        __typename
        ... on StartExportPayload { export { id state tables } }
        ... on UserError { code message path limit }
      }
    }
"""
EXPORT = """
    query ($id: ID!) {
      export(id: $id) {
        id state tables where progress { runsDone runsTotal points } createdAt finishedAt expiresAt
        failure { reason message }
        files { name table rows sizeBytes digest download { url } }
        project { name } createdBy { name }
      }
    }
"""
PROJECT = """
    query ($name: String!) { project(name: $name) { id } }
"""


async def project_id(client: Client) -> str:
    """The id of the client's project."""
    return str((await client.ask(PROJECT, name=client.project))["project"]["id"])


async def start(client: Client, **given: Any) -> dict[str, Any]:
    """What startExport answers; of the client's whole project, if nothing else is selected."""
    select = {"projectId": await project_id(client), **given.pop("select", {})}
    data = await client.ask(START, input={"id": new_id(), "select": select, **given})
    answer: dict[str, Any] = data["startExport"]
    return answer


async def finished(client: Client, export_id: str) -> dict[str, Any]:
    """The export once nothing more happens to it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            export: dict[str, Any] = (await client.ask(EXPORT, id=export_id))["export"]
            if export["state"] not in {"QUEUED", "RUNNING"}:
                return export
            assert export["files"] == []
            await asyncio.sleep(0.1)


async def exported(client: Client, **given: Any) -> dict[str, Any]:
    """An export that is READY."""
    answer = await start(client, **given)
    assert answer["__typename"] == "StartExportPayload", answer
    export = await finished(client, answer["export"]["id"])
    assert export["state"] == "READY", export
    return export


async def contents(export: dict[str, Any]) -> dict[str, bytes]:
    """The bytes of each file, which are those that were promised."""
    found = {}
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as http:
        for file in export["files"]:
            body = (await http.get(file["download"]["url"])).content
            assert len(body) == file["sizeBytes"]
            assert f"sha256:{hashlib.sha256(body).hexdigest()}" == file["digest"]
            found[file["name"]] = body
    return found


async def tables(export: dict[str, Any]) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Each table as pyarrow reads it, and the manifest."""
    files = await contents(export)
    manifest: dict[str, Any] = json.loads(files.pop("manifest.json"))
    assert [file["name"] for file in manifest["files"]] == list(files)
    found: dict[str, list[pa.Table]] = {}
    for file in export["files"]:
        if file["table"] is not None:
            part = pq.read_table(io.BytesIO(files[file["name"]]))
            assert part.num_rows == file["rows"]
            found.setdefault(file["table"], []).append(part)
    return {name: pa.concat_tables(parts) for name, parts in found.items()}, manifest
