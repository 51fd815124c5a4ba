"""What may be logged is decided at the call, and a refusal names the key."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runstone import Invalid, ParamConflict, values
from runstone.live import checked_params


class FakeTensor:
    """A 0-dimensional array of a library that we do not import."""

    def __init__(self, value: object, shape: tuple[int, ...] = ()) -> None:
        self._value = value
        self.shape = shape

    def item(self) -> object:
        return self._value


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError("half made")


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0.1, 0.1),
        (3, 3.0),
        (Decimal("0.1"), 0.1),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.int64(7), 7.0),
        (np.float16(1.5), 1.5),
        (np.array(2.5), 2.5),
        (FakeTensor(0.25), 0.25),
        (math.inf, math.inf),
        (Decimal("-Infinity"), -math.inf),
        (5e-324, 5e-324),
    ],
)
def test_what_holds_one_number_is_a_metric(value: object, number: float) -> None:
    assert values.number("loss", value) == number


def test_minus_zero_and_nan_stay_what_they_are() -> None:
    assert math.copysign(1.0, values.number("loss", -0.0)) == -1.0
    assert math.isnan(values.number("loss", np.float32("nan")))


@pytest.mark.parametrize(
    "value",
    ["0.1", True, np.bool_(True), None, [1.0], np.array([1.0]), FakeTensor(1.0, (1,)), FakeTensor("x"), 1j, {"a": 1}],
)
def test_what_is_not_one_number_is_refused_by_its_key(value: object) -> None:
    with pytest.raises(TypeError, match="'val/loss'"):
        values.number("val/loss", value)


@pytest.mark.parametrize("value", [10**400, Decimal("1e400"), -np.longdouble("1e4000"), Decimal("sNaN")])
def test_a_number_that_float64_does_not_have_is_refused(value: object) -> None:
    with pytest.raises(Invalid, match="'loss'"):
        values.number("loss", value)


def test_what_cannot_be_shown_is_refused_by_its_key_all_the_same() -> None:
    with pytest.raises(TypeError, match=r"'loss' must be one number, not .*Unshown"):
        values.number("loss", Unshown())


@pytest.mark.parametrize("step", [0, 2**63 - 1, np.int32(5)])
def test_a_step_is_a_whole_number(step: Any) -> None:
    assert values.step(step) == int(step)


@pytest.mark.parametrize("step", [-1, 2**63])
def test_a_step_out_of_range_is_refused(step: int) -> None:
    with pytest.raises(Invalid, match=r"0 to 2\^63-1"):
        values.step(step)


@pytest.mark.parametrize("step", [1.5, True, "1", None])
def test_a_step_that_is_no_whole_number_is_refused(step: object) -> None:
    with pytest.raises(TypeError, match="step"):
        values.step(step)


@pytest.mark.parametrize(
    ("value", "kind", "sent"),
    [
        ("liblinear", "STRING", "liblinear"),
        (3, "INT", 3),
        (0.1, "FLOAT", 0.1),
        (math.nan, "FLOAT", "NaN"),
        (-math.inf, "FLOAT", "-Infinity"),
        (True, "BOOL", True),
        (None, "NULL", None),
        ([1, (2.5, "x")], "JSON", [1, [2.5, "x"]]),
        ({}, "JSON", {}),
        (np.float64(0.5), "FLOAT", 0.5),
        (np.int8(5), "INT", 5),
        (np.bool_(False), "BOOL", False),
        (np.array(3), "INT", 3),
        (Decimal("0.5"), "FLOAT", 0.5),
        (Path("data/x.csv"), "STRING", "data/x.csv"),
        (Colour.RED, "STRING", "red"),
        (datetime(2026, 1, 2, tzinfo=UTC), "STRING", "2026-01-02T00:00:00+00:00"),
    ],
)
def test_a_param_keeps_its_type_and_value(value: object, kind: str, sent: object) -> None:
    assert values.param("key", value) == {"key": "key", "type": kind, "value": sent}


@pytest.mark.parametrize("value", [object(), np.zeros(3), {1, 2}, b"bytes", [object()]])
def test_a_param_that_is_no_value_is_refused_by_its_key(value: object) -> None:
    with pytest.raises(TypeError, match="'lr'"):
        values.param("lr", value)


@pytest.mark.parametrize("value", [2**63, "x" * 65_537, "a\0b", "\ud800", ["\0"], [math.nan], Decimal("1e400")])
def test_a_param_that_cannot_be_stored_is_refused_by_its_key(value: object) -> None:
    with pytest.raises(Invalid, match="'lr'"):
        values.param("lr", value)


def test_nested_params_are_flattened_with_dots() -> None:
    nested = {"opt": {"lr": 0.1, "sched": {"name": "cosine"}}, "layers": [1, 2], 3: "x"}

    assert dict(values.flatten(nested)) == {"opt.lr": 0.1, "opt.sched.name": "cosine", "layers": [1, 2], "3": "x"}


def test_params_nested_without_end_are_refused() -> None:
    nested: dict[str, Any] = {"leaf": 1}
    for _ in range(50):
        nested = {"a": nested}

    with pytest.raises(Invalid, match="nested deeper than 20"):
        list(values.flatten(nested))


def test_lists_nested_without_end_are_refused() -> None:
    nested: list[Any] = []
    for _ in range(2000):
        nested = [nested]

    with pytest.raises(Invalid, match="nested deeper than 20"):
        values.param("x", nested)


def test_two_values_for_one_flattened_key_are_a_conflict() -> None:
    with pytest.raises(ParamConflict, match=r"'a\.b'"):
        checked_params({"a.b": 1, "a": {"b": 2}})


@pytest.mark.parametrize(
    "name", ["loss", "val/loss", "é", "👩‍🚀", "__proto__", "<img src=x onerror=alert(1)>", "损失", "a" * 250]
)
def test_a_visible_line_is_a_name(name: str) -> None:
    assert values.name(name, "key") == name


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a ", "a\nb", "a\0b", "\ud800", "a\u202eb", "\u200d", "e\u0301", "a" * 251, "😀" * 250 + "x"],
)
def test_what_cannot_be_seen_or_stored_is_no_name(name: str) -> None:
    with pytest.raises(Invalid, match="key"):
        values.name(name, "key")


def test_a_name_is_text() -> None:
    with pytest.raises(TypeError, match="metric key must be text"):
        values.name(3, "metric key")


@pytest.mark.parametrize("path", ["model/model.joblib", "a b.txt", "%2e%2e%2fx", "x?y", "a;b", "é/ü.csv"])
def test_a_relative_path_is_taken_literally(path: str) -> None:
    assert values.path(path) == path


ELSEWHERE = ["", "../x", "a/../../x", "/abs", "a//b", ".", "a/", "..\\x", "C:\\x", "a:b"]
NOWHERE = ["CON", "com1.txt", "a./b", "a\nb", "x" * 1025, "/".join("a" * 33), "e\u0301", "\ud800", "a\u202eb"]


@pytest.mark.parametrize("path", [*ELSEWHERE, *NOWHERE])
def test_a_path_that_leads_elsewhere_or_is_no_file_everywhere_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="path"):
        values.path(path)


def test_a_tag_is_text_and_none_removes_it() -> None:
    assert values.tag("stage", 3) == {"key": "stage", "value": "3"}
    assert values.tag("stage", None) == {"key": "stage", "value": None}
    with pytest.raises(TypeError, match="'stage'"):
        values.tag("stage", ["x"])


def test_ids_are_uuid7_in_the_order_of_time() -> None:
    first, second = values.new_id(), values.new_id()

    assert first[14] == "7"
    assert first[:12] <= second[:12]
