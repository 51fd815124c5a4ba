"""Finding runs: which plan answers a question. What Postgres cannot estimate is counted before, as far as needed."""

from collections.abc import AsyncIterator, Mapping, Sequence
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

TRIED: Final = 500  # runs that are looked at in the order of an index before anything is counted
SAMPLED: Final = 60  # runs that tell about how many a condition has
PROBED_MAX: Final = 12_000  # runs of a condition that are counted
RARER: Final = 3  # who has so many times as many as another is not begun with, and not counted
SORTED: Final = 2_000  # so many are sorted sooner than all are walked through
WALKED_US: Final = 0.8  # to come to a run in the order of an index
READ_US: Final = 0.4  # to read a run of a set into a hash table
AMONG_US: Final = 0.2  # to ask whether a run is in one
SHOWN_US: Final = 10.0  # to read the row of a run and sort it

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
        question, shares = await _sampled(conn, question)
        plan, _ = _looking(question, shares, await _sizes(conn, question, shares))
    [row] = await _fetch(conn, filters.counted(question, plan))
    return int(row[0])


async def page(conn: Connection, question: Question, orders: Sequence[Order], span: Span) -> list[asyncpg.Record]:
    """What is wanted of runs with the columns of their places and a last one of no meaning, in order."""
    is_walkable = filters.is_walkable(orders)
    if not question.conditions:
        return await _listed(conn, question, orders, span, Plan(is_walk=is_walkable))
    if is_walkable:
        return await _walked(conn, question, orders, span)
    if await _are_few(conn, question.reach):
        return await _listed(conn, question, orders, span, Plan())
    question, shares = await _sampled(conn, question)
    sizes = await _sizes(conn, question, shares)
    plan, _ = _looking(question, shares, sizes)
    return await _listed(conn, question, orders, span, _in_order(plan, question, shares, sizes, span))


async def _walked(conn: Connection, question: Question, orders: Sequence[Order], span: Span) -> list[asyncpg.Record]:
    """What `page` gives, when an index has the order: the first are tried, and what comes of it says how to go on.

    A sample is not taken before: it takes as long as half of the try, and most pages are there then.
    """
    question = replace(question, conditions=tuple(sorted(question.conditions, key=filters.cost)))
    tried, is_all = await _first(conn, question, orders, span, Plan(is_walk=True, most=TRIED))
    if is_all:
        return tried
    question, shares = await _sampled(conn, question)
    sizes = await _sizes(conn, question, shares)
    runs = max((size / shares[place] for place, size in sizes.items()), default=inf)  # at least
    if min(sizes.values(), default=PROBED_MAX) >= PROBED_MAX and runs * prod(shares) > SORTED:
        others = tuple(place for place in range(len(shares)) if place not in sizes)
        return await _listed(conn, question, orders, span, Plan(sets=tuple(sizes), parts=others, is_walk=True))
    look, look_us = _looking(question, shares, sizes)
    if tried:
        far = (span.limit - len(tried)) * TRIED / len(tried)
        walk, walk_us = _walking(question, shares, sizes, far)
        if walk_us < look_us:
            most = int(far * look_us / walk_us)  # in vain, it takes as long again
            behind = _behind(question, span, tried)
            more, is_all = await _first(conn, question, orders, behind, replace(walk, most=most))
            if is_all:
                return [*more, *tried] if span.is_backward else [*tried, *more]
    return await _listed(conn, question, orders, span, _in_order(look, question, shares, sizes, span))


def _behind(question: Question, span: Span, found: Sequence[asyncpg.Record]) -> Span:
    """What is left of the span behind those that were found first."""
    limit = span.limit - len(found)
    if span.is_backward:
        return replace(span, limit=limit, before=filters.position(question, found[0]))
    return replace(span, limit=limit, after=filters.position(question, found[-1]))


async def _listed(
    conn: Connection, question: Question, orders: Sequence[Order], span: Span, plan: Plan
) -> list[asyncpg.Record]:
    return (await _first(conn, question, orders, span, plan))[0]


async def _first(
    conn: Connection, question: Question, orders: Sequence[Order], span: Span, plan: Plan
) -> tuple[list[asyncpg.Record], bool]:
    """Those of the span that the plan finds, and whether there are no others."""
    rows = await _fetch(conn, filters.listed(question, orders, span, plan))
    known = list(takewhile(lambda row: not row["is_end"], rows))
    return known[::-1] if span.is_backward else known, len(known) == len(rows)


