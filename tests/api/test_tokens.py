"""Tokens and members as people manage them: no more than one has, and never nobody who decides."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db import access
from db.access import Role
from db.pool import Pool
from tests.conftest import Client, People, Server, new_id

CREATE = """
    mutation ($input: CreateTokenInput!) {
      createToken(input: $input) {
        __typename
        ... on CreateTokenPayload { secret token { id name role project { name } expiresAt isCurrent } }
        ... on UserError { code path limit }
      }
    }
"""
REVOKE = "mutation ($id: ID!) { revokeToken(id: $id) { __typename ... on UserError { code } } }"
TOKENS = "{ viewer { id name tokens { id name role project { name } createdAt expiresAt isCurrent } } }"
MEMBERS = """
    query ($name: String!) { project(name: $name) { id members { role grantedAt account { id name } } } }
"""
SET = """
    mutation ($input: SetMemberInput!) { setMember(input: $input) { __typename ... on UserError { code message } } }
"""
REMOVE = """
    mutation ($input: RemoveMemberInput!) {
      removeMember(input: $input) { __typename ... on UserError { code message } }
    }
"""


async def create(client: Client, **given: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.ask(CREATE, input={"name": "laptop", **given}))["createToken"]
    return answer


async def revoked(client: Client, token_id: str) -> str:
    answer = (await client.ask(REVOKE, id=token_id))["revokeToken"]
    return str(answer.get("code") or answer["__typename"])


async def tokens(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.ask(TOKENS))["viewer"]["tokens"]
    return found


async def project_id(client: Client) -> str:
    return str((await client.ask(MEMBERS, name=client.project))["project"]["id"])


def client_of(made: dict[str, Any], like: Client) -> Client:
    return Client(like.server, made["secret"], like.project)


async def test_a_token_is_made_used_listed_and_revoked(client: Client) -> None:
    made = await create(client, name="gpu-7", role="VIEWER", projectId=await project_id(client), days=7)

    other = client_of(made, client)
    [listed, own] = await tokens(client)
    assert (await other.ask(TOKENS))["viewer"]["id"] == (await client.ask(TOKENS))["viewer"]["id"]
    assert listed == {**made["token"], "createdAt": listed["createdAt"]}
    assert (listed["name"], listed["role"], listed["project"]["name"]) == ("gpu-7", "VIEWER", client.project)
    days = (datetime.fromisoformat(listed["expiresAt"]) - datetime.now(UTC)) / timedelta(days=1)
    assert 6.9 < days < 7.1
    assert (listed["isCurrent"], own["isCurrent"], own["name"], own["expiresAt"]) == (False, True, "", None)

    assert await revoked(client, listed["id"]) == "RevokeTokenPayload"
    assert (await other.post(TOKENS)).status_code == 401
    assert [token["id"] for token in await tokens(client)] == [own["id"]]
    assert await revoked(client, listed["id"]) == "NOT_FOUND"
    await other.close()


async def test_no_token_makes_one_that_may_do_more(people: People) -> None:
    project = await people.project()
    owner = await people.member(project, Role.OWNER)
    made = await create(owner, role="EDITOR", projectId=await project_id(owner), days=3)
    narrow = client_of(made, owner)

    assert (await create(narrow, role="OWNER"))["code"] == "FORBIDDEN"
    assert (await create(narrow, role="VIEWER"))["token"]["role"] == "VIEWER"
    same = (await create(narrow, days=300))["token"]
    assert (same["role"], same["project"]["name"], same["expiresAt"]) == (
        "EDITOR",
        project,
        made["token"]["expiresAt"],
    )
    listed = {token["name"] for token in await tokens(narrow)}
    own = next(token for token in await tokens(owner) if token["isCurrent"])
    assert (listed, await revoked(narrow, own["id"])) == ({"laptop"}, "NOT_FOUND")
    create_project = "mutation ($input: CreateProjectInput!) { createProject(input: $input) { __typename } }"
    answer = await narrow.ask(create_project, input={"name": f"n-{new_id()}"})
    assert answer["createProject"]["__typename"] == "Forbidden"
    await narrow.close()


async def test_tokens_of_others_are_missing(client: Client, stranger: Client) -> None:
    [own] = await tokens(client)
    assert await revoked(stranger, own["id"]) == await revoked(stranger, "0" * 16) == "NOT_FOUND"
    assert (await create(stranger, projectId=await project_id(client)))["code"] == "NOT_FOUND"


async def test_a_token_for_an_empty_project_is_not_one_for_all(client: Client) -> None:
    assert (await create(client, projectId=""))["code"] == "VALIDATION"
    assert len(await tokens(client)) == 1


@pytest.mark.parametrize(
    ("given", "path"),
    [({"days": 0}, "input.days"), ({"days": 366}, "input.days"), ({"name": ""}, "input.name")],
)
async def test_a_token_that_cannot_be_is_refused(client: Client, given: dict[str, Any], path: str) -> None:
    refused = await create(client, **given)
    assert (refused["code"], refused["path"]) == ("VALIDATION", path)


async def test_a_named_token_has_an_end_whoever_writes(client: Client, pool: Pool) -> None:
    account = UUID((await client.ask(TOKENS))["viewer"]["id"])
    with pytest.raises(asyncpg.CheckViolationError):
        await access.create_token(pool, account, name="for ever")


async def test_secrets_of_tokens_are_in_no_log(client: Client, server: Server) -> None:
    made = await create(client)
    other = client_of(made, client)
    await other.refused("query ($id: ID!) { run(id: $id) { nothing } }", id=made["secret"])
    await revoked(client, made["token"]["id"])
    await other.post(TOKENS)
    secret = made["secret"].split("_", 2)[2]
    for path in (server.settings.home / "logs").glob("*.log"):
        assert secret not in path.read_text(errors="replace"), path
    await other.close()


async def name_of(client: Client) -> str:
    return str((await client.ask("{ viewer { name } }"))["viewer"]["name"])


async def set_member(client: Client, other: str, role: str) -> str:
    given = {"projectId": await project_id(client), "account": other, "role": role}
    answer = (await client.ask(SET, input=given))["setMember"]
    return str(answer.get("code") or answer["__typename"])


async def remove_member(client: Client, other: str, project: str) -> str:
    answer = (await client.ask(REMOVE, input={"projectId": project, "accountId": other}))["removeMember"]
    return str(answer.get("code") or answer["__typename"])


async def account_id(client: Client) -> str:
    return str((await client.ask("{ viewer { id } }"))["viewer"]["id"])


async def test_owners_decide_who_may_do_what(people: People, stranger: Client) -> None:
    project = await people.project()
    owner, editor, logger = [await people.member(project, role) for role in (Role.OWNER, Role.EDITOR, Role.LOGGER)]
    guest = await name_of(stranger)
    assert (await stranger.ask(MEMBERS, name=project))["project"] is None

    assert await set_member(editor, guest, "VIEWER") == "FORBIDDEN"
    assert await set_member(owner, guest, "VIEWER") == "SetMemberPayload"
    members = (await stranger.ask(MEMBERS, name=project))["project"]["members"]
    roles = {member["account"]["name"]: member["role"] for member in members}
    assert (roles[guest], roles[await name_of(editor)]) == ("VIEWER", "EDITOR")
    [only] = (await logger.ask(MEMBERS, name=project))["project"]["members"]
    assert only["account"]["id"] == await account_id(logger)

    place = await project_id(owner)
    assert await remove_member(editor, await account_id(stranger), place) == "FORBIDDEN"
    assert await remove_member(owner, await account_id(stranger), place) == "RemoveMemberPayload"
    assert (await stranger.ask(MEMBERS, name=project))["project"] is None
    assert await remove_member(owner, await account_id(stranger), place) == "NOT_FOUND"
    assert await remove_member(stranger, await account_id(owner), place) == "NOT_FOUND"
    assert await set_member(owner, "nobody of this name", "VIEWER") == "NOT_FOUND"


@pytest.fixture
async def pair(client: Client, pool: Pool) -> tuple[Client, Client]:
    """Two clients of the owners of a new project, which has no others."""
    name = f"p-{new_id()}"
    make = "mutation ($input: CreateProjectInput!) { createProject(input: $input) { __typename } }"
    await client.ask(make, input={"name": name})
    client.project = name
    account = await access.create_account(pool, f"second-{name}")
    await access.grant(pool, UUID(await project_id(client)), account, Role.OWNER)
    return client, Client(client.server, await access.create_token(pool, account), name)


async def test_the_last_owner_stays(pair: tuple[Client, Client]) -> None:
    first, second = pair
    place = await project_id(first)
    assert await remove_member(first, await account_id(second), place) == "RemoveMemberPayload"

    assert await remove_member(first, await account_id(first), place) == "CONFLICT"
    assert await set_member(first, await name_of(first), "EDITOR") == "CONFLICT"
    assert await set_member(first, await name_of(first), "OWNER") == "SetMemberPayload"
    await second.close()


async def test_of_two_owners_who_remove_each_other_one_stays(pair: tuple[Client, Client]) -> None:
    first, second = pair
    place, ids = await project_id(first), [await account_id(client) for client in pair]

    answers = await asyncio.gather(remove_member(first, ids[1], place), remove_member(second, ids[0], place))

    assert answers.count("RemoveMemberPayload") == 1
    left = [client for client in pair if (await client.ask(MEMBERS, name=first.project))["project"]]
    assert len(left) == 1
    [member] = (await left[0].ask(MEMBERS, name=first.project))["project"]["members"]
    assert member["role"] == "OWNER"
    await second.close()
