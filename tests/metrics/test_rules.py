"""Whoever writes: points are only added, only by an open attempt, and never change, go or come twice."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.metrics.conftest import Lab, block, points_of

COPY_BLOCK = """
    insert into block (run_id, writer_id, seq, keyset_id, attempt, n, first_ms, steps, times, vals, sha256)
    select run_id, $2, $3, keyset_id, attempt, n, first_ms, steps, times, $4, sha256
    from block where run_id = $1 limit 1
"""
COPY_CHUNK = """
    insert into chunk (
        run_id, keyset_id, writer_id, first_seq, seqs, attempt, n, first_ms, low_step, high_step,
        sizes, received, steps, times, narrow, vals, tier, coarse_tier
    )
    select run_id, keyset_id, writer_id, lower($2::int8multirange), $2, attempt, n, first_ms, low_step, high_step,
        sizes, received, steps, times, narrow, vals, tier, coarse_tier
    from chunk where run_id = $1 limit 1
"""
VALUE = bytes(8)


async def refused(lab: Lab, constraint: str, statement: str, *arguments: Any) -> None:
    """The statement breaks the rule of this name."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as error:
        await lab.pool.execute(statement, *arguments)
    assert error.value.constraint_name == constraint


async def logged(lab: Lab, *, blocks: int = 3) -> tuple[UUID, UUID]:
    """A run and a writer with blocks."""
    run_id, writer_id = await lab.run(), uuid4()
    await lab.send(run_id, writer_id, *map(block, range(blocks)))
    return run_id, writer_id


@pytest.mark.parametrize("seq", [0, 2, 4, -1])
async def test_a_block_is_the_next_of_its_writer(lab: Lab, seq: int) -> None:
    run_id, writer_id = await logged(lab)
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.UniqueViolationError)):
        await lab.pool.execute(COPY_BLOCK, run_id, writer_id, seq, VALUE)
    await lab.pool.execute(COPY_BLOCK, run_id, writer_id, 3, VALUE)
    assert await lab.send(run_id, writer_id) == 4


async def test_a_block_needs_a_writer(lab: Lab) -> None:
    run_id, _ = await logged(lab)
    await refused(lab, "block_follows", COPY_BLOCK, run_id, uuid4(), 0, VALUE)
    _, other = await logged(lab)
    await refused(lab, "block_follows", COPY_BLOCK, run_id, other, 3, VALUE)


async def test_a_block_is_of_the_run_of_its_writer_also_beside_others(lab: Lab) -> None:
    run_id, writer_id = await logged(lab)
    other_id, _ = await logged(lab)
    both = COPY_BLOCK.replace("where run_id = $1 limit 1", "where run_id = any ($1) and seq = 0")
    await refused(lab, "block_follows", both, [run_id, other_id], writer_id, 3, VALUE)


async def test_a_compacted_block_does_not_come_again(lab: Lab) -> None:
    run_id, writer_id = await logged(lab)
    await lab.compact(run_id)
    await lab.send(run_id, writer_id, block(3))
    for seq in (0, 2):
        await refused(lab, "block_follows", COPY_BLOCK, run_id, writer_id, seq, VALUE)


async def test_a_block_fits_its_keyset(lab: Lab) -> None:
    run_id, writer_id = await logged(lab)
    await refused(lab, "block_fits_keyset", COPY_BLOCK, run_id, writer_id, 3, VALUE * 2)
    await refused(lab, "block_columns_fit", COPY_BLOCK, run_id, writer_id, 3, VALUE + b"x")


async def test_an_ended_attempt_gets_no_blocks_and_no_writers(lab: Lab) -> None:
    run_id, writer_id = await logged(lab)
    await lab.finish(run_id)
    await refused(lab, "run_is_open", COPY_BLOCK, run_id, writer_id, 3, VALUE)
    open_writer = "insert into writer (id, run_id, attempt, opened_by) values ($1, $2, 1, $3)"
    await refused(lab, "run_is_open", open_writer, uuid4(), run_id, lab.scope.account_id)


