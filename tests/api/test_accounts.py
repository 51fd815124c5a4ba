"""Accounts as those manage them who may: people are let in, let out, and never nobody decides."""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from db import access, errors, migrate
from db.pool import Pool
from tests.conftest import Client, Server, new_id

CREATE = """
    mutation ($input: CreateAccountInput!) {
      createAccount(input: $input) {
        __typename
        ... on CreateAccountPayload { secret account { id name isAdmin disabledAt lastUsedAt } }
        ... on UserError { code path limit message }
      }
    }
"""
SET = """
    mutation ($input: SetAccountInput!) {
      setAccount(input: $input) {
        __typename
        ... on SetAccountPayload { account { id isAdmin disabledAt } }
        ... on UserError { code path }
      }
    }
"""
REPLACE = """
    mutation ($input: ReplaceTokensInput!) {
      replaceTokens(input: $input) {
        __typename
        ... on ReplaceTokensPayload { secret account { id } }
        ... on UserError { code path limit }
      }
    }
"""
ACCOUNTS = """
    query ($search: String! = "", $first: Int! = 50, $after: Cursor) {
      accounts(search: $search, first: $first, after: $after) {
        totalCount pageInfo { endCursor hasNextPage } nodes { id name isAdmin createdAt disabledAt lastUsedAt }
      }
    }
"""
VIEWER = "{ viewer { id name isAdmin memberships { role project { name } } tokens { id name lastUsedAt isCurrent } } }"


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[Client]:
    """Who manages the instance from its first start."""
    client = Client(server, server.token, "default")
    yield client
    await client.close()


async def create(client: Client, **given: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.ask(CREATE, input={"name": f"bob {new_id()}", **given}))["createAccount"]
    return answer


async def change(client: Client, account: str, **given: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.ask(SET, input={"accountId": account, **given}))["setAccount"]
    return answer


async def replace(client: Client, account: str, **given: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.ask(REPLACE, input={"accountId": account, **given}))["replaceTokens"]
    return answer


async def accounts(client: Client, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client.ask(ACCOUNTS, **given))["accounts"]
    return found


async def status(client: Client) -> int:
    return (await client.post("{ viewer { id } }")).status_code


async def test_somebody_who_is_let_in_logs_runs_of_their_own(admin: Client, server: Server) -> None:
    made = await create(admin, projectName="default", role="LOGGER")
    bob = Client(server, made["secret"], "default")

    run_id = await bob.create_run()

    viewer = (await bob.ask(VIEWER))["viewer"]
    assert (viewer["name"], viewer["isAdmin"]) == (made["account"]["name"], False)
    assert viewer["memberships"] == [{"role": "LOGGER", "project": {"name": "default"}}]
    run = (await admin.ask("query ($id: ID!) { run(id: $id) { createdBy { name } } }", id=run_id))["run"]
    assert run["createdBy"]["name"] == made["account"]["name"]
    await bob.close()


async def test_all_accounts_are_listed_page_by_page(admin: Client) -> None:
    word = new_id()
    made = [(await create(admin, name=f"{name} {word}"))["account"]["name"] for name in "CBA"]

    first = await accounts(admin, search=word.upper(), first=2)
    rest = await accounts(admin, search=word.upper(), first=2, after=first["pageInfo"]["endCursor"])

    assert first["totalCount"] == 3
    assert [each["name"] for page in (first, rest) for each in page["nodes"]] == sorted(made)
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)


async def test_disabled_account_is_out_until_it_is_let_in_again(admin: Client, server: Server) -> None:
    made = await create(admin)
    bob, account = Client(server, made["secret"], "default"), made["account"]["id"]
    assert await status(bob) == 200

    disabled = await change(admin, account, isDisabled=True)
    assert (await status(bob), (await change(admin, account, isDisabled=True))["account"]) == (401, disabled["account"])
    assert (await replace(admin, account))["code"] == "CONFLICT"
    allowed = await change(admin, account, isDisabled=False)

    assert (await status(bob), allowed["account"]["disabledAt"]) == (200, None)
    await bob.close()


async def test_renamed_account_is_the_same(admin: Client, server: Server) -> None:
    made = await create(admin)
    bob, account = Client(server, made["secret"], "default"), made["account"]["id"]
    name = f"robert {new_id()}"

    renamed = await change(admin, account, name=name)

    assert (renamed["account"]["id"], (await bob.ask(VIEWER))["viewer"]["name"]) == (account, name)
    assert (await change(admin, account, name="admin"))["__typename"] == "NameTaken"
    assert (await change(admin, account, name=" "))["path"] == "input.name"
    await bob.close()


