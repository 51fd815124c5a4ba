"""A dataset is known by its content: the same has the same digest, and another has another."""

import hashlib
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import runstone
from runstone.datasets import described
from tests.sdk.standin import StandIn

DATA: dict[str, list[Any]] = {
    "whole": [1, 2, 3],
    "float": [0.5, float("nan"), -0.0],
    "text": ["a", "é", None],
    "flag": [True, False, True],
    "time": [datetime(2026, 1, 1), datetime(2026, 1, 2, 3, 4, 5, 678), None],
    "holes": [1, None, 3],
}


def digest(data: Any) -> str:
    return described(data).digest


def test_a_table_has_one_digest_in_pandas_and_polars_whatever_the_width_of_its_numbers() -> None:
    frame = pd.DataFrame(DATA)

    same = [frame, pl.DataFrame(DATA, strict=False), frame.convert_dtypes(), pl.LazyFrame(DATA, strict=False)]
    same += [frame.astype({"whole": "int8", "holes": "Int64", "text": "category", "float": "float32"})]

    assert len({digest(one) for one in same}) == 1


def test_the_digest_of_a_table_never_changes() -> None:
    assert digest(pd.DataFrame({"a": [1, 2], "b": ["x", None]})) == GOLDEN_TABLE
    assert digest(np.arange(6.0).reshape(2, 3)) == GOLDEN_ARRAY


GOLDEN_TABLE = "table-sha256:842bdceafaf0f4ea15a79f1c178ce3a325edf742d3ac61347cf0fbae82295c67"
GOLDEN_ARRAY = "array-sha256:221459a0cfc2e5b873137daa38e0a78f1309d574e7bd7e14b7cef4f97b16303f"


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.iloc[::-1],
        lambda frame: frame[frame.columns[::-1]],
        lambda frame: frame.rename(columns={"text": "other"}),
        lambda frame: frame.assign(whole=[1, 2, 4]),
        lambda frame: frame.assign(whole=[1.0, 2.0, 3.0]),
        lambda frame: frame.assign(text=["a", "é", ""]),
        lambda frame: frame.assign(text=["aé", "", None]),
        lambda frame: frame.set_index("text"),
        lambda frame: frame.head(2),
        lambda frame: frame.assign(time=frame["time"].dt.tz_localize("UTC")),
    ],
)
def test_another_table_has_another_digest(change: Any) -> None:
    assert digest(change(pd.DataFrame(DATA))) != digest(pd.DataFrame(DATA))


def test_an_array_is_known_by_its_numbers_not_by_its_memory() -> None:
    array = np.arange(6.0).reshape(2, 3)

    assert digest(np.asfortranarray(array)) == digest(array.astype(">f8")) == digest(array[::1]) == digest(array)
    assert len({digest(one) for one in (array, array.ravel(), array.T, array.astype("f4"), array + 1)}) == 5


def test_values_of_every_kind_count() -> None:
    rows = [
        [b"x", {"a": [1, "b"]}, (1, 2), pd.Timestamp(1, unit="ns", tz="UTC"), pd.Timedelta(5, unit="s"), np.int8(3)]
    ]
    other = [
        [b"x", {"a": [1, "c"]}, (1, 2), pd.Timestamp(1, unit="ns", tz="UTC"), pd.Timedelta(5, unit="s"), np.int8(3)]
    ]

    assert digest(pd.DataFrame(rows, dtype=object)) == digest(pd.DataFrame(rows, dtype=object))
    assert digest(pd.DataFrame(rows, dtype=object)) != digest(pd.DataFrame(other, dtype=object))
    with pytest.raises(runstone.Invalid, match="digest of your own"):
        digest(pd.DataFrame([[object()]]))


def test_numbers_beyond_int64_are_themselves() -> None:
    assert digest(pd.Series([2**64 - 1], dtype="uint64")) != digest(pd.Series([-1]))


def test_a_folder_has_the_digest_that_sha256sum_makes(tmp_path: Path) -> None:
    for name, text in {"b.txt": "b", "a/c.txt": "c"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    command = "find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum"

    shown = subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert digest(tmp_path) == f"tree-sha256:{shown.split()[0]}"
    assert digest(tmp_path / "b.txt") == f"sha256:{hashlib.sha256(b'b').hexdigest()}"


@pytest.mark.parametrize("data", [object(), 3, np.array(["a"]), [1, 2]])
def test_what_has_no_content_is_refused(data: Any) -> None:
    with pytest.raises(TypeError):
        digest(data)


def test_inputs_are_logged_by_their_digests(standin: StandIn) -> None:
    frame = pd.DataFrame(DATA)

    with runstone.start_run() as run:
        run.log_input("customers", frame, context="training")
        run.log_input("prices", "s3://key:hunter2@bucket/prices.parquet")
        with pytest.raises(runstone.Invalid, match="either data"):
            run.log_input("both", frame, digest="x")

    customers, prices = standin.only_run.inputs
    assert (customers["digest"], customers["context"]) == (digest(frame), "training")
    assert prices["uri"] == "s3://key:***@bucket/prices.parquet"
    assert prices["digest"].startswith("uri-sha256:")
