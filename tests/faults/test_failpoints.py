"""What holds after a part was killed at each failpoint."""

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from db.pool import Pool, open_pool
from tests.conftest import Server
from tests.deploy.processes import children
from tests.failpoints import Failpoints
from tests.gate import gate
from tests.torture import wire
from tests.torture.checker import check_run
from tests.torture.content import Block
from tests.torture.journal import History
from tests.torture.wire import FINISH

SERIES = """
    query ($id: ID!) { run(id: $id) { series(keys: ["loss"]) { steps exact } } }
"""
CREATE_UPLOADS = """
    mutation ($input: CreateUploadsInput!) {
      createUploads(input: $input) {
        ... on CreateUploadsPayload { uploads { id requests { method url headers { name value } } } }
        ... on UserError { code message }
      }
    }
"""
COMPLETE = """
    mutation ($input: CompleteUploadsInput!) {
      completeUploads(input: $input) {
        __typename
        ... on CompleteUploadsPayload { artifacts { state } }
        ... on UserError { code message }
      }
    }
"""
STATE = """
    query ($id: ID!) { run(id: $id) { artifacts { nodes { state download { url } } } } }
"""


def body(run_id: str) -> bytes:
    """Bytes that the store does not have yet."""
    return run_id.encode() * 1000


def block(seq: int) -> Block:
    """One point."""
    return Block(1, seq, 1, 1, salt=2 * seq)


async def stored(stubborn: wire.Server, run_id: str, writer_id: str, seq: int) -> None:
    """Send the block until it is acknowledged."""
    async with asyncio.timeout(60):
        while (answer := await stubborn.log(run_id, writer_id, [block(seq)])).outcome != "stored":
            assert answer.outcome == "later", answer
            await asyncio.sleep(0.1)


async def count(stubborn: wire.Server, run_id: str) -> int:
    """How many points the run has; none is there twice."""
    series = (await stubborn.ask(SERIES, id=run_id))["run"]["series"]
    steps = series[0]["steps"] if series else []
    assert len(set(steps)) == len(steps)
    return len(steps)


def kill(victim: Server, log: str) -> None:
    """Kill the part that writes this log."""
    [process] = children(victim.settings.home, log)
    process.kill()


def database(victim: Server) -> str:
    assert victim.settings.database_url is not None
    return victim.settings.database_url


async def test_api_killed_while_its_group_commits_stores_it_once(
    victim: Server, stubborn: wire.Server, run_id: str
) -> None:
    writer_id = str(uuid4())
    await stored(stubborn, run_id, writer_id, 0)
    async with gate(database(victim), "block") as closed:
        sending = asyncio.create_task(stubborn.log(run_id, writer_id, [block(1)]))
        await closed.waiting()
        assert await count(stubborn, run_id) == 1
        kill(victim, "api")
        assert (await sending).outcome == "later"

    await stored(stubborn, run_id, writer_id, 1)
    assert await count(stubborn, run_id) == 2


async def test_group_whose_connection_is_killed_before_the_commit_is_not_stored(
    victim: Server, stubborn: wire.Server, run_id: str
) -> None:
    writer_id = str(uuid4())
    await stored(stubborn, run_id, writer_id, 0)
    async with gate(database(victim), "block") as closed:
        sending = asyncio.create_task(stubborn.log(run_id, writer_id, [block(1)]))
        os.kill(await closed.waiting(), signal.SIGKILL)
        assert (await sending).outcome == "later"

    assert await count(stubborn, run_id) == 1
    await stored(stubborn, run_id, writer_id, 1)
    assert await count(stubborn, run_id) == 2


@pytest.mark.parametrize("order", ["kill", "fail"])
async def test_group_that_was_committed_and_not_acknowledged_is_stored_once(
    stubborn: wire.Server, run_id: str, points: Failpoints, order: str
) -> None:
    writer_id = str(uuid4())
    points.arm("api.after_commit_before_ack", order)
    assert (await stubborn.log(run_id, writer_id, [block(0)])).outcome == "later"
    assert points.is_reached("api.after_commit_before_ack")

    assert await count(stubborn, run_id) == 1
    await stored(stubborn, run_id, writer_id, 0)
    assert await count(stubborn, run_id) == 1


async def sent(stubborn: wire.Server, run_id: str) -> str:
    """The id of an upload whose bytes are in the store."""
    content = body(run_id)
    file = {"path": "weights.bin", "sizeBytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    created = (await stubborn.ask(CREATE_UPLOADS, input={"runId": run_id, "files": [file]}))["createUploads"]
    [upload] = created["uploads"]
    for request in upload["requests"]:
        headers = {header["name"]: header["value"] for header in request["headers"]}
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.request(request["method"], request["url"], headers=headers, content=content)
        assert answer.status_code == 200
    return str(upload["id"])


async def ready(stubborn: wire.Server, run_id: str) -> None:
    """Wait until the only artifact of the run is READY, with its bytes."""
    async with asyncio.timeout(60):
        while True:
            [node] = (await stubborn.ask(STATE, id=run_id))["run"]["artifacts"]["nodes"]
            if node["state"] == "READY":
                break
            assert node["state"] in {"PENDING", "VALIDATING"}
            await asyncio.sleep(0.1)
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(node["download"]["url"])).content == body(run_id)


