"""The life of a run, as a client sees it."""

import asyncio
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.pool import Pool
from tests.conftest import CREATE_RUN, Client, new_id

RUN = """
    query ($id: ID!) {
      run(id: $id) {
        id name status attempt startedAt finishedAt durationSeconds
        project { name viewerRole } experiment { name } parent { id } children { nodes { id } totalCount }
        createdBy { name }
        attempts { number status finishedAt startedBy { name } source { commit } environment { python } }
        source { commit branch dirty argv entryPoint patchDigest }
        environment { python cpuCount memoryBytes gpus packages { name version } }
        params { nodes { key type value attempt } totalCount }
        tags { key value changedBy { name } }
        tagHistory { key before after changedBy { name } }
        inputs { name digest context uri attempt }
      }
    }
"""
FINISH = """
    mutation ($input: FinishRunInput!) {
      finishRun(input: $input) {
        __typename
        ... on FinishRunPayload { run { status finishedAt } validating failed { path } }
        ... on RunSealed { code message hint status }
      }
    }
"""
RESUME = """
    mutation ($input: ResumeRunInput!) {
      resumeRun(input: $input) { __typename ... on ResumeRunPayload { attempt run { status attempt } } }
    }
"""
HEARTBEAT = """
    mutation ($input: HeartbeatInput!) {
      heartbeat(input: $input) { __typename ... on HeartbeatPayload { status } ... on UserError { code } }
    }
"""
LOG_PARAMS = """
    mutation ($input: LogParamsInput!) {
      logParams(input: $input) {
        __typename
        ... on LogParamsPayload { stored }
        ... on UserError { code message path limit hint retryable }
        ... on ParamConflict { key storedValue givenValue }
      }
    }
"""
SET_TAGS = """
    mutation ($input: SetTagsInput!) {
      setTags(input: $input) {
        __typename
        ... on SetTagsPayload { run { tags { key value } } }
        ... on UserError { code path limit }
      }
    }
"""
LOG_INPUTS = """
    mutation ($input: LogInputsInput!) {
      logInputs(input: $input) { __typename ... on UserError { code path limit } }
    }
"""


async def params_of(client: Client, run_id: str) -> dict[str, Any]:
    data = await client.ask(RUN, id=run_id)
    return {param["key"]: param["value"] for param in data["run"]["params"]["nodes"]}


async def log_params(client: Client, run_id: str, **given: Any) -> dict[str, Any]:
    params = [{"key": key, "value": value} for key, value in given.items()]
    answer: dict[str, Any] = (await client.ask(LOG_PARAMS, input={"runId": run_id, "params": params}))["logParams"]
    return answer


async def test_run_tells_everything_it_was_given(client: Client) -> None:
    parent = await client.create_run()
    run_id = await client.create_run(
        name="baseline",
        parentId=parent,
        startedAt="2026-01-31T12:00:00+01:00",
        params=[{"key": "lr", "value": 0.1}, {"key": "layers", "value": [1, 2]}, {"key": "none", "value": None}],
        tags=[{"key": "team", "value": "a"}],
        source={
            "commit": "abc",
            "branch": "main",
            "dirty": True,
            "argv": ["train.py", "--lr"],
            "entryPoint": "train.py",
        },
        environment={
            "python": "3.11.7",
            "cpuCount": 2,
            "memoryBytes": 2**40,
            "gpus": ["none"],
            "packages": [{"name": "numpy", "version": "2.2"}],
        },
    )

    run = (await client.ask(RUN, id=run_id))["run"]

    assert (run["name"], run["status"], run["attempt"]) == ("baseline", "RUNNING", 1)
    assert run["startedAt"] == "2026-01-31T11:00:00Z"
    assert run["project"] == {"name": client.project, "viewerRole": "EDITOR"}
    assert run["experiment"] == {"name": "test"}
    assert run["parent"] == {"id": parent}
    assert run["params"]["totalCount"] == 3
    assert run["params"]["nodes"][0] == {"key": "layers", "type": "JSON", "value": [1, 2], "attempt": 1}
    assert run["source"]["argv"] == ["train.py", "--lr"]
    assert run["environment"]["memoryBytes"] == 2**40
    assert run["environment"]["packages"] == [{"name": "numpy", "version": "2.2"}]
    assert run["tags"][0]["value"] == "a"
    assert run["attempts"][0]["source"] == {"commit": "abc"}
    assert (await client.ask(RUN, id=parent))["run"]["children"] == {"nodes": [{"id": run_id}], "totalCount": 1}


