"""What is logged arrives once, whatever the network and the server do meanwhile."""

import asyncio
import logging
import math
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import runstone
from runstone import background, sender
from runstone.cli import main
from tests.sdk.standin import TOKEN, Fault, StandIn

UNAVAILABLE = {"errors": [{"message": "try later", "extensions": {"code": "UNAVAILABLE", "retryable": True}}]}
INTERNAL = {"errors": [{"message": "internal error", "extensions": {"code": "INTERNAL", "retryable": True}}]}


def steps(standin: StandIn, key: str) -> list[int]:
    return [step for step, _ in standin.only_run.points(key)]


def test_points_arrive_once_in_order_and_exactly(standin: StandIn) -> None:
    logged = [0.1, -0.0, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, math.nan]

    with runstone.start_run() as run:
        for value in logged:
            run.log({"loss": value, "twice": 2 * value})

    stored = standin.only_run.points("loss")
    assert [step for step, _ in stored] == list(range(len(logged)))
    assert [struct.pack("<d", value) for _, value in stored] == [struct.pack("<d", value) for value in logged]
    assert len(standin.only_run.points("twice")) == len(logged)
    assert standin.only_run.status == "FINISHED"


def test_points_of_a_key_keep_their_order_when_keys_change(standin: StandIn) -> None:
    with runstone.start_run() as run:
        for index in range(300):
            run.log({"a": index} if index % 3 else {"a": index, "b": -index})

    assert [value for _, value in standin.only_run.points("a")] == list(range(300))
    assert [value for _, value in standin.only_run.points("b")] == [-index for index in range(0, 300, 3)]


def test_keys_that_alternate_share_blocks(standin: StandIn) -> None:
    with runstone.start_run() as run:
        for index in range(200):
            run.log({"a": index}, step=index)
            run.log({"b": index}, step=index)

    assert sum(map(len, standin.only_run.blocks.values())) <= 8
    assert steps(standin, "a") == steps(standin, "b") == list(range(200))


def test_many_points_leave_in_requests_of_bounded_size(standin: StandIn) -> None:
    with runstone.start_run() as run:
        for index in range(10_000):
            run.log({f"m{key}": index for key in range(5)})

    counts = [
        sum(len(block["keys"]) * len(block["steps"]) // 8 for block in body["variables"]["blocks"]) * 3 // 4
        for body in standin.bodies
        if body.get("operationName") == "Flush"
    ]
    assert max(counts) <= 10_002  # base64 rounds up
    assert steps(standin, "m4") == list(range(10_000))


def test_an_answer_that_is_lost_does_not_double_points(standin: StandIn) -> None:
    standin.faults["Flush"].extend([Fault(cut_after=True), Fault(cut_after=True)])

    with runstone.start_run() as run:
        for index in range(50):
            run.log({"loss": index})

    assert steps(standin, "loss") == list(range(50))
    sent = [body["variables"]["blocks"] for body in standin.bodies if body.get("operationName") == "Flush"]
    assert sent[0][0] == sent[1][0] == sent[2][0]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut_before=True),
        Fault(status=503, headers={"Retry-After": "0"}),
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(status=500, body="<html>"),
        Fault(answer=UNAVAILABLE),
        Fault(answer=INTERNAL),
        Fault(delay_s=1.0),
    ],
)
def test_a_request_that_fails_in_passing_is_sent_again(standin: StandIn, fault: Fault) -> None:
    standin.faults["Flush"].append(fault)

    with runstone.start_run() as run:
        run.log({"loss": 1})
        run.log_params({"C": 0.1})
        run.set_tags({"stage": "test"})

    assert steps(standin, "loss") == [0]
    assert standin.only_run.params["C"]["value"] == 0.1
    assert standin.only_run.tags == {"stage": "test"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=200, body="<html>Please log in"),
        Fault(status=200, body="[" * 100_000),
        Fault(status=200, body="{}", headers={"Content-Encoding": "gzip"}),
        Fault(status=302, headers={"Location": "/login"}),
        Fault(status=418),
        Fault(answer={"data": {}}),
        Fault(answer={"data": {"logMetrics": {}}}),
        Fault(answer={"data": {"logMetrics": {"__typename": 5}}}),
        Fault(answer={"errors": "no"}),
        Fault(answer={"errors": [5]}),
        Fault(answer={"errors": [{"message": 5, "extensions": {"code": ["x"], "hint": 5, "limit": {}}}]}),
        Fault(answer={"errors": [{"message": "later", "extensions": {"code": "NEW", "retryable": True}}]}),
    ],
)
def test_what_answers_in_between_costs_no_point(
    standin: StandIn, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "pause_s", lambda attempt: 0.01)
    with runstone.start_run() as run:
        standin.faults["Flush"].extend([fault, fault])
        run.log({"loss": 1})

    assert steps(standin, "loss") == [0]
    assert standin.only_run.status == "FINISHED"


