"""Deny by default: what is not granted looks missing, field by field."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLUnionType,
    get_named_type,
    is_required_argument,
)
from starlette.routing import WebSocketRoute

from api.limits import ALIASES
from api.limits import TOKENS as TOKENS_MAX
from api.schema import schema
from db import access
from db.access import Role
from db.pool import Pool
from tests.conftest import CREATE_RUN, Client, People, Server, new_id

TYPES = schema._schema
VIEWER = "{ viewer { name memberships { project { name } role } } }"
DEPTH_MAX = 3
TOKENS = TOKENS_MAX.most - 100  # of a selection, beside its call


def selections(kind: GraphQLOutputType) -> list[str]:
    """Every field of the type that needs no argument; the types of an abstract one in several, each small enough."""
    named = get_named_type(kind)
    if not isinstance(named, GraphQLUnionType | GraphQLInterfaceType):
        return [selection(kind)]
    parts = [""]
    for one in TYPES.get_possible_types(named):
        part = f"... on {one.name} {selection(one, aliased=True)}"
        if len(re.findall(r"\w+|[{}:]", parts[-1] + part)) > TOKENS or (parts[-1] + part).count(":") > ALIASES.most:
            parts.append("")
        parts[-1] += f" {part}"
    return [f"{{ __typename {part} }}" for part in parts if part]


def selection(kind: GraphQLOutputType, depth: int = 0, *, aliased: bool = False) -> str:
    """Every field of the type that needs no argument, a few levels deep."""
    named = get_named_type(kind)
    if isinstance(named, GraphQLUnionType | GraphQLInterfaceType):
        members = TYPES.get_possible_types(named)
        inner = " ".join(f"... on {one.name} {selection(one, depth, aliased=True)}" for one in members)
        return f"{{ __typename {inner} }}"
    if not isinstance(named, GraphQLObjectType):
        return ""
    if depth >= DEPTH_MAX:
        return "{ __typename }"
    fields = []
    for name, field in named.fields.items():
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        # Fields of the members of a union may have one name and other types: each gets an alias of its own.
        alias = f"{named.name}_{name}: " if aliased else ""
        fields.append(f"{alias}{name} {selection(field.type, depth + 1)}")
    return "{ " + " ".join(fields) + " }"


class Sample:
    """Builds arguments of any input type around the ids of one project's things."""

    def __init__(self, things: dict[str, str]) -> None:
        self.things = things

    def of(self, kind: GraphQLInputType, name: str) -> Any:
        if isinstance(kind, GraphQLNonNull):
            return self.of(kind.of_type, name)
        if isinstance(kind, GraphQLList):
            return [self.of(kind.of_type, name.removesuffix("s"))]
        if isinstance(kind, GraphQLEnumType):
            return next(iter(kind.values))
        if isinstance(kind, GraphQLInputObjectType):
            return {
                field_name: self.of(field.type, field_name)
                for field_name, field in kind.fields.items()
                if isinstance(field.type, GraphQLNonNull) or self._names_a_thing(field_name)
            }
        return self._scalar(get_named_type(kind).name, name)

    def _names_a_thing(self, name: str) -> bool:
        return name.removesuffix("s") in {"projectId", "experimentId", "runId", "artifactId", "project", "projectName"}

    def _scalar(self, kind: str, name: str) -> Any:
        if name in {"project", "projectName"}:
            return self.things["projectName"]
        values = {
            "ID": self.things.get(name, self.things["runId"]) if name != "attemptId" else new_id(),
            "String": self.things.get(name, "x"),
            "Int": 1,
            "Int64": 0,
            "Float": 0.0,
            "Boolean": True,
            "MetricValue": 1.0,
            "ParamValue": 1,
            "DateTime": datetime.now(UTC).isoformat(),
            "Int64Column": [0],
            "Float64Column": [0.0],
        }
        if name == "sha256":
            return "0" * 64
        return values[kind]


def operations(kind: str) -> Iterator[tuple[str, GraphQLField]]:
    root = TYPES.query_type if kind == "query" else TYPES.mutation_type
    assert root is not None
    yield from root.fields.items()


def documents(kind: str, name: str, field: GraphQLField) -> list[str]:
    declared = ", ".join(f"${argument}: {its.type}" for argument, its in field.args.items())
    passed = ", ".join(f"{argument}: ${argument}" for argument in field.args)
    head = f"{kind} ({declared})" if declared else kind
    call = f"{name}({passed})" if passed else name
    return [f"{head} {{ {call} {each} }}" for each in selections(field.type)]