async def test_replaced_tokens_leave_only_the_new_one(admin: Client, server: Server) -> None:
    made = await create(admin)
    lost, account = Client(server, made["secret"], "default"), made["account"]["id"]
    another = await lost.ask('mutation { createToken(input: {name: "box"}) { ... on CreateTokenPayload { secret } } }')
    stolen = Client(server, another["createToken"]["secret"], "default")

    new = Client(server, (await replace(admin, account, days=1))["secret"], "default")

    assert [await status(client) for client in (lost, stolen, new)] == [401, 401, 200]
    [token] = (await new.ask(VIEWER))["viewer"]["tokens"]
    assert (token["name"], token["isCurrent"]) == ("given by an administrator", True)
    for client in (lost, stolen, new):
        await client.close()


async def test_use_of_a_token_is_noted_but_not_a_guess_at_it(admin: Client, server: Server, pool: Pool) -> None:
    made = await create(admin)
    [before] = (await accounts(admin, search=made["account"]["name"]))["nodes"]
    wrong = Client(server, made["secret"][:-1] + ("A" if made["secret"][-1] != "A" else "B"), "default")
    assert await status(wrong) == 401
    [guessed] = (await accounts(admin, search=made["account"]["name"]))["nodes"]
    bob = Client(server, made["secret"], "default")

    [token] = (await bob.ask(VIEWER))["viewer"]["tokens"]
    [used] = (await accounts(admin, search=made["account"]["name"]))["nodes"]

    assert (before["lastUsedAt"], guessed["lastUsedAt"]) == (None, None)
    assert used["lastUsedAt"] == token["lastUsedAt"] >= used["createdAt"]
    await asyncio.gather(bob.close(), wrong.close())


async def test_only_who_manages_the_instance_manages_accounts(admin: Client, client: Client, server: Server) -> None:
    account = (await client.ask(VIEWER))["viewer"]["id"]
    narrow = """
        mutation ($id: ID!) {
          createToken(input: {name: "narrow", projectId: $id}) { ... on CreateTokenPayload { secret } }
        }
    """
    project = (await admin.ask('{ project(name: "default") { id } }'))["project"]["id"]
    limited = Client(server, (await admin.ask(narrow, id=project))["createToken"]["secret"], "default")
    for other in (client, limited):
        assert (await create(other))["code"] == "FORBIDDEN"
        assert (await change(other, account, isAdmin=True))["code"] == "FORBIDDEN"
        assert (await replace(other, account))["code"] == "FORBIDDEN"
        assert (await other.refused(ACCOUNTS))["extensions"]["code"] == "FORBIDDEN"
    await limited.close()


async def test_managing_the_instance_shows_no_project(admin: Client, client: Client, server: Server) -> None:
    run_id = await client.create_run()
    made = await create(admin, isAdmin=True)
    other = Client(server, made["secret"], "default")
    assert (await other.ask(VIEWER))["viewer"]["isAdmin"] is True
    assert (await other.ask("query ($id: ID!) { run(id: $id) { id } }", id=run_id))["run"] is None
    project = (await client.ask("query ($name: String!) { project(name: $name) { id } }", name=client.project))[
        "project"
    ]
    for given in ({"projectId": project["id"]}, {"projectName": client.project}):
        assert (await create(other, **given))["code"] == "NOT_FOUND"
    await other.close()


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": ""}, "input.name"),
        ({"name": "é" * 251}, "input.name"),
        ({"name": "al\u202eice"}, "input.name"),
        ({"days": 0}, "input.days"),
        ({"days": 366}, "input.days"),
        ({"projectId": "7"}, "input.projectId"),
    ],
)
async def test_an_account_that_cannot_be_is_refused(admin: Client, given: dict[str, Any], path: str) -> None:
    refused = await create(admin, **given)
    assert (refused["code"], refused["path"]) == ("VALIDATION", path)


@pytest.mark.parametrize("search", ["\0", "x" * 251])
async def test_search_that_no_name_has_in_it_is_refused(admin: Client, search: str) -> None:
    for listed in (ACCOUNTS, "query ($search: String!) { experiments(search: $search) { totalCount } }"):
        refused = await admin.refused(listed, search=search)
        assert (refused["extensions"]["code"], refused["extensions"]["path"]) == ("VALIDATION", "search")