@pytest.mark.parametrize(
    "answer",
    [
        {"data": {}},
        {"data": {"createRun": None}},
        {"data": {"createRun": {"__typename": "CreateRunPayload"}}},
        {"errors": [{"message": 5, "extensions": 5}]},
    ],
)
def test_a_server_that_speaks_otherwise_is_told_at_the_start(standin: StandIn, answer: dict[str, Any]) -> None:
    standin.faults["CreateRun"].append(Fault(answer=answer))
    with pytest.raises(runstone.NotRunstone) as told:
        runstone.start_run()
    assert str(told.value)


def test_a_part_that_fails_in_passing_does_not_hold_back_or_double_the_others(standin: StandIn) -> None:
    passing = {
        "__typename": "Unavailable",
        "code": "UNAVAILABLE",
        "message": "try later",
        "retryable": True,
    }
    answer = {"data": {"logParams": passing, "setTags": {"__typename": "SetTagsPayload"}}}
    standin.faults["Flush"].append(Fault(answer=answer))

    with runstone.start_run() as run:
        run.log_params({"C": 0.1})
        run.set_tags({"stage": "test"})

    first, second = [body["variables"] for body in standin.bodies if body.get("operationName") == "Flush"]
    assert (first["withParams"], first["withTags"]) == (True, True)
    assert (second["withParams"], second["withTags"]) == (True, False)
    assert standin.only_run.params["C"]["value"] == 0.1


