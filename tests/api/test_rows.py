"""Rows that are answered as they are have what their types promise."""

from dataclasses import fields

import pytest

from api.metrics import Metric
from api.params import Param
from db import params
from db.summaries import Summary


@pytest.mark.parametrize(("type_", "row"), [(Param, params.Param), (Metric, Summary)])
def test_a_row_has_every_field_of_its_type(type_: type, row: type) -> None:
    assert [field.name for field in fields(type_) if not hasattr(row, field.name)] == []