def arguments(field: GraphQLField, sample: Sample) -> dict[str, Any]:
    def given(name: str, argument: GraphQLArgument) -> bool:
        named = get_named_type(argument.type)
        return isinstance(argument.type, GraphQLNonNull) or named.name == "ID" or name in {"select", "name"}

    found = {name: sample.of(its.type, name) for name, its in field.args.items() if given(name, its)}
    if "first" in field.args:
        found["first"] = 10
    return found


@pytest.fixture
async def things(client: Client) -> dict[str, str]:
    """A run of `client` with a bit of everything, and the ids of all that is around it."""
    run_id = await client.create_run(
        name="secret run",
        params=[{"key": "secret param", "value": "secret value"}],
        tags=[{"key": "secret tag", "value": "secret"}],
        source={"commit": "secret commit"},
        environment={"hostname": "secret host"},
    )
    ids = """
        query ($id: ID!) { run(id: $id) { project { id name } experiment { id } } }
    """
    run = (await client.ask(ids, id=run_id))["run"]
    files = [{"path": "secret.bin", "sizeBytes": 3, "sha256": "1" * 64}]
    create_uploads = """
        mutation ($input: CreateUploadsInput!) {
          createUploads(input: $input) { ... on CreateUploadsPayload { uploads { id artifact { id } } } }
        }
    """
    [upload] = (await client.ask(create_uploads, input={"runId": run_id, "files": files}))["createUploads"]["uploads"]
    export_id = new_id()
    start_export = "mutation ($input: StartExportInput!) { startExport(input: $input) { __typename } }"
    await client.ask(start_export, input={"id": export_id, "select": {"projectId": run["project"]["id"]}})
    save_view = """
        mutation ($input: SaveViewInput!) { saveView(input: $input) { ... on SaveViewPayload { view { id } } } }
    """
    secret = {"experimentId": run["experiment"]["id"], "name": "secret view", "search": "q=secret"}
    view_id = (await client.ask(save_view, input=secret))["saveView"]["view"]["id"]
    return {
        "projectId": run["project"]["id"],
        "projectName": run["project"]["name"],
        "name": run["project"]["name"],
        "experimentId": run["experiment"]["id"],
        "runId": run_id,
        "id": run_id,
        "artifactId": upload["artifact"]["id"],
        "uploadId": upload["id"],
        "exportId": export_id,
        "viewId": view_id,
        "baselineId": run_id,
        "parentId": run_id,
    }


def missing_like(things: dict[str, str]) -> dict[str, str]:
    """Names and ids that look the same and are nobody's."""
    name = f"p-{uuid.uuid4().hex[:12]}"
    return {key: name if key in {"projectName", "name"} else new_id() for key in things}


def told(answer: dict[str, Any], things: dict[str, str]) -> str:
    """The answer with ids, request ids and the budget blanked, so that two can be compared."""
    text = json.dumps(answer, sort_keys=True)
    for value in sorted(things.values(), key=len, reverse=True):
        text = text.replace(value, "X")
    text = re.sub(r'"remaining": \d+', '"remaining": 0', text)
    return re.sub(r'equestId": "[0-9a-f]{16}"', 'equestId": "R"', text)


OF_PROJECT = """
    select (select count(*) from run where project_id = $1),
        (select count(*) from experiment where project_id = $1),
        (select count(*) from param join run on run.id = run_id where run.project_id = $1),
        (select count(*) from tag join run on run.id = run_id where run.project_id = $1),
        (select count(*) from run_input join run on run.id = run_id where run.project_id = $1),
        (select count(*) from writer join run on run.id = run_id where run.project_id = $1),
        (select count(*) from export where project_id = $1),
        (select count(*) from saved_view where project_id = $1),
        (select string_agg(artifact.state, '') from artifact where project_id = $1),
        (select string_agg(attempt.status || heartbeat_at::text || coalesce(stop_reason, ''), '') from attempt
            join run on run.id = run_id where run.project_id = $1)
"""


