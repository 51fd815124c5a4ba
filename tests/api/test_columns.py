"""Columns in their smallest form give back every bit."""

import base64
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from api.columns import ColumnEncoding, encoded
from tests.api.test_metrics import START_MS, block, log, packed, read
from tests.conftest import Client

INT64 = st.integers(-(2**63), 2**63 - 1)
EVEN = st.builds(
    lambda start, stride, count: [start + stride * place for place in range(count)],
    st.integers(-(2**62), 2**62),
    st.integers(-(2**50), 2**50),
    st.integers(0, 100),
)
BITS = st.one_of(
    INT64,  # of any float, also a NaN with a message
    st.one_of(st.floats(width=32), st.integers(-(2**54), 2**54)).map(lambda value: int(np.float64(value).view("<i8"))),
)


def unpacked(column: dict[str, Any], kind: str) -> NDArray[Any]:
    """The numbers of a compact column, as docs/concepts.md tells."""
    if "count" in column:
        return np.array([column["start"] + column["stride"] * place for place in range(column["count"])], kind)
    [(name, text)] = ((name, text) for name, text in column.items() if name != "start")
    numbers: NDArray[Any] = np.frombuffer(base64.b64decode(text), name).astype(kind)
    return numbers + column["start"] if "start" in column else numbers


def compact(column: NDArray[Any]) -> dict[str, Any]:
    """The column as it is answered."""
    answered = encoded(column, ColumnEncoding.COMPACT)
    assert isinstance(answered, dict)
    return answered


@given(st.one_of(EVEN, st.lists(INT64), st.lists(st.integers(-300, 70_000))))
def test_whole_numbers_keep_every_bit(numbers: list[int]) -> None:
    column = np.array(numbers, "<i8")
    assert unpacked(compact(column), "<i8").tobytes() == column.tobytes()


@given(st.one_of(st.lists(BITS), EVEN.map(lambda numbers: np.array(numbers, "<f8").view("<i8").tolist())))
def test_floats_keep_every_bit(bits: list[int]) -> None:
    column = np.array(bits, "<i8").view("<f8")
    assert unpacked(compact(column), "<f8").tobytes() == column.tobytes()


async def test_a_series_comes_in_the_smallest_forms(client: Client) -> None:
    run_id = await client.create_run()
    times = [START_MS, START_MS + 1, START_MS + 7]
    values = [[0.5, -0.0, 1.5], [0.1, 5e-324, 2.0], [3.0, 2.0, 1.0]]
    flat = [value for row in values for value in row]
    await log(client, run_id, block(keys=["a", "b", "c"], steps=[0, 10, 20], times=times, values=flat))
    found = await read(client, run_id, "a", "b", "c", encoding="COMPACT")
    steps = {"start": 0, "stride": 10, "count": 3}
    assert [(one["steps"], one["x"]) for one in found] == [(steps, steps)] * 3
    assert found[0]["times"] == {"start": START_MS, "uint8": base64.b64encode(bytes([0, 1, 7])).decode()}
    assert [one["values"] for one in found] == [
        {"float32": packed("f", values[0])},
        {"float64": packed("d", values[1])},
        {"start": 3, "stride": -1, "count": 3},
    ]