@pytest.mark.parametrize(
    "statement",
    [
        "update writer set next_seq = 100 where run_id = $1",
        "update writer set next_seq = 1 where run_id = $1",
        "update writer set ended_at = now() where run_id = $1",
        "update writer set attempt = 2 where run_id = $1",
        "update writer set id = gen_random_uuid() where run_id = $1",
        "update writer set run_id = gen_random_uuid() where run_id = $1",
        "update writer set opened_by = gen_random_uuid() where run_id = $1",
        "update writer set opened_at = opened_at - interval '1 day' where run_id = $1",
        "delete from writer where run_id = $1",
        "update block set vals = vals where run_id = $1",
        "update block set seq = seq + 10 where run_id = $1",
        "delete from block where run_id = $1",
        "update run_keyset set keyset_id = keyset_id where run_id = $1",
        "delete from run_keyset where run_id = $1",
        "update keyset set keys = keys where id in (select keyset_id from run_keyset where run_id = $1)",
        "delete from keyset where id in (select keyset_id from run_keyset where run_id = $1)",
    ],
)
async def test_what_is_logged_stays(lab: Lab, statement: str) -> None:
    run_id, _ = await logged(lab)
    await refused(lab, "record_is_append_only", statement, run_id)
    assert await lab.points(run_id) == points_of(*map(block, range(3)))


@pytest.mark.parametrize(
    "statement",
    ["update chunk set vals = vals where run_id = $1", "delete from chunk where run_id = $1"],
)
async def test_what_is_compacted_stays(lab: Lab, statement: str) -> None:
    run_id, _ = await logged(lab)
    await lab.compact(run_id)
    await refused(lab, "record_is_append_only", statement, run_id)
    assert await lab.points(run_id) == points_of(*map(block, range(3)))


async def test_a_chunk_brings_no_points(lab: Lab) -> None:
    run_id, writer_id = await logged(lab)
    await lab.compact(run_id)
    await lab.send(run_id, writer_id, block(3))
    for seqs in ("{[3,4)}", "{[4,5)}", "{[1,2)}", "{[2,5)}"):
        ranges = [asyncpg.Range(*map(int, seqs[2:-2].split(",")))]
        await refused(lab, "record_is_append_only", COPY_CHUNK, run_id, ranges)
    assert await lab.points(run_id) == points_of(*map(block, range(4)))


async def test_a_chunk_takes_the_place_of_others_only_whole(lab: Lab) -> None:
    run_id, writer_id = await logged(lab)
    await lab.compact(run_id)
    await lab.send(run_id, writer_id, *map(block, range(3, 6)))
    replace = f"with gone as (delete from block where run_id = $1 and seq = 3 returning 1) {COPY_CHUNK}"
    for seqs in ([(4, 5)], [(3, 5)], [(2, 4)], [(3, 4), (5, 6)]):
        ranges = [asyncpg.Range(*pair) for pair in seqs]
        await refused(lab, "record_is_append_only", replace, run_id, ranges)
    assert await lab.points(run_id) == points_of(*map(block, range(6)))


KEYSET = """
    insert into keyset (sha256, keys)
    select sha256(uuid_send(gen_random_uuid())), array_agg('k' || n) from generate_series($1::integer, $2::integer) as n
    returning id
"""
USE_KEYSET = "insert into run_keyset (run_id, keyset_id) values ($1, $2)"


async def test_a_run_has_a_bounded_number_of_series(lab: Lab) -> None:
    run_id, _ = await logged(lab)
    keyset_id = await lab.pool.fetchval(KEYSET, 1, 10_000)
    await refused(lab, "run_keys_max", USE_KEYSET, run_id, keyset_id)


async def test_a_key_that_is_in_several_keysets_counts_once(lab: Lab) -> None:
    run_id, _ = await logged(lab)  # with one key
    for first, last in ((1, 6_000), (2, 6_001), (3, 6_002), (5_000, 9_999)):
        await lab.pool.execute(USE_KEYSET, run_id, await lab.pool.fetchval(KEYSET, first, last))
    await refused(lab, "run_keys_max", USE_KEYSET, run_id, await lab.pool.fetchval(KEYSET, 9_000, 10_000))
    await lab.pool.execute(USE_KEYSET, run_id, await lab.pool.fetchval(KEYSET, 1, 9_999))


async def test_a_keyset_is_of_a_run_and_both_are_there(lab: Lab) -> None:
    run_id, _ = await logged(lab)
    await refused(lab, "run_keyset_is_of_run", USE_KEYSET, run_id, -1)
    await refused(lab, "run_keyset_is_of_run", USE_KEYSET, uuid4(), await lab.pool.fetchval(KEYSET, 1, 2))