async def test_upload_whose_completion_was_not_committed_can_be_completed_again(
    stubborn: wire.Server, run_id: str, points: Failpoints
) -> None:
    completed = {"uploads": [{"uploadId": await sent(stubborn, run_id)}]}
    points.arm("api.in_txn_before_commit")
    assert (await stubborn.post(COMPLETE, {"input": completed})).outcome == "later"
    assert points.is_reached("api.in_txn_before_commit")

    [node] = (await stubborn.ask(STATE, id=run_id))["run"]["artifacts"]["nodes"]
    assert node["state"] == "PENDING"
    await stubborn.ask(COMPLETE, input=completed)
    await ready(stubborn, run_id)


@pytest.mark.parametrize("order", ["kill", "drop"])
async def test_upload_that_nobody_told_the_worker_about_becomes_ready(
    stubborn: wire.Server, run_id: str, points: Failpoints, order: str
) -> None:
    completed = {"uploads": [{"uploadId": await sent(stubborn, run_id)}]}
    points.arm("api.after_commit_before_enqueue", order)
    answer = await stubborn.post(COMPLETE, {"input": completed})
    assert answer.outcome == ("later" if order == "kill" else "stored")
    assert points.is_reached("api.after_commit_before_enqueue")

    await ready(stubborn, run_id)


async def test_worker_killed_while_it_finalizes_finalizes_once(
    victim: Server, stubborn: wire.Server, run_id: str
) -> None:
    upload_id = await sent(stubborn, run_id)
    async with gate(database(victim), "object") as closed:
        await stubborn.ask(COMPLETE, input={"uploads": [{"uploadId": upload_id}]})
        await closed.waiting()
        kill(victim, "workers")
    await ready(stubborn, run_id)


@pytest.mark.parametrize("failpoint", ["compaction.in_txn_before_commit", "compaction.after_commit"])
async def test_killed_compaction_changes_no_point(
    victim: Server, stubborn: wire.Server, run_id: str, points: Failpoints, failpoint: str
) -> None:
    writer_id = str(uuid4())
    for seq in range(20):
        await stored(stubborn, run_id, writer_id, seq)
    points.arm(failpoint)
    await stubborn.ask(FINISH, input={"runId": run_id})
    await points.reached(failpoint)

    assert await count(stubborn, run_id) == 20
    async with open_pool(database(victim), size_max=1, statement_timeout_s=30, name="test") as pool:
        await compacted(pool, run_id)
    assert await count(stubborn, run_id) == 20


async def compacted(pool: Pool, run_id: str) -> None:
    """Wait until the run has no block left."""
    async with asyncio.timeout(60):
        while await pool.fetchval("select count(*) from block where run_id = $1::text::uuid", run_id):
            await asyncio.sleep(0.1)


async def trained(victim: Server, points: Failpoints, folder: Path, failpoint: str) -> History:
    """What a training process knew that was killed at the failpoint, in the middle of its first run."""
    journal = folder / "1.journal"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "tests.torture.training", victim.url, str(journal), "1", "7",
        str(points.folder),
        env={**os.environ, "RUNSTONE_TOKEN": victim.token, "RUNSTONE_QUIET": "1"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not journal.exists() or "\nacknowledged " not in journal.read_text():
                await asyncio.sleep(0.02)
            points.arm(failpoint)
            assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return History.of(folder)


@pytest.mark.parametrize("failpoint", ["sdk.before_send", "sdk.after_send_before_ack", "sdk.after_ack_before_trim"])
async def test_killed_training_has_on_the_server_what_was_acknowledged(
    victim: Server, stubborn: wire.Server, points: Failpoints, tmp_path: Path, failpoint: str
) -> None:
    history = await trained(victim, points, tmp_path, failpoint)
    [story] = history.runs.values()
    assert history.acknowledged
    assert await check_run(stubborn, story) == []


def test_unknown_failpoint_is_refused(points: Failpoints) -> None:
    with pytest.raises(AssertionError):
        points.arm("api.somewhere")


async def test_failpoint_does_what_it_is_told_once(tmp_path: Path) -> None:
    points = Failpoints(tmp_path)
    name = "api.after_commit_before_enqueue"
    assert await points.reach(name)
    for order, goes_on in {"drop": False, "delay 0.01": True}.items():
        points.arm(name, order)
        assert await points.reach(name) is goes_on
        assert await points.reach(name)
    points.arm(name, "fail")
    with pytest.raises(ConnectionError):
        await points.reach(name)
    assert not points.disarm(name)