@pytest.mark.parametrize("kind", ["query", "mutation"])
async def test_foreign_things_look_missing_in_every_field(
    kind: str, people: People, things: dict[str, str], pool: Pool
) -> None:
    before = await pool.fetchrow(OF_PROJECT, things["projectId"])
    nobodys, elsewhere = missing_like(things), await people.project()
    for name, field in operations(kind):
        if name == "createProject":  # the name of a project is taken for everybody, and that is all it tells
            continue
        stranger = await people.member(elsewhere, Role.EDITOR)  # with a budget of its own
        for focus in ("runId", "artifactId", "experimentId", "projectId", "exportId", "viewId"):
            foreign, missing = dict(things), dict(nobodys)
            foreign["id"], missing["id"] = things[focus], nobodys[focus]
            for text in documents(kind, name, field):
                fields_given = [arguments(field, Sample(each)) for each in (foreign, missing)]
                for each in fields_given:
                    if name in {"createRun", "startExport"}:
                        each["input"]["id"] = new_id()
                answers = [(await stranger.post(text, **each)).json() for each in fields_given]
                shown = [told(answers[0], foreign), told(answers[1], missing)]
                assert shown[0] == shown[1], f"{name} tells a foreign {focus} from a missing one"
                assert "secret" not in shown[0], name
                assert "QUERY_TOO_COMPLEX" not in shown[0], "what is refused unseen proves nothing"
    assert await pool.fetchrow(OF_PROJECT, things["projectId"]) == before


async def test_lists_leave_out_what_is_foreign(client: Client, stranger: Client, things: dict[str, str]) -> None:
    for name, field in operations("query"):
        if any(is_required_argument(its) for its in field.args.values()):
            continue
        given = {"first": 20} if "first" in field.args else {}
        [text] = documents("query", name, field)
        answer = json.dumps((await stranger.post(text, **given)).json())
        assert "secret" not in answer
        assert "QUERY_TOO_COMPLEX" not in answer
        for value in things.values():
            assert value not in answer, f"{name} shows {value}"


async def test_owner_of_the_things_sees_them(client: Client, things: dict[str, str]) -> None:
    """The walk above would prove nothing if nobody saw anything."""
    field = dict(operations("query"))["run"]
    [text] = documents("query", "run", field)
    answer = json.dumps(await client.ask(text, id=things["runId"]))
    for secret in ("secret run", "secret param", "secret tag", "secret commit", "secret host", "secret.bin"):
        assert secret in answer, secret


LOG = """
    mutation ($input: LogParamsInput!) {
      logParams(input: $input) { __typename ... on UserError { code message } }
    }
"""


async def log_to(client: Client, run_id: str) -> str:
    given = {"runId": run_id, "params": [{"key": f"k{uuid.uuid4().hex}", "value": 1}]}
    return str((await client.ask(LOG, input=given))["logParams"]["__typename"])


async def reads(client: Client, run_id: str) -> bool:
    return (await client.ask("query ($id: ID!) { run(id: $id) { id } }", id=run_id))["run"] is not None


async def test_roles_may_what_they_may(people: People) -> None:
    project = await people.project()
    viewer, logger, other_logger, editor, owner = [
        await people.member(project, role) for role in (Role.VIEWER, Role.LOGGER, Role.LOGGER, Role.EDITOR, Role.OWNER)
    ]
    of_logger, of_editor = await logger.create_run(), await editor.create_run()

    assert [await reads(client, of_logger) for client in (viewer, logger, other_logger, editor, owner)] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert not await reads(logger, of_editor)
    assert [await log_to(client, of_logger) for client in (viewer, logger, other_logger, editor, owner)] == [
        "Forbidden",
        "LogParamsPayload",
        "NotFound",
        "LogParamsPayload",
        "LogParamsPayload",
    ]
    refused = await viewer.ask(CREATE_RUN, input={"id": new_id(), "project": project, "experiment": "x"})
    assert refused["createRun"]["code"] == "FORBIDDEN"


async def test_admin_reads_no_project_it_was_not_let_into(client: Client, server: Server) -> None:
    run_id = await client.create_run()
    admin = Client(server, server.token, "default")
    assert not await reads(admin, run_id)
    await admin.close()


async def asked(server: Server, header: str | None) -> httpx.Response:
    async with httpx.AsyncClient(verify=False) as http:
        headers = {} if header is None else {"Authorization": header}
        return await http.post(f"{server.url}/graphql", json={"query": VIEWER}, headers=headers)


