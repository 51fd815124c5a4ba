"""Asking a run to stop: who may, that it is kept, and that whoever trains hears of it with any answer."""

import asyncio
from typing import Any

import asyncpg
import pytest

from db.access import Role
from db.pool import Pool
from runstone import operations
from tests.conftest import Client, People, new_id

REQUEST_STOP = """
    mutation ($input: RequestStopInput!) {
      requestStop(input: $input) {
        __typename
        ... on RequestStopPayload { requested stopRequest { reason requestedBy { name } } run { status } }
        ... on UserError { code message path limit retryable }
        ... on RunSealed { status }
      }
    }
"""
STOP_REQUEST = """
    query ($id: ID!) {
      viewer { name }
      run(id: $id) {
        status
        stopRequest { requestedAt reason requestedBy { name } }
        attempts { number stopRequest { reason } }
      }
    }
"""
FINISH = "mutation ($input: FinishRunInput!) { finishRun(input: $input) { __typename } }"
RESUME = "mutation ($input: ResumeRunInput!) { resumeRun(input: $input) { __typename } }"


async def request_stop(client: Client, run_id: str, reason: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.ask(REQUEST_STOP, input={"runId": run_id, "reason": reason}))["requestStop"]
    return answer


async def flush(client: Client, run_id: str, writer_id: str, seq: int) -> dict[str, Any]:
    block = {"seq": seq, "keys": ["loss"], "steps": [seq], "times": [1000], "values": [0.5]}
    given = {"runId": run_id, "writerId": writer_id, "withMetrics": True, "blocks": [block]}
    answer: dict[str, Any] = (await client.ask(operations.document("Flush"), **given))["logMetrics"]
    return answer


async def heartbeat(client: Client, run_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.ask(operations.document("Heartbeat"), runId=run_id))["heartbeat"]
    return answer


async def test_a_stop_request_shows_on_the_run_with_who_and_why(client: Client) -> None:
    run_id = await client.create_run()

    answer = await request_stop(client, run_id, "it diverges")

    data = await client.ask(STOP_REQUEST, id=run_id)
    me, run = data["viewer"], data["run"]
    assert answer == {
        "__typename": "RequestStopPayload",
        "requested": True,
        "stopRequest": {"reason": "it diverges", "requestedBy": me},
        "run": {"status": "RUNNING"},
    }
    assert run["status"] == "RUNNING"
    assert run["stopRequest"].pop("requestedAt")
    assert run["stopRequest"] == {"reason": "it diverges", "requestedBy": me}
    assert run["attempts"] == [{"number": 1, "stopRequest": {"reason": "it diverges"}}]


async def test_the_first_stop_request_stands(client: Client, people: People) -> None:
    run_id = await client.create_run()
    other = await people.member(client.project, Role.OWNER)
    await request_stop(client, run_id, "it diverges")

    answers = await asyncio.gather(*(request_stop(other, run_id, "too dear") for _ in range(5)))

    data = await client.ask(STOP_REQUEST, id=run_id)
    for answer in answers:
        assert answer["requested"] is False
        assert answer["stopRequest"] == {"reason": "it diverges", "requestedBy": data["viewer"]}
    assert data["run"]["stopRequest"]["reason"] == "it diverges"


async def test_of_many_stop_requests_at_once_one_is_made(client: Client) -> None:
    run_id = await client.create_run()

    answers = await asyncio.gather(*(request_stop(client, run_id, f"reason {number}") for number in range(8)))

    assert [answer["requested"] for answer in answers].count(True) == 1
    assert len({answer["stopRequest"]["reason"] for answer in answers}) == 1


async def test_who_logs_hears_of_a_stop_request_with_the_next_answer(client: Client) -> None:
    run_id, writer_id, later = await client.create_run(), new_id(), new_id()
    before = [await flush(client, run_id, writer_id, 0), await heartbeat(client, run_id)]

    await request_stop(client, run_id, "it diverges")

    assert before == [
        {"__typename": "LogMetricsPayload", "stopRequested": False},
        {"__typename": "HeartbeatPayload", "stopRequest": None},
    ]
    told = {"__typename": "LogMetricsPayload", "stopRequested": True}
    assert await flush(client, run_id, writer_id, 1) == told
    assert await flush(client, run_id, writer_id, 1) == told, "also when it is stored already"
    assert await flush(client, run_id, later, 0) == told, "also a writer that opens later"
    assert await heartbeat(client, run_id) == {
        "__typename": "HeartbeatPayload",
        "stopRequest": {"reason": "it diverges"},
    }