async def test_creating_again_returns_the_same_run(client: Client) -> None:
    given = {"id": new_id(), "project": client.project, "experiment": "test", "params": [{"key": "a", "value": 1}]}
    first, second = await asyncio.gather(client.ask(CREATE_RUN, input=given), client.ask(CREATE_RUN, input=given))
    assert {first["createRun"]["created"], second["createRun"]["created"]} == {True, False}
    assert first["createRun"]["run"] == second["createRun"]["run"]

    other = await client.ask(CREATE_RUN, input={**given, "params": [{"key": "a", "value": 2}]})
    assert other["createRun"]["__typename"] == "Conflict"
    assert other["createRun"]["code"] == "CONFLICT"


async def test_racing_runs_make_one_experiment(client: Client) -> None:
    runs = [{"id": new_id(), "project": client.project, "experiment": "race"} for _ in range(12)]
    await asyncio.gather(*(client.ask(CREATE_RUN, input=given) for given in runs))
    data = await client.ask(
        "query ($name: String) { project(name: $name) { experiments { nodes { name runs { totalCount } } } } }",
        name=client.project,
    )
    assert data["project"]["experiments"]["nodes"] == [{"name": "race", "runs": {"totalCount": 12}}]


async def test_one_of_many_who_use_an_id_gets_it(client: Client) -> None:
    for number in range(10):
        given = {"id": new_id(), "project": client.project, "experiment": f"e{number}"}
        asked = [{**given, "params": [{"key": "a", "value": index // 3}]} for index in range(9)]
        answers = await asyncio.gather(*(client.ask(CREATE_RUN, input=one) for one in asked))
        created = [index // 3 for index, answer in enumerate(answers) if answer["createRun"].get("created")]
        assert len(created) == 1
        for index, answer in enumerate(answers):
            expected = "CreateRunPayload" if [index // 3] == created else "Conflict"
            assert answer["createRun"]["__typename"] == expected
        assert await params_of(client, given["id"]) == {"a": created[0]}


async def test_runs_that_come_at_once_are_made_together(client: Client, pool: Pool) -> None:
    await client.create_run()
    asked = [
        {
            "id": new_id(),
            "project": client.project,
            "experiment": "test",
            "params": [{"key": "n", "value": n}, {"key": f"only {n}", "value": "x"}],
            "tags": [{"key": "n", "value": str(n)}],
            "source": {"commit": str(n)} if n % 2 else None,
            "environment": {"hostname": str(n)} if n % 3 else None,
        }
        for n in range(12)
    ]
    async with asyncio.TaskGroup() as tasks, pool.acquire() as conn, conn.transaction():
        await conn.execute("lock table run in share mode")
        for one in asked:
            tasks.create_task(client.ask(CREATE_RUN, input=one))
        await asyncio.sleep(0.5)

    ids = [one["id"] for one in asked]
    statements = await pool.fetchval("select count(distinct xmin::text) from run where id = any($1::uuid[])", ids)
    assert statements <= 3
    for n, run_id in enumerate(ids):
        run = (await client.ask(RUN, id=run_id))["run"]
        assert {param["key"]: param["value"] for param in run["params"]["nodes"]} == {"n": n, f"only {n}": "x"}
        assert [(tag["key"], tag["value"]) for tag in run["tags"]] == [("n", str(n))]
        assert [change["after"] for change in run["tagHistory"]] == [str(n)]
        assert (run["source"] or {}).get("commit") == (str(n) if n % 2 else None)
        assert (run["environment"] is None) == (n % 3 == 0)


@pytest.mark.parametrize(
    "texts", [[], [""], ["", ""], ["a\nb\n"], ["\n"], ["", "\n", "x", "\n\n"], ["\r\n", "\\n", "\x1f", "ä\u2028"]]
)
async def test_texts_that_a_run_begins_with_are_kept_to_the_letter(client: Client, texts: list[str]) -> None:
    given = {f"key {number}": text for number, text in enumerate(texts)}

    run_id = await client.create_run(
        params=[{"key": key, "value": text} for key, text in given.items()],
        tags=[{"key": key, "value": text} for key, text in given.items()],
    )

    assert await params_of(client, run_id) == given
    tags = (await client.ask(RUN, id=run_id))["run"]["tags"]
    assert {tag["key"]: tag["value"] for tag in tags} == given


async def test_params_that_a_run_begins_with_are_found_by_their_numbers(client: Client, pool: Pool) -> None:
    floats = [0.1, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 1 / 3]
    integers = [0, -(2**63), 2**63 - 1, 2**53 + 1]
    named = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    others = ["7", True, None, [1]]
    given = [*floats, *integers, *others]

    run_id = await client.create_run(
        params=[{"key": f"{number:02}", "value": value} for number, value in enumerate(given)]
        + [{"key": name, "value": name, "type": "FLOAT"} for name in named]
    )

    rows = await pool.fetch("select key, number from param where run_id = $1 order by key", UUID(run_id))
    numbers = {row["key"]: row["number"] for row in rows}
    expected = [*map(float, [*floats, *integers]), *[None] * len(others)]
    assert repr([numbers[f"{number:02}"] for number in range(len(given))]) == repr(expected)
    assert repr({name: numbers[name] for name in named}) == repr(named)


async def test_source_and_environment_are_kept_to_the_letter(client: Client) -> None:
    words = ["", "NULL", "null", "{a,b}", 'a "b" \\ c', "\\u0041", "é😀", "line\nbreak\ttab", "'; drop table run; --"]
    source = {
        "commit": words[4],
        "branch": words[6],
        "dirty": False,
        "argv": words,
        "entryPoint": words[8],
        "patchDigest": "sha256:" + "ab" * 32,
    }
    packages = [{"name": word or "empty", "version": word} for word in words]
    environment = {"python": words[5], "cpuCount": None, "memoryBytes": 2**63 - 1, "gpus": words}
    shown = []
    for _ in range(2):  # the first run of a project is made in another way than the next
        run_id = await client.create_run(source=source, environment={**environment, "packages": packages})
        shown.append((await client.ask(RUN, id=run_id))["run"])
    for run in shown:
        assert run["source"] == source
        stored = run["environment"].pop("packages")
        assert {one["name"]: one["version"] for one in stored} == {one["name"]: one["version"] for one in packages}
        assert run["environment"] == environment


async def test_param_is_written_once(client: Client) -> None:
    run_id = await client.create_run()
    assert (await log_params(client, run_id, lr=0.1, seed=1))["stored"] == 2
    assert (await log_params(client, run_id, lr=0.1, depth=3))["stored"] == 1

    refused = await log_params(client, run_id, width=9, lr=0.2)

    assert refused["__typename"] == "ParamConflict"
    assert (refused["code"], refused["key"], refused["storedValue"], refused["givenValue"]) == (
        "CONFLICT",
        "lr",
        0.1,
        0.2,
    )
    assert await params_of(client, run_id) == {"lr": 0.1, "seed": 1, "depth": 3}


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "STRING"), (1, "INT"), (1.0, "FLOAT"), (True, "BOOL"), (None, "NULL"), ([1], "JSON"), ({"b": 1}, "JSON")],
)
async def test_param_keeps_its_type_and_value(client: Client, value: Any, kind: str) -> None:
    run_id = await client.create_run(params=[{"key": "p", "value": value}])
    [param] = (await client.ask(RUN, id=run_id))["run"]["params"]["nodes"]
    assert (param["type"], param["value"]) == (kind, value)
    assert type(param["value"]) is type(value)


async def test_float_param_may_be_not_finite(client: Client) -> None:
    run_id = await client.create_run(params=[{"key": "p", "value": "-Infinity", "type": "FLOAT"}])
    [param] = (await client.ask(RUN, id=run_id))["run"]["params"]["nodes"]
    assert (param["type"], param["value"]) == ("FLOAT", "-Infinity")


async def test_finished_run_is_a_fixed_record(client: Client, pool: Pool) -> None:
    run_id = await client.create_run(params=[{"key": "lr", "value": 0.1}])
    before = (await client.ask(FINISH, input={"runId": run_id}))["finishRun"]
    assert before["run"]["status"] == "FINISHED"

    assert (await log_params(client, run_id, new=1))["code"] == "RUN_SEALED"
    assert (await log_params(client, run_id, lr=0.1))["stored"] == 0
    inputs = {"runId": run_id, "inputs": [{"name": "d", "digest": "1"}]}
    assert (await client.ask(LOG_INPUTS, input=inputs))["logInputs"]["code"] == "RUN_SEALED"
    assert (await client.ask(HEARTBEAT, input={"runId": run_id}))["heartbeat"]["code"] == "RUN_SEALED"
    again = (await client.ask(FINISH, input={"runId": run_id}))["finishRun"]
    assert again == before
    other = (await client.ask(FINISH, input={"runId": run_id, "status": "FAILED"}))["finishRun"]
    assert (other["code"], other["status"]) == ("RUN_SEALED", "FINISHED")

    for statement in (
        "insert into param (run_id, project_id, key, attempt, type, text) "
        "select id, project_id, 'x', 1, 'NULL', 'null' from run where id = $1",
        "update param set text = '9' where run_id = $1",
        "delete from param where run_id = $1",
        "update attempt set status = 'RUNNING', finished_at = null where run_id = $1",
        "delete from attempt where run_id = $1",
        "update run set status = 'FAILED' where id = $1",
        "update run set name = 'other' where id = $1",
        "delete from run where id = $1",
        "insert into source (run_id, attempt) values ($1, 1)",
        "insert into environment (run_id, attempt) values ($1, 1)",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await pool.execute(statement, run_id)


@pytest.mark.parametrize(
    "change",
    [
        "run set id = gen_random_uuid()",
        "run set project_id = gen_random_uuid()",
        "run set experiment_id = gen_random_uuid()",
        "run set parent_id = gen_random_uuid()",
        "run set name = 'other'",
        "run set created_by = gen_random_uuid()",
        "run set created_at = created_at - interval '1 day'",
        "run set started_at = now()",
        "run set request_sha256 = sha256('other')",
        "run set group_name = 'other'",
        "run set ancestor_ids = array[gen_random_uuid()]",
        "attempt set run_id = gen_random_uuid()",
        "attempt set number = 2",
        "attempt set id = gen_random_uuid()",
        "attempt set started_by = gen_random_uuid()",
        "attempt set started_at = started_at - interval '1 day'",
    ],
)
async def test_what_an_open_run_began_with_never_changes(client: Client, pool: Pool, change: str) -> None:
    run_id = await client.create_run()
    table = change.split()[0]
    key = "id" if table == "run" else "run_id"
    stored = f"select array_agg({table}) from {table} where {key} = $1"
    before = await pool.fetchval(stored, run_id)

    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await pool.execute(f"update {change} where {key} = $1", run_id)

    assert refusal.value.constraint_name == ("record_is_append_only" if table == "run" else "run_is_open")
    assert await pool.fetchval(stored, run_id) == before


@pytest.mark.parametrize(
    "statement",
    [
        "insert into tag_change (id, run_id, key, after, changed_by, changed_at) "
        "select 1, id, 'x', 'y', created_by, now() from run where id = $1",
        "update tag set key = 'other' where run_id = $1",
        "update tag set before = 'other' where run_id = $1",
        "update tag set changed_at = now() where run_id = $1",
        "insert into tag (run_id, project_id, key, value, before, changed_by) "
        "select id, project_id, 'x', 'y', 'z', created_by from run where id = $1",
        "delete from tag where run_id = $1",
        "insert into series (run_id, key) values ($1, 'x')",
        "update run set finished_at = now(), status = 'FINISHED' where id = $1",
        "update run set attempt = 2 where id = $1",
        "insert into run (id, project_id, experiment_id, name, status, finished_at, created_by, request_sha256) "
        "select gen_random_uuid(), project_id, experiment_id, 'x', 'FINISHED', now(), created_by, request_sha256 "
        "from run where id = $1",
        "insert into param (run_id, project_id, attempt, key, type, text) "
        "select id, project_id, 2, 'x', 'NULL', 'null' from run where id = $1",
        "insert into param (run_id, project_id, attempt, key, type, text) "
        "select gen_random_uuid(), project_id, 1, 'x', 'NULL', 'null' from run where id = $1",
        "insert into param (run_id, project_id, attempt, key, type, text) "
        "select id, gen_random_uuid(), 1, 'x', 'NULL', 'null' from run where id = $1",
        "insert into tag (run_id, project_id, key, value, changed_by) "
        "select id, gen_random_uuid(), 'x', 'y', created_by from run where id = $1",
        "update tag set project_id = gen_random_uuid() where run_id = $1",
        "insert into metric (run_id, project_id, key, count, first, last) "
        "select id, gen_random_uuid(), 'x', 1, 0, 0 from run where id = $1",
        "insert into writer (id, run_id, attempt, opened_by) select gen_random_uuid(), id, 2, created_by "
        "from run where id = $1",
    ],
)
async def test_what_follows_from_records_is_not_written_by_hand(client: Client, pool: Pool, statement: str) -> None:
    run_id = await client.create_run(tags=[{"key": "a", "value": "b"}])
    before = (await client.ask(RUN, id=run_id))["run"]
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await pool.execute(statement, run_id)
    assert (await client.ask(RUN, id=run_id))["run"] == before


@pytest.mark.parametrize(
    "statement",
    [
        "insert into run (id, project_id, experiment_id, name, created_by, request_sha256) "
        "select gen_random_uuid(), project_id, experiment_id, 'x', gen_random_uuid(), request_sha256 from run "
        "where id = $1",
        "insert into run (id, project_id, experiment_id, name, created_by, request_sha256) "
        "select gen_random_uuid(), project_id, gen_random_uuid(), 'x', created_by, request_sha256 from run "
        "where id = $1",
        "insert into run (id, project_id, experiment_id, name, created_by, request_sha256) "
        "select gen_random_uuid(), gen_random_uuid(), experiment_id, 'x', created_by, request_sha256 from run "
        "where id = $1",
        "insert into attempt (run_id, number, id, started_by) select gen_random_uuid(), 1, id, created_by from run "
        "where id = $1",
        "insert into attempt (run_id, number, id, started_by) select id, 2, gen_random_uuid(), gen_random_uuid() "
        "from run where id = $1",
        "insert into tag (run_id, project_id, key, value, changed_by) "
        "select gen_random_uuid(), project_id, 'x', 'y', created_by from run where id = $1",
        "insert into tag (run_id, project_id, key, value, changed_by) "
        "select id, project_id, 'x', 'y', gen_random_uuid() from run where id = $1",
        "update tag set value = 'c', changed_by = gen_random_uuid() where run_id = $1",
        "insert into writer (id, run_id, attempt, opened_by) select gen_random_uuid(), id, 1, gen_random_uuid() "
        "from run where id = $1",
        "delete from account where id = (select created_by from run where id = $1)",
        "delete from project where id = (select project_id from run where id = $1)",
        "delete from experiment where id = (select experiment_id from run where id = $1)",
        "update account set id = gen_random_uuid() where id = (select created_by from run where id = $1)",
        "update project set id = gen_random_uuid() where id = (select project_id from run where id = $1)",
        "update experiment set project_id = gen_random_uuid() where id = (select experiment_id from run where id = $1)",
    ],
)
async def test_records_refer_to_what_is_there_and_stays(client: Client, pool: Pool, statement: str) -> None:
    run_id = await client.create_run(tags=[{"key": "a", "value": "b"}])
    before = (await client.ask(RUN, id=run_id))["run"]
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await pool.execute(statement, run_id)
    assert (await client.ask(RUN, id=run_id))["run"] == before


async def test_every_param_is_before_the_end_of_its_run_or_refused(client: Client) -> None:
    for _ in range(15):
        run_id = await client.create_run()

        async def log(key: str, run_id: str = run_id) -> str | None:
            answer = await log_params(client, run_id, **{key: 1})
            assert answer.get("code", "RUN_SEALED") == "RUN_SEALED"
            return key if "stored" in answer else None

        async def finish(run_id: str = run_id) -> set[str]:
            answer = await client.ask(FINISH, input={"runId": run_id})
            assert answer["finishRun"]["__typename"] == "FinishRunPayload"
            return set(await params_of(client, run_id))

        *stored, at_the_end = await asyncio.gather(*(log(f"k{n}") for n in range(8)), finish())
        assert {key for key in stored if key} == at_the_end == set(await params_of(client, run_id))


async def test_resuming_while_the_run_ends_is_before_or_after(client: Client) -> None:
    for number in range(15):
        run_id = await client.create_run()
        asked = [
            client.ask(RESUME, input={"runId": run_id, "attemptId": new_id()}),
            client.ask(FINISH, input={"runId": run_id}),
        ]
        await asyncio.gather(*(asked if number % 2 else asked[::-1]))
        run = (await client.ask(RUN, id=run_id))["run"]
        states = [(attempt["number"], attempt["status"]) for attempt in run["attempts"]]
        assert states in ([(1, "FINISHED")], [(1, "FINISHED"), (2, "RUNNING")])
        assert (run["attempt"], run["status"]) == states[-1]


async def test_tags_change_after_the_end_and_keep_their_history(client: Client) -> None:
    run_id = await client.create_run(tags=[{"key": "stage", "value": "test"}])
    await client.ask(FINISH, input={"runId": run_id})

    changed = {"runId": run_id, "tags": [{"key": "stage", "value": "live"}, {"key": "note", "value": "good"}]}
    answer = await client.ask(SET_TAGS, input=changed)
    assert answer["setTags"]["run"]["tags"] == [{"key": "note", "value": "good"}, {"key": "stage", "value": "live"}]
    await client.ask(SET_TAGS, input={"runId": run_id, "tags": [{"key": "stage", "value": None}]})

    run = (await client.ask(RUN, id=run_id))["run"]
    assert [tag["key"] for tag in run["tags"]] == ["note"]
    history = [(change["before"], change["after"]) for change in run["tagHistory"] if change["key"] == "stage"]
    assert history == [("live", None), ("test", "live"), (None, "test")]


async def test_the_history_of_a_tag_is_in_the_order_of_its_values(client: Client, pool: Pool) -> None:
    run_id = await client.create_run(tags=[{"key": "stage", "value": "a"}])
    change = "update tag set value = $2, changed_at = now() where run_id = $1"
    async with pool.acquire() as first, first.transaction():
        await first.fetchval("select now()")  # it begins first and changes last
        await pool.execute(change, run_id, "b")
        await first.execute(change, run_id, "c")

    history = (await client.ask(RUN, id=run_id))["run"]["tagHistory"]
    assert [(one["before"], one["after"]) for one in history] == [("b", "c"), ("a", "b"), (None, "a")]


async def test_resuming_is_a_new_attempt(client: Client) -> None:
    run_id = await client.create_run(params=[{"key": "a", "value": 1}])
    joined = (await client.ask(RESUME, input={"runId": run_id, "attemptId": new_id()}))["resumeRun"]
    assert joined["attempt"] == 1
    await client.ask(FINISH, input={"runId": run_id, "status": "FAILED"})

    given = {"runId": run_id, "attemptId": new_id(), "source": {"commit": "def"}}
    for _ in range(2):
        resumed = (await client.ask(RESUME, input=given))["resumeRun"]
        assert resumed == {
            "__typename": "ResumeRunPayload",
            "attempt": 2,
            "run": {"status": "RUNNING", "attempt": 2},
        }
    await log_params(client, run_id, b=2)
    await client.ask(FINISH, input={"runId": run_id})

    run = (await client.ask(RUN, id=run_id))["run"]
    assert [(one["number"], one["status"]) for one in run["attempts"]] == [(1, "FAILED"), (2, "FINISHED")]
    assert [(param["key"], param["attempt"]) for param in run["params"]["nodes"]] == [("a", 1), ("b", 2)]
    assert run["source"]["commit"] == "def"


async def test_silent_run_is_lost_and_comes_back(client: Client, pool: Pool) -> None:
    run_id = await client.create_run()
    await pool.execute("update attempt set heartbeat_at = now() - interval '1 day' where run_id = $1", run_id)
    async with asyncio.timeout(30):
        while (await client.ask(RUN, id=run_id))["run"]["status"] != "LOST":
            await asyncio.sleep(0.2)

    assert (await log_params(client, run_id, late=1))["stored"] == 1
    beat = await client.ask(HEARTBEAT, input={"runId": run_id})
    assert beat["heartbeat"]["status"] == "RUNNING"


async def test_inputs_are_known_by_their_digest(client: Client) -> None:
    run_id = await client.create_run()
    given = [
        {"name": "churn", "digest": "sha256:1", "context": "training", "uri": "s3://x/y"},
        {"name": "churn", "digest": "sha256:2", "context": "test"},
    ]
    for _ in range(2):
        answer = await client.ask(LOG_INPUTS, input={"runId": run_id, "inputs": given})
        assert answer["logInputs"]["__typename"] == "LogInputsPayload"
    inputs = (await client.ask(RUN, id=run_id))["run"]["inputs"]
    assert [(one["digest"], one["context"], one["uri"]) for one in inputs] == [
        ("sha256:2", "test", None),
        ("sha256:1", "training", "s3://x/y"),
    ]


async def test_pages_are_stable_while_runs_arrive(client: Client) -> None:
    made = [await client.create_run() for _ in range(7)]
    query = """
        query ($first: Int!, $after: Cursor, $select: RunSelection) {
          runs(select: $select, first: $first, after: $after) {
            nodes { id } edges { cursor } totalCount pageInfo { hasNextPage hasPreviousPage endCursor }
          }
        }
    """
    project = await client.ask("query ($name: String) { project(name: $name) { id } }", name=client.project)
    select = {"projectId": project["project"]["id"]}
    seen: list[str] = []
    after = None
    while True:
        runs = (await client.ask(query, select=select, first=3, after=after))["runs"]
        seen += [node["id"] for node in runs["nodes"]]
        after = runs["pageInfo"]["endCursor"]
        if not runs["pageInfo"]["hasNextPage"]:
            break
        await client.create_run()
    assert seen == made[::-1]


@pytest.mark.parametrize("first", [0, -1, 501, 100_000])
async def test_page_size_is_bounded(client: Client, first: int) -> None:
    error = await client.refused("query ($first: Int!) { runs(first: $first) { nodes { id } } }", first=first)
    assert error["extensions"]["code"] == "VALIDATION"
    assert error["extensions"]["limit"] == "1 to 500"


async def test_cursor_is_only_good_for_its_list(client: Client, stranger: Client) -> None:
    await client.create_run()
    await stranger.create_run()
    query = "query ($after: Cursor) { runs(first: 1, after: $after) { edges { cursor } pageInfo { endCursor } } }"
    cursor = (await client.ask(query))["runs"]["pageInfo"]["endCursor"]
    other_list = "query ($after: Cursor) { experiments(after: $after) { nodes { id } } }"
    for document, after in [
        (query, cursor[:-2] + "AA"),
        (query, f"{cursor[:5]}!{cursor[5:]}"),
        (query, f"{cursor}="),
        (query, f"{cursor}\n"),
        (query, "x"),
        (query, "é"),
        (query, ""),
        (other_list, cursor),
    ]:
        error = await client.refused(document, after=after)
        assert error["extensions"]["code"] == "VALIDATION", after
        assert error["extensions"]["path"] == "after"


async def test_node_finds_anything_by_its_id(client: Client) -> None:
    run_id = await client.create_run()
    run = (await client.ask("query ($id: ID!) { run(id: $id) { experiment { id } project { id } } }", id=run_id))["run"]
    query = "query ($id: ID!) { node(id: $id) { __typename id } }"
    for kind, id in [("Run", run_id), ("Experiment", run["experiment"]["id"]), ("Project", run["project"]["id"])]:
        assert (await client.ask(query, id=id))["node"] == {"__typename": kind, "id": id}
    for id in (new_id(), "x", "", "\u0000"):
        assert (await client.ask(query, id=id))["node"] is None


async def test_clock_of_the_client_is_kept_apart(client: Client) -> None:
    run_id = await client.create_run(startedAt="2001-01-01T00:00:00Z")
    run = (await client.ask(RUN, id=run_id))["run"]
    assert run["startedAt"] == "2001-01-01T00:00:00Z"
    await client.ask(FINISH, input={"runId": run_id, "finishedAt": "1999-01-01T00:00:00Z"})
    run = (await client.ask(RUN, id=run_id))["run"]
    assert 0 <= run["durationSeconds"] < 60
    assert datetime.fromisoformat(run["finishedAt"]).year >= datetime.now(UTC).year