async def test_what_is_refused_leaves_no_account(admin: Client) -> None:
    name = f"carol {new_id()}"
    assert (await create(admin, name=name, projectId=new_id()))["code"] == "NOT_FOUND"
    assert (await accounts(admin, search=name))["totalCount"] == 0
    assert (await create(admin, name=name))["__typename"] == "CreateAccountPayload"

    again = await create(admin, name=name)

    assert (again["__typename"], again["path"]) == ("NameTaken", "input.name")
    assert again["message"] == "another account has this name"


async def test_account_that_is_not_there_is_not_found(admin: Client) -> None:
    for refused in (await change(admin, new_id(), isAdmin=True), await replace(admin, new_id())):
        assert (refused["code"], refused["path"]) == ("NOT_FOUND", "input.accountId")


@pytest.fixture
async def own_url(server: Server) -> AsyncIterator[str]:
    """A new database, whose instance the accounts `ada` and `bob` manage."""
    assert server.settings.database_url is not None
    name = f"accounts_{uuid.uuid4().hex[:12]}"
    url = urlsplit(server.settings.database_url)._replace(path=f"/{name}").geturl()
    first = await asyncpg.connect(server.settings.database_url)
    await first.execute(f"create database {name}")
    await migrate.migrate(url)
    conn = await asyncpg.connect(url)
    for account in ("ada", "bob"):
        await access.create_account(conn, account, is_admin=True)
    await conn.close()
    yield url
    await first.execute(f"drop database {name} with (force)")
    await first.close()


@pytest.fixture
async def admins(own_url: str) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    """Two connections to it."""
    pair = await asyncpg.connect(own_url), await asyncpg.connect(own_url)
    yield pair
    for conn in pair:
        await conn.close()


async def test_lost_token_is_replaced_for_who_manages_the_instance_now(
    admins: tuple[asyncpg.Connection, asyncpg.Connection], own_url: str, tmp_path: Path
) -> None:
    await admins[0].execute("update account set disabled_at = now() where name = 'ada'")
    await admins[0].execute("update account set name = 'robert' where name = 'bob'")
    told = {"RUNSTONE_DATABASE_URL": own_url, "RUNSTONE_HOME": str(tmp_path)}

    started = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", "db", env={**os.environ, **told})

    assert await started.wait() == 0
    token = (tmp_path / "token").read_text().split("_")[1]
    owner = "select account.name from token join account on account.id = account_id where token.id = $1"
    assert await admins[0].fetchval(owner, token) == "robert"
    assert await admins[0].fetchval("select count(*) from account") == 2


@pytest.mark.parametrize("end", ["is_admin = false", "disabled_at = now()"])
async def test_of_two_who_manage_the_instance_one_stays(
    admins: tuple[asyncpg.Connection, asyncpg.Connection], end: str
) -> None:
    """Whoever writes, and also when both go at the same time."""
    going = [
        conn.execute(f"update account set {end} where name = $1", name)
        for conn, name in zip(admins, ("ada", "bob"), strict=True)
    ]

    ends = await asyncio.gather(*going, return_exceptions=True)

    [refused] = [each for each in ends if isinstance(each, BaseException)]
    assert isinstance(refused, asyncpg.CheckViolationError)
    assert refused.constraint_name == "instance_has_admin"
    assert await admins[0].fetchval("select count(*) from account where is_admin and disabled_at is null") == 1


async def test_last_who_manages_the_instance_is_told_so(
    admins: tuple[asyncpg.Connection, asyncpg.Connection],
) -> None:
    await admins[0].execute("update account set is_admin = false where name = 'bob'")

    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await admins[0].execute("update account set disabled_at = now() where name = 'ada'")

    failure = errors.known(refused.value)
    assert isinstance(failure, errors.Conflict)
    assert failure.message == "nobody would manage the instance"


async def test_several_accounts_in_one_document_are_refused(admin: Client) -> None:
    two = """
        mutation ($input: CreateAccountInput!) {
          a: createAccount(input: $input) { __typename }
          b: createAccount(input: $input) { __typename }
        }
    """
    assert (await admin.refused(two, input={"name": f"bob {new_id()}"}))["extensions"]["code"] == "QUERY_TOO_COMPLEX"