async def test_a_run_that_has_ended_cannot_be_asked_to_stop(client: Client) -> None:
    run_id = await client.create_run()
    await client.ask(FINISH, input={"runId": run_id, "status": "FAILED"})

    answer = await request_stop(client, run_id)

    assert (answer["__typename"], answer["code"], answer["status"]) == ("RunSealed", "RUN_SEALED", "FAILED")
    assert answer["retryable"] is False
    assert (await client.ask(STOP_REQUEST, id=run_id))["run"]["stopRequest"] is None


async def test_a_stop_request_is_kept_after_the_end_and_not_passed_to_the_next_attempt(client: Client) -> None:
    run_id = await client.create_run()
    await request_stop(client, run_id, "later")
    await client.ask(FINISH, input={"runId": run_id, "status": "KILLED"})
    ended = (await client.ask(STOP_REQUEST, id=run_id))["run"]

    await client.ask(RESUME, input={"runId": run_id, "attemptId": new_id()})

    resumed = (await client.ask(STOP_REQUEST, id=run_id))["run"]
    assert ended["stopRequest"]["reason"] == "later"
    assert resumed["stopRequest"] is None
    assert [one["stopRequest"] for one in resumed["attempts"]] == [{"reason": "later"}, None]
    assert (await heartbeat(client, run_id))["stopRequest"] is None
    assert (await flush(client, run_id, new_id(), 0))["stopRequested"] is False


async def test_a_lost_run_hears_of_it_when_it_comes_back(client: Client, pool: Pool) -> None:
    run_id = await client.create_run()
    await pool.execute("update attempt set status = 'LOST' where run_id = $1", run_id)

    answer = await request_stop(client, run_id)

    assert answer["requested"] is True
    assert (await heartbeat(client, run_id))["stopRequest"] == {"reason": None}


async def test_viewers_and_other_loggers_may_not_stop_a_run(client: Client, people: People) -> None:
    run_id = await client.create_run()
    viewer = await people.member(client.project, Role.VIEWER)
    logger = await people.member(client.project, Role.LOGGER)
    theirs = await logger.create_run()

    assert (await request_stop(viewer, run_id))["code"] == "FORBIDDEN"
    assert (await request_stop(logger, run_id))["code"] == "NOT_FOUND"
    assert (await request_stop(logger, theirs))["requested"] is True
    assert (await client.ask(STOP_REQUEST, id=run_id))["run"]["stopRequest"] is None


async def test_a_foreign_run_and_none_cannot_be_told_apart(client: Client, stranger: Client) -> None:
    run_id, unknown = await client.create_run(), new_id()

    answers = [await request_stop(stranger, each) for each in (run_id, unknown)]

    assert [answer["code"] for answer in answers] == ["NOT_FOUND", "NOT_FOUND"]
    assert answers[0]["message"].replace(run_id, unknown) == answers[1]["message"]


@pytest.mark.parametrize("reason", ["", "x" * 4_097, "a\0b"])
async def test_a_reason_that_cannot_be_kept_is_refused(client: Client, reason: str) -> None:
    run_id = await client.create_run()

    answer = await request_stop(client, run_id, reason)

    assert (answer["code"], answer["path"]) == ("VALIDATION", "input.reason")
    assert (await client.ask(STOP_REQUEST, id=run_id))["run"]["stopRequest"] is None


@pytest.mark.parametrize(
    "change",
    [
        "stop_reason = 'another'",
        "stop_requested_at = now() - interval '1 day'",
        "stop_requested_at = null, stop_requested_by = null, stop_reason = null",
    ],
)
async def test_a_stop_request_never_changes_whoever_writes(client: Client, pool: Pool, change: str) -> None:
    run_id = await client.create_run()
    await request_stop(client, run_id, "it diverges")

    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"update attempt set {change} where run_id = $1", run_id)


async def test_only_a_stop_request_marks_a_writer(client: Client, pool: Pool) -> None:
    run_id, writer_id = await client.create_run(), new_id()
    await flush(client, run_id, writer_id, 0)

    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("update writer set stop_requested = true where id = $1", writer_id)
