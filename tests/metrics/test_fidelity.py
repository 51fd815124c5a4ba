"""Every bit of a value, a step and a time comes back, whichever way the points are stored and read."""

from uuid import uuid4

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from db import chunks, packing, series
from db.metrics import Columns
from tests.metrics.conftest import Lab, bits, block, points_of

INT64 = st.integers(0, 2**63 - 1)
TIMES = st.integers(0, 253_402_300_799_999)
ANY_BITS = st.integers(-(2**63), 2**63 - 1).map(lambda number: float(np.array(number, "<i8").view("<f8")))
FLOATS = st.one_of(st.floats(width=32), st.floats(), ANY_BITS)
SPECIAL = [
    0x0000000000000000,  # 0.0
    -0x8000000000000000,  # -0.0
    0x0000000000000001,  # the least denormal
    0x000FFFFFFFFFFFFF,  # the greatest denormal
    0x0010000000000000,  # the least normal
    0x36A0000000000000,  # the least float32 denormal
    0x380FFFFFC0000000,  # the greatest float32 denormal
    0x47EFFFFFE0000000,  # the greatest float32
    0x7FEFFFFFFFFFFFFF,  # the greatest float64
    0x7FF0000000000000,  # Infinity
    -0x0010000000000000,  # -Infinity
    0x7FF8000000000000,  # NaN
    0x7FF8000000000001,  # a NaN with a payload
    0x7FF0000000000001,  # a signalling NaN
    -0x0007FFFFFFFFFFFF,  # a negative NaN with a payload
    0x7FF8000020000000,  # a NaN whose payload fits float32
]


@st.composite
def blocks(draw: st.DrawFn) -> list[Columns]:
    """Consecutive blocks of one writer with different keys and sizes."""
    found = []
    for seq in range(draw(st.integers(1, 6))):
        keys = draw(st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a"), ("c", "a", "b")]))
        n = draw(st.integers(1, 4))
        values = draw(st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=len(keys), max_size=len(keys)))
        steps = draw(st.lists(INT64, min_size=n, max_size=n))
        times = draw(st.lists(TIMES, min_size=n, max_size=n))
        found.append(block(seq, values, keys=keys, steps=steps, times=times))
    return found


IN_SQL = """
    select key, step, (extract(epoch from time) * 1000)::bigint as time_ms, value
    from metric_points
    where run_id = $1
"""


async def in_sql(lab: Lab, run_id: object) -> list[tuple[str, int, int, int]]:
    """The points of the view; SQL has one NaN only."""
    rows = await lab.pool.fetch(IN_SQL, run_id)
    return sorted((row["key"], row["step"], row["time_ms"], int(bits([row["value"]])[0])) for row in rows)


def with_one_nan(points: list[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    """The points as SQL can say them."""
    values = np.array([point[3] for point in points], "<i8").view("<f8")
    found = np.where(np.isnan(values), np.nan, values).view("<i8").tolist()
    return sorted((*point[:3], value) for point, value in zip(points, found, strict=True))


async def check(lab: Lab, given_blocks: list[Columns]) -> None:
    """Store the blocks, compact half of them, then all, and read them back each time."""
    run_id, writer_id = await lab.run(), uuid4()
    expected = points_of(*given_blocks)
    half = len(given_blocks) // 2
    if half:
        await lab.send(run_id, writer_id, *given_blocks[:half])
        await lab.compact(run_id)
    await lab.send(run_id, writer_id, *given_blocks[half:])
    before = await series.read(lab.pool, lab.scope, [run_id], ["a", "b", "c"])
    assert await lab.points(run_id, "a", "b", "c") == expected
    assert await in_sql(lab, run_id) == with_one_nan(expected)
    await lab.compact(run_id)
    after = await series.read(lab.pool, lab.scope, [run_id], ["a", "b", "c"])
    assert await lab.points(run_id, "a", "b", "c") == expected
    assert await in_sql(lab, run_id) == with_one_nan(expected)
    for one, other in zip(before, after, strict=True):
        assert (one.steps.tolist(), one.times.tolist()) == (other.steps.tolist(), other.times.tolist())
        assert bits(one.values).tolist() == bits(other.values).tolist()
    # Each block can be rebuilt bit for bit, so that sending it again is known to be a repetition.
    assert len(await chunks.hashes(lab.pool, run_id, writer_id, 0, len(given_blocks) - 1)) == len(given_blocks)
    assert await lab.send(run_id, writer_id, *given_blocks) == len(given_blocks)


async def test_special_values_come_back(lab: Lab) -> None:
    values = np.array(SPECIAL, "<i8").view("<f8").tolist()
    await check(
        lab, [block(0, [values], keys=("a",)), *(block(seq, [[values[seq]]], keys=("a",)) for seq in range(1, 16))]
    )


async def test_any_points_come_back(lab: Lab) -> None:
    cases: list[list[Columns]] = []

    @settings(max_examples=60, database=None, derandomize=True)
    @given(blocks())
    def collect(found: list[Columns]) -> None:
        cases.append(found)

    collect()
    assert len(cases) >= 50
    for case in cases:
        await check(lab, case)


@settings(max_examples=300, database=None)
@given(st.lists(st.one_of(INT64, st.integers(0, 300), st.integers(0, 70_000)), min_size=1, max_size=40))
def test_any_whole_numbers_unpack(numbers: list[int]) -> None:
    column = np.array(numbers, "<i8")
    assert packing.unpack(packing.pack(column), len(numbers)).tolist() == numbers


@settings(max_examples=300, database=None)
@given(st.integers(0, 2**62), st.integers(-1000, 1000), st.integers(1, 100))
def test_an_even_stride_takes_few_bytes(start: int, stride: int, count: int) -> None:
    column = np.array([max(start + stride * place, 0) for place in range(count)], "<i8")
    packed = packing.pack(column)
    assert packing.unpack(packed, count).tolist() == column.tolist()
    if start >= 100_000:
        assert len(packed) == 17


@settings(max_examples=300, database=None)
@given(st.integers(1, 4), st.integers(1, 8), st.data())
def test_any_values_unpack(keys: int, n: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=keys, max_size=keys))
    values = np.array(rows, "<f8")
    narrow, packed = packing.pack_values(values)
    assert bits(packing.unpack_values(narrow, packed, n)).tolist() == bits(values).tolist()


async def test_values_that_fit_float32_take_four_bytes(lab: Lab) -> None:
    run_id, writer_id = await lab.run(), uuid4()
    values = np.random.default_rng(1).standard_normal((20, 500)).astype("<f4").astype("<f8")
    for seq in range(20):
        await lab.send(run_id, writer_id, block(seq, values, keys=[f"k{key}" for key in range(20)]))
    await lab.compact(run_id)
    size_bytes = await lab.pool.fetchval("select sum(pg_column_size(chunk.*)) from chunk where run_id = $1", run_id)
    assert size_bytes / (20 * 20 * 500) < 5
