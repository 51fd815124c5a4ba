"""Finding runs: which plan answers a question. What Postgres cannot estimate is counted before, as far as needed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Final

import asyncpg

from db import filters, standings
from db.access import Role, Scope
from db.conditions import Area, Condition, Order, fields_of
from db.filters import Live, Plan, Question, Reach, Span, Statement
from db.pool import Connection, Pool

PROBED_MAX: Final = 16_000  # runs of a condition that are counted
FEW: Final = 1_000  # so many are looked at one after the other and sorted, whatever the order
SOME: Final = 4_000  # and in more than so many the whole sets of all conditions are read
TRIED: Final = 500  # runs that are looked at in the order of an index before anything is counted
WALKED_MAX: Final = 5_000  # and when these promise enough among so many, so many are

# Every statement here says itself how it wants to be run. What is left open is taken as if the tables were large.
BEGIN: Final = """
    begin transaction isolation level repeatable read, read only;
    set local jit = off; set local max_parallel_workers_per_gather = 0; set local work_mem = '32MB';
    set local enable_seqscan = off; set local enable_sort = off; set local enable_mergejoin = off;
    set local enable_memoize = off;
    set local plan_cache_mode = force_generic_plan
"""


def reach_of(scope: Scope, project_id: object = None) -> Reach:
    """What the viewer sees of the project, or of all."""
    seen = [project for project in scope.roles if project_id in (None, project)]
    own = tuple(project for project in seen if scope.roles[project] is Role.LOGGER)
    return Reach(tuple(project for project in seen if project not in own), own, scope.account_id)


@asynccontextmanager
async def one_view(pool: Pool) -> AsyncIterator[Connection]:
    """A connection on which all statements see the same."""
    async with pool.acquire() as conn:
        try:
            await conn.execute(BEGIN)  # in one message, which asyncpg's own transactions cannot do
            yield conn
        finally:
            await conn.execute("rollback")


async def question(
    conn: Connection, scope: Scope, reach: Reach, conditions: Sequence[Condition], orders: Sequence[Order] = ()
) -> Question:
    """What is asked, with the numbers that its metrics have now."""
    fields = [order.field for order in orders] + [field for one in conditions for field in fields_of(one)]
    keys = {field.key for field in fields if field.area is Area.METRIC}
    run_ids, rows = await standings.of_live(conn, scope, reach.projects, keys) if keys else ([], [])
    return Question(reach, tuple(conditions), Live(run_ids, rows) if run_ids else None)


async def _fetch(conn: Connection, sql: Statement) -> list[asyncpg.Record]:
    return await conn.fetch(sql.text, *sql.arguments)


async def count(conn: Connection, question: Question) -> int:
    """How many runs there are to find."""
    plan = Plan()
    if question.conditions and not await _are_few(conn, question.reach):
        plan = _looking(question, await _sizes(conn, question))
    [row] = await _fetch(conn, filters.counted(question, plan))
    return int(row[0])


async def page(conn: Connection, question: Question, orders: Sequence[Order], span: Span) -> list[asyncpg.Record]:
    """Rows of `run` with the columns of their places and a last one of no meaning, in order."""
    is_walkable = filters.is_walkable(orders)
    if not question.conditions:
        return await _listed(conn, question, orders, span, Plan(is_walk=True) if is_walkable else Plan())
    if await _are_few(conn, question.reach):
        return await _listed(conn, question, orders, span, Plan())
    if not is_walkable:
        plan = _looking(question, await _sizes(conn, question))
        return await _listed(conn, question, orders, span, plan)
    rows = await _listed(conn, question, orders, span, Plan(is_walk=True, most=TRIED))
    if len(rows) == span.limit:
        return rows
    sizes = await _sizes(conn, question)
    if not sizes:
        return await _listed(conn, question, orders, span, Plan(is_walk=True, reads_sets=True))
    small = tuple(place for place, size in sizes.items() if size < PROBED_MAX)
    if min(sizes.values()) > FEW and len(rows) * WALKED_MAX >= 2 * span.limit * TRIED:
        rows = await _listed(conn, question, orders, span, Plan(sets=small, is_walk=True, most=WALKED_MAX))
        if len(rows) == span.limit:
            return rows
    return await _listed(conn, question, orders, span, _looking(question, sizes))


async def _listed(
    conn: Connection, question: Question, orders: Sequence[Order], span: Span, plan: Plan
) -> list[asyncpg.Record]:
    rows = await _fetch(conn, filters.listed(question, orders, span, plan))
    known = list(takewhile(lambda row: not row["is_end"], rows))
    return known[::-1] if span.is_backward else known


SIZE = """
    select count(*) from (select from run where project_id = any($1::uuid[]) limit $2) as first
"""


async def _are_few(conn: Connection, reach: Reach) -> bool:
    """Whether there are so few runs that it does not matter how they are found."""
    return int(await conn.fetchval(SIZE, reach.projects, TRIED + 1)) <= TRIED


async def _sizes(conn: Connection, question: Question) -> dict[int, int]:
    """How many runs, up to `PROBED_MAX`, the conditions have that an index serves."""
    sql, places = filters.probed(question, PROBED_MAX)
    if not places:
        return {}
    [row] = await _fetch(conn, sql)
    return dict(zip(places, row, strict=True))


def _looking(question: Question, sizes: dict[int, int]) -> Plan:
    """Begin with the smallest set; the other sets are read too when there is much to look up in them."""
    if not sizes:
        return Plan(reads_sets=True)
    start, *others = sorted(sizes, key=lambda place: sizes[place])
    if sizes[start] <= FEW:
        return Plan(start)
    small = tuple(place for place in others if sizes[place] < PROBED_MAX)
    if small or sizes[start] <= SOME:
        return Plan(start, small)
    return Plan(start, tuple(others), reads_sets=True)