def test_a_server_that_goes_and_comes_back_loses_nothing_and_stops_nobody(
    standin: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    run = runstone.start_run()
    standin.stop()
    slowest_s = 0.0
    for index in range(2000):
        started = time.perf_counter()
        run.log({"loss": index})
        slowest_s = max(slowest_s, time.perf_counter() - started)
        if index % 500 == 0:
            time.sleep(0.4)
    standin.start()

    finished = run.finish()

    assert steps(standin, "loss") == list(range(2000))
    assert finished.points == 2000
    assert slowest_s < 0.2
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1


def test_finish_is_bounded_and_says_what_is_left_and_where(
    standin: StandIn, spool_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = runstone.start_run()
    standin.stop()
    run.log({"loss": 1})
    run.log_params({"C": 0.1})
    started = time.monotonic()

    finished = run.finish(patience_s=1.0)

    assert time.monotonic() - started < 10
    assert (finished.points, finished.missing) == (0, ())
    assert [line.partition(": ")[0] for line in finished.pending] == ["1 points", "1 params"]
    assert f"no server answers at {standin.url}" in finished.pending[0]
    [told] = [record.message for record in caplog.records if "not stored as a whole yet" in record.message]
    assert f"{spool_folder / run.id}" in told
    assert "runstone sync" in told


def test_one_param_that_the_server_refuses_costs_only_itself(standin: StandIn) -> None:
    standin.refused_keys = {"p13"}

    run = runstone.start_run()
    run.log_params({f"p{index}": index for index in range(20)})
    run.log({"loss": 1})
    run.log_params({"late": 1})
    with pytest.raises(runstone.Incomplete, match="'p13'") as caught:
        run.finish()

    assert set(standin.only_run.params) == {f"p{index}" for index in range(20) if index != 13} | {"late"}
    assert steps(standin, "loss") == [0]
    assert standin.only_run.status == "FINISHED"
    assert caught.value.finished.params == 20
    assert len(caught.value.finished.missing) == 1


def test_one_metric_that_the_server_refuses_costs_only_itself(standin: StandIn) -> None:
    standin.refused_keys = {"b"}

    run = runstone.start_run()
    for index in range(10):
        run.log({"a": index, "b": index, "c": index})
        run.log({"other": index})
    with pytest.raises(runstone.Incomplete, match="'b'") as caught:
        run.finish()

    for key in ("a", "c"):
        assert [value for _, value in standin.only_run.points(key)] == list(range(10))
    assert len(standin.only_run.points("other")) == 10
    assert standin.only_run.points("b") == []
    assert caught.value.finished.points == 30


def test_a_request_that_is_refused_as_a_whole_is_taken_apart(standin: StandIn) -> None:
    too_large = Fault(status=413)
    standin.faults["Flush"].append(too_large)

    with runstone.start_run() as run:
        run.log_params({"C": 0.1, "D": 0.2})
        run.set_tags({"a": "b"})
        run.log({"loss": 1, "acc": 2})

    assert set(standin.only_run.params) == {"C", "D"}
    assert standin.only_run.tags == {"a": "b"}
    assert steps(standin, "acc") == [0]


def test_a_server_that_lost_the_writer_gets_the_points_from_a_new_one(standin: StandIn) -> None:
    run = runstone.start_run()
    run.log({"loss": 0})
    standin.wait_for("Flush")
    standin.only_run.blocks.clear()
    run.log({"loss": 1})
    run.finish()

    assert [value for _, value in standin.only_run.points("loss")] == [1]


def test_a_run_that_ended_elsewhere_is_reported(standin: StandIn) -> None:
    run = runstone.start_run()
    standin.only_run.status = "FAILED"
    run.log({"loss": 0})

    with pytest.raises(runstone.Incomplete, match="the run has ended"):
        run.finish(patience_s=5)


def test_a_token_that_is_revoked_ends_the_waiting(standin: StandIn) -> None:
    revoked = {"errors": [{"message": "revoked", "extensions": {"code": "UNAUTHENTICATED", "retryable": False}}]}
    run = runstone.start_run()
    standin.faults["Flush"].extend([Fault(answer=revoked)] * 50)
    run.log({"loss": 0})
    started = time.monotonic()

    with pytest.raises(runstone.Incomplete, match=r"1 points: revoked.*`runstone sync`"):
        run.finish()

    assert time.monotonic() - started < 20
    standin.faults["Flush"].clear()
    assert main(["sync"]) == 0
    assert standin.only_run.points("loss") == [(0, 0.0)]


def test_what_does_not_fit_into_the_spool_is_counted_and_recorded(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUNSTONE_SPOOL_BYTES_MAX", "2000000")
    run = runstone.start_run()
    standin.stop()
    for index in range(40_000):
        run.log({"loss": index})
    run.log_params({"kept": True})
    standin.start()

    with pytest.raises(runstone.Incomplete, match="the spool was full") as caught:
        run.finish()

    stored = len(standin.only_run.points("loss"))
    assert 0 < stored < 40_000
    assert stored == caught.value.finished.points
    assert standin.only_run.tags["runstone.dropped_points"] == str(40_000 - stored)
    assert "kept" in standin.only_run.params
    assert len([record for record in caplog.records if "dropped" in record.message]) == 1


def test_an_idle_run_says_that_it_is_alive(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "HEARTBEAT_S", 0.3)

    with runstone.start_run():
        standin.wait_for("Heartbeat", 2)


def test_a_run_that_logs_all_the_time_says_that_it_is_alive_too(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "HEARTBEAT_S", 0.5)
    logging_on = threading.Event()
    logging_on.set()

    with runstone.start_run() as run:

        def log_on() -> None:
            while logging_on.is_set():
                run.log({"loss": 1.0})
                time.sleep(0.01)

        thread = threading.Thread(target=log_on)
        thread.start()
        standin.wait_for("Heartbeat", 2)
        logging_on.clear()
        thread.join()


def test_a_mistake_is_raised_at_the_call_and_costs_nothing_else(standin: StandIn) -> None:
    with runstone.start_run(params={"C": 0.1}) as run:
        run.log({"loss": 1})
        with pytest.raises(TypeError, match="'acc'"):
            run.log({"loss": 2, "acc": "high"})
        with pytest.raises(runstone.Invalid, match="metric key"):
            run.log({"": 1})
        with pytest.raises(runstone.ParamConflict, match="'C'"):
            run.log_params({"C": 0.2})
        for write in (run.log, run.log_params, run.set_tags):
            with pytest.raises(TypeError, match="must be a mapping such as a dict, not list"):
                write([("loss", 2)])  # type: ignore[arg-type]  # this is the mistake
        run.log_params({"C": 0.1})
        run.log({})
        run.log({"loss": 3})

    assert [value for _, value in standin.only_run.points("loss")] == [1, 3]


def test_behind_the_last_step_there_is_none(standin: StandIn) -> None:
    with runstone.start_run() as run:
        run.log({"loss": 1}, step=2**63 - 1)
        with pytest.raises(runstone.Invalid, match="step 9223372036854775808 is out of range"):
            run.log({"loss": 2})
        run.log({"loss": 3}, step=5)

    assert [value for _, value in standin.only_run.points("loss")] == [1, 3]


def test_after_finish_nothing_more_is_taken(standin: StandIn) -> None:
    run = runstone.start_run()
    finished = run.finish()

    assert run.finish() is finished
    for call in (
        lambda: run.log({"loss": 1}),
        lambda: run.log_params({"a": 1}),
        lambda: run.set_tags({"a": 1}),
        lambda: run.log_artifact(__file__),
        lambda: run.finish("FAILED"),
    ):
        with pytest.raises(runstone.RunSealed):
            call()


async def test_the_async_client_logs_from_tasks(standin: StandIn) -> None:
    async with runstone.Client() as client, client.start_run(experiment="async") as run:

        async def work(worker: int) -> None:
            for index in range(100):
                run.log({f"loss{worker}": index}, step=index)
                await asyncio.sleep(0)

        await asyncio.gather(*(work(worker) for worker in range(4)))

    for worker in range(4):
        assert steps(standin, f"loss{worker}") == list(range(100))
    assert standin.only_run.status == "FINISHED"


async def test_leaving_the_client_finishes_its_runs(standin: StandIn) -> None:
    async with runstone.Client() as client:
        run = await client.start_run(params={"C": 1})
        run.log({"loss": 1})

    assert standin.only_run.status == "FINISHED"
    assert steps(standin, "loss") == [0]


async def test_leaving_the_client_finishes_every_run_even_if_one_fails(standin: StandIn) -> None:
    standin.refused_keys = {"bad"}

    async def train() -> None:
        async with runstone.Client() as client:
            first, second = await client.start_run(), await client.start_run()
            first.log_params({"bad": 1})
            second.log({"loss": 1})

    with pytest.raises(runstone.Incomplete, match="'bad'"):
        await train()

    assert {run.status for run in standin.runs.values()} == {"FINISHED"}


async def test_a_client_of_the_wrong_token_is_told_so(standin: StandIn) -> None:
    async with runstone.Client(standin.url, "rs_wrong_token") as client:
        with pytest.raises(runstone.Unauthenticated):
            await client.start_run()


async def test_any_document_can_be_asked(standin: StandIn) -> None:
    async with runstone.Client() as client:
        assert await client.execute("query ($id: ID!) { run(id: $id) { id } }", {"id": "x"}) == {"run": None}
        with pytest.raises(runstone.Invalid, match="nothing"):
            await client.execute("{ nothing }")
        with pytest.raises(runstone.Invalid, match="JSON"):
            await client.execute("query ($id: ID!) { run(id: $id) { id } }", {"id": math.nan})


async def test_the_token_goes_to_the_server_and_nowhere_else(
    standin: StandIn, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    (tmp_path / "x.txt").write_text("hello")
    caplog.set_level(logging.DEBUG)
    async with runstone.Client() as client, client.start_run() as run:
        run.log_artifact(tmp_path / "x.txt")
        shown = repr([client, run, client._transport.config, client._transport.__dict__, background._background])

    with_token = {operation for operation, headers in standin.seen_headers if TOKEN in str(headers)}
    assert "CreateRun" in with_token
    assert "PUT" not in with_token
    assert TOKEN not in shown
    assert TOKEN not in caplog.text
    assert "signature=" not in caplog.text


async def test_a_redirect_is_not_followed(standin: StandIn) -> None:
    with StandIn() as other:
        standin.faults["CreateRun"].append(Fault(status=307, headers={"Location": f"{other.url}/graphql"}))
        async with runstone.Client() as client:
            with pytest.raises(runstone.BadRequest, match="redirects"):
                await client.start_run()

        assert other.requests == []


async def test_what_is_not_a_runstone_server_is_told_so(standin: StandIn) -> None:
    standin.faults["CreateRun"].append(Fault(status=200, body="<html>hello</html>"))
    async with runstone.Client() as client:
        with pytest.raises(runstone.BadRequest, match="not a Runstone server"):
            await client.start_run()


async def test_creating_a_run_again_after_a_lost_answer_gives_the_same_run(standin: StandIn) -> None:
    standin.faults["CreateRun"].extend([Fault(cut_after=True), Fault(status=502)])

    async with runstone.Client() as client, client.start_run(experiment="one", params={"C": 0.1}):
        pass

    assert standin.only_run.experiment == "one"
    assert standin.requests.count("CreateRun") == 3
