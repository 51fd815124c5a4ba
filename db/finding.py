"""Finding runs: which plan answers a question. What Postgres cannot estimate is counted before, as far as needed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import takewhile
from math import inf, prod
from typing import Final

import asyncpg

from db import filters, standings
from db.access import Role, Scope
from db.conditions import Area, Attribute, Comparison, Condition, Field, Operator, Order, fields_of
from db.filters import Live, Plan, Question, Reach, Span, Statement
from db.pool import Connection, Pool

PROBED_MAX: Final = 12_000  # runs of a condition that are counted
FEW: Final = 1_000  # so many are looked at one after the other and sorted, whatever the order
SORTED: Final = 2_000  # so many are sorted sooner than all are walked through
SAMPLED: Final = 100  # runs that tell about how many a condition has
READ_US: Final = 0.25  # to read a run of a set into a hash table
LOOKED_UP_US: Final = 4.0  # to look something up of a run
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
    if reach.own and not reach.readable:
        conditions = [*conditions, Comparison(Field(Area.ATTRIBUTE, Attribute.USER_ID), Operator.EQ, reach.account_id)]
    run_ids, rows = await standings.of_live(conn, scope, reach.projects, keys) if keys else ([], [])
    return Question(reach, tuple(conditions), Live(run_ids, rows) if run_ids else None)


async def _fetch(conn: Connection, sql: Statement) -> list[asyncpg.Record]:
    return await conn.fetch(sql.text, *sql.arguments)


async def count(conn: Connection, question: Question) -> int:
    """How many runs there are to find."""
    plan = Plan()
    if question.conditions and not await _are_few(conn, question.reach):
        question, sizes, shares = await _measured(conn, question)
        plan = _looking(sizes, shares)
    [row] = await _fetch(conn, filters.counted(question, plan))
    return int(row[0])


async def page(conn: Connection, question: Question, orders: Sequence[Order], span: Span) -> list[asyncpg.Record]:
    """Rows of `run` with the columns of their places and a last one of no meaning, in order."""
    is_walkable = filters.is_walkable(orders)
    if not question.conditions:
        return await _listed(conn, question, orders, span, Plan(is_walk=is_walkable))
    if await _are_few(conn, question.reach):
        return await _listed(conn, question, orders, span, Plan())
    tried: list[asyncpg.Record] = []
    if is_walkable:
        tried = await _listed(conn, question, orders, span, Plan(is_walk=True, most=TRIED))
        if len(tried) == span.limit:
            return tried
    question, sizes, shares = await _measured(conn, question)
    hits = prod(shares) * max((size / shares[place] for place, size in sizes.items()), default=inf)  # at least
    if is_walkable and min(sizes.values(), default=PROBED_MAX) == PROBED_MAX and hits > SORTED:
        others = tuple(place for place in range(len(shares)) if place not in sizes)
        return await _listed(conn, question, orders, span, Plan(sets=tuple(sizes), parts=others, is_walk=True))
    if min(sizes.values(), default=0) > FEW and len(tried) * WALKED_MAX >= 2 * span.limit * TRIED:
        small = tuple(place for place, size in sizes.items() if size < PROBED_MAX)
        rows = await _listed(conn, question, orders, span, Plan(sets=small, is_walk=True, most=WALKED_MAX))
        if len(rows) == span.limit:
            return rows
    return await _listed(conn, question, orders, span, _looking(sizes, shares))


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


async def _measured(conn: Connection, question: Question) -> tuple[Question, dict[int, int], list[float]]:
    """The question with its conditions in a good order, by place how many runs up to `PROBED_MAX` those have that an
    index serves, and the share of all runs that each has.
    """
    [row] = await _fetch(conn, filters.sampled(question, SAMPLED))
    shares = [(hits + 1) / (row[0] + 2) for hits in row[1:]]
    costs = [filters.cost(one) / (1 - share) for one, share in zip(question.conditions, shares, strict=True)]
    order = sorted(range(len(costs)), key=lambda place: costs[place])
    question = replace(question, conditions=tuple(question.conditions[place] for place in order))
    sql, places = filters.probed(question, PROBED_MAX)
    sizes = dict(zip(places, (await _fetch(conn, sql))[0], strict=True)) if places else {}
    return question, sizes, [shares[place] for place in order]


def _looking(sizes: dict[int, int], shares: Sequence[float]) -> Plan:
    """Begin with the smallest set; of the others read those whole that are read sooner than looked up."""
    if not sizes:
        return Plan(parts=tuple(range(len(shares))))
    runs = max(size / shares[place] for place, size in sizes.items())
    expected = {place: size if size < PROBED_MAX else max(size, runs * shares[place]) for place, size in sizes.items()}
    start = min(expected, key=lambda place: expected[place])
    left = expected[start]
    read = []
    for place, share in enumerate(shares):
        if place != start:
            if expected.get(place, runs) * READ_US < left * LOOKED_UP_US:
                read.append(place)
            left *= share
    sets = tuple(place for place in read if place in expected)
    return Plan(start, sets, parts=tuple(place for place in read if place not in expected))
