"""An operation asks the database a fixed number of statements, however many runs it shows."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest
from graphql import execute, parse

from api.app import open_deps
from api.context import Context, Deps
from api.known import ListExecutor
from api.schema import schema
from db import access
from db.access import Scope
from db.pool import Pool
from tests.api.test_compare import COMPARE, log
from tests.conftest import Client, Server

LIST = """
    query ($select: RunSelection!) {
      runs(select: $select, first: 100) {
        nodes {
          id name status project { name } experiment { name project { name } } parent { id } createdBy { name }
          attempts { number startedBy { name } source { commit } environment { python } }
          source { commit } environment { python } tags { key changedBy { name } } inputs { name }
        }
      }
    }
"""


class Counting:
    """A pool that counts the statements it passes on."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.statements = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pool, name)
        if name not in {"fetch", "fetchrow", "fetchval", "execute"}:
            return method

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.statements += 1
            return await cast(Callable[..., Awaitable[Any]], method)(*args, **kwargs)

        return counted


@pytest.fixture
async def deps(server: Server) -> AsyncIterator[Deps]:
    async with open_deps(server.settings) as opened:
        yield opened


async def scope_of(pool: Pool, client: Client) -> Scope:
    found = await access.find_token(pool, client.token.split("_")[1])
    assert found is not None
    return found.scope


async def statements(deps: Deps, scope: Scope, document: str, run_ids: list[str]) -> int:
    """How many statements the operation takes for these runs."""
    pool = Counting(deps.pool)
    counting = replace(deps, pool=cast(Pool, pool))
    context = Context(deps=counting, scope=scope, request_id="test")
    variables = {"select": {"runIds": run_ids}}
    running = execute(
        schema._schema,
        parse(document),
        context_value=context,
        variable_values=variables,
        executor_class=ListExecutor,
    )
    result = await cast(Awaitable[Any], running)
    assert result.errors is None, result.errors
    return pool.statements


@pytest.mark.parametrize(("document", "at_most"), [(LIST, 12), (COMPARE, 12)], ids=["list", "compare"])
async def test_statements_do_not_grow_with_runs(deps: Deps, client: Client, document: str, at_most: int) -> None:
    run_ids = []
    for number in range(12):
        run_id = await client.create_run(
            experiment=f"e{number}",
            params=[{"key": "lr", "value": number}],
            tags=[{"key": "a", "value": "b"}],
            source={"commit": "abc"},
            environment={"python": "3.11"},
        )
        await log(client, run_id, loss=[0.1, 0.2])
        run_ids.append(run_id)
    scope = await scope_of(deps.pool, client)
    assert isinstance(scope.account_id, UUID)

    few = await statements(deps, scope, document, run_ids[:2])
    many = await statements(deps, scope, document, run_ids)

    assert few == many <= at_most


async def test_a_query_of_many_lists_waits_for_its_own(server: Server, client: Client) -> None:
    await client.create_run()
    lists = " ".join(f"a{number}: runs(first: 5) {{ nodes {{ id tags {{ key }} }} }}" for number in range(60))
    async with open_deps(replace(server.settings, database_pool_max=2)) as deps:
        async with deps.reading.acquire(), deps.reading.acquire():
            deps.reading.acquire_timeout_s = 0.05  # for a connection that is open, as both are from now on
        context = Context(deps=deps, scope=await scope_of(deps.pool, client), request_id="test", reads=True)
        running = execute(schema._schema, parse(f"{{ {lists} }}"), context_value=context)
        result = await cast(Awaitable[Any], running)
    assert result.errors is None, result.errors