async def test_other_credentials_are_refused_alike(server: Server) -> None:
    name, token_id, secret = server.token.split("_", 2)
    wrong_secret = f"{name}_{token_id}_{'A' * len(secret)}"
    unknown = f"{name}_{'0' * 16}_{secret}"
    for header in (
        None,
        "",
        "Bearer",
        f"Basic {server.token}",
        "Bearer garbage",
        f"Bearer {server.token}x",
        f"Bearer {wrong_secret}",
        f"Bearer {unknown}",
        server.token,
    ):
        response = await asked(server, header)
        assert response.status_code == 401, header
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    messages = {
        (await asked(server, f"Bearer {token}")).json()["errors"][0]["message"] for token in (wrong_secret, unknown)
    }
    assert len(messages) == 1


async def test_token_in_the_address_is_not_taken(server: Server) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        response = await http.post(f"{server.url}/graphql?token={server.token}", json={"query": VIEWER})
    assert response.status_code == 401


async def test_revoked_expired_and_disabled_tokens_stop_at_once(people: People, server: Server, pool: Pool) -> None:
    project = await people.project()
    expire = "update token set expires_at = now() - interval '1 second' where id = $1"
    disable = "update account set disabled_at = now() where id = (select account_id from token where id = $1)"
    for end in (access.revoke_token, partial(_executed, expire), partial(_executed, disable)):
        client = await people.member(project, Role.EDITOR)
        assert (await asked(server, f"Bearer {client.token}")).status_code == 200
        await end(pool, client.token.split("_")[1])
        assert (await asked(server, f"Bearer {client.token}")).status_code == 401


async def _executed(statement: str, pool: Pool, token_id: str) -> None:
    await pool.execute(statement, token_id)


async def test_narrow_token_can_no_more_than_it_says(people: People, server: Server, pool: Pool) -> None:
    project, other = await people.project(), await people.project()
    owner = await people.member(project, Role.OWNER)
    account = await pool.fetchval("select account_id from token where id = $1", owner.token.split("_")[1])
    project_id, other_id = [
        await pool.fetchval("select id from project where name = $1", name) for name in (project, other)
    ]
    await access.grant(pool, other_id, account, Role.OWNER)
    run_id = await owner.create_run()

    token = await access.create_token(pool, account, project_id=project_id, role=Role.VIEWER)
    narrow = Client(server, token, project)
    viewer = (await narrow.ask(VIEWER))["viewer"]
    assert viewer["memberships"] == [{"project": {"name": project}, "role": "VIEWER"}]
    assert await reads(narrow, run_id)
    assert await log_to(narrow, run_id) == "Forbidden"
    create = """
        mutation ($input: CreateProjectInput!) { createProject(input: $input) { ... on UserError { code } } }
    """
    assert (await narrow.ask(create, input={"name": f"n-{new_id()}"}))["createProject"]["code"] == "FORBIDDEN"
    await narrow.close()


async def test_logs_hold_no_secrets(client: Client, server: Server) -> None:
    run_id = await client.create_run()
    await client.ask("query ($id: ID!) { run(id: $id) { id } }", id=run_id)
    settings = server.settings
    assert settings.s3 is not None
    assert settings.s3.secret_access_key is not None
    passwords = [urlsplit(url or "").password for url in (settings.database_url, settings.redis_url)]
    tokens = [server.token.split("_", 2)[2], client.token.split("_", 2)[2]]
    secrets = ["X-Amz-Signature", settings.s3.secret_access_key, *passwords, *tokens]
    logs = {path.name: path.read_text(errors="replace") for path in (settings.home / "logs").glob("*.log")}
    assert {"api.log", "workers.log", "postgres.log"} <= set(logs)
    for name, text in logs.items():
        for secret in secrets:
            assert secret, "there is no secret to look for"
            assert secret not in text, name


async def test_every_route_asks_who_it_is(server: Server) -> None:
    """Anonymous requests reach only what is listed here."""
    pages = {
        "/",
        "/e/{experiment:path}",
        "/compare",
        "/compare/{tab:path}",
        "/r/{id:uuid}",
        "/r/{id:uuid}/{tab:path}",
        "/v/{id:uuid}",
        "/settings",
        "/settings/{tab:path}",
        "/graphiql",
        "/assets",
    }
    public = {("GET", path) for path in {*pages, "/healthz", "/readyz"}}
    from api.app import routes

    for route in routes(server.settings):
        path = getattr(route, "path", "")
        if isinstance(route, WebSocketRoute):  # asks after the handshake: see test_live
            continue
        for method in getattr(route, "methods", None) or {"GET"}:
            async with httpx.AsyncClient(verify=False) as http:
                response = await http.request(method, server.url + path)
            if (method.replace("HEAD", "GET"), path) not in public:
                assert response.status_code in {401, 404}, (method, path)