SIZE = """
    select count(*) from (select from run where project_id = any($1::uuid[]) limit $2) as first
"""


async def _are_few(conn: Connection, reach: Reach) -> bool:
    """Whether there are so few runs that it does not matter how they are found."""
    return int(await conn.fetchval(SIZE, reach.projects, TRIED + 1)) <= TRIED


async def _sampled(conn: Connection, question: Question) -> tuple[Question, list[float]]:
    """The question with its conditions in a good order, and the share of all runs that each has."""
    [row] = await _fetch(conn, filters.sampled(question, SAMPLED))
    shares = [(hits + 1) / (row[0] + 2) for hits in row[1:]]
    costs = [filters.cost(one) / (1 - share) for one, share in zip(question.conditions, shares, strict=True)]
    order = sorted(range(len(costs)), key=lambda place: costs[place])
    question = replace(question, conditions=tuple(question.conditions[place] for place in order))
    return question, [shares[place] for place in order]


async def _sizes(conn: Connection, question: Question, shares: Sequence[float]) -> dict[int, float]:
    """By place about how many runs the conditions have that an index serves; up to `PROBED_MAX` are counted.

    What is not counted is taken for as many at least: a sample tells little of how rare the rarest is.
    """
    places = filters.indexed(question)
    if not places:
        return {}
    rarest = min(shares[place] for place in places)
    counted = [place for place in places if shares[place] <= rarest * RARER]
    [row] = await _fetch(conn, filters.probed(question, counted, PROBED_MAX))
    counts: dict[int, int] = dict(zip(counted, row, strict=True))
    runs = max(size / shares[place] for place, size in counts.items())
    exact = {place: size for place, size in counts.items() if size < PROBED_MAX}
    return {place: exact.get(place, max(PROBED_MAX, runs * shares[place])) for place in places}


def _looking(question: Question, shares: Sequence[float], sizes: Mapping[int, float]) -> tuple[Plan, float]:
    """The plan that begins with the smallest set, and about how many microseconds it takes."""
    if not sizes:
        return Plan(parts=tuple(range(len(shares)))), inf
    start = min(sizes, key=lambda place: sizes[place])
    plan, us = _asking(question, shares, sizes, sizes[start], start)
    found = sizes[start] / shares[start] * prod(shares)
    return replace(plan, start=start), sizes[start] * READ_US + us + found * SHOWN_US


def _in_order(plan: Plan, question: Question, shares: Sequence[float], sizes: Mapping[int, float], span: Span) -> Plan:
    """The plan with what is looked up put behind the sorting, where that spares more than it makes to be sorted."""
    if plan.start is None:
        return plan
    late = tuple(place for place in range(len(shares)) if place not in (plan.start, *plan.sets, *plan.parts))
    share = prod(shares[place] for place in late)
    runs = sizes[plan.start] * prod(shares[place] for place in plan.sets)
    spared_us = (runs - span.limit / share) * sum(filters.cost(question.conditions[place]) for place in late)
    return replace(plan, late=late) if runs * (1 - share) * SHOWN_US < spared_us else plan


def _walking(
    question: Question, shares: Sequence[float], sizes: Mapping[int, float], runs: float
) -> tuple[Plan, float]:
    """The plan that looks at so many runs in the order of an index, and about how many microseconds it takes."""
    plan, us = _asking(question, shares, sizes, runs)
    return replace(plan, is_walk=True), runs * WALKED_US + us


def _asking(
    question: Question,
    shares: Sequence[float],
    sizes: Mapping[int, float],
    runs: float,
    start: int | None = None,
) -> tuple[Plan, float]:
    """How so many runs, of which the condition at `start` holds, are asked for the others, and about how long it takes.

    Those sets are read whole that are read sooner than looked up.
    """
    all_runs = max((size / shares[place] for place, size in sizes.items()), default=inf)
    read: list[int] = []
    us = 0.0
    for place, (condition, share) in enumerate(zip(question.conditions, shares, strict=True)):
        if place != start:
            reading_us = sizes.get(place, all_runs) * READ_US + runs * AMONG_US
            looking_up_us = runs * filters.cost(condition)
            if reading_us < looking_up_us:
                read.append(place)
            us += min(reading_us, looking_up_us)
            runs *= share
    sets = tuple(place for place in read if place in sizes)
    return Plan(sets=sets, parts=tuple(place for place in read if place not in sizes)), us
