"""Runs as columns and groups of runs, asked of a real server."""

import math
import uuid

import pandas as pd
import polars as pl
import pytest

import runstone

pytestmark = pytest.mark.usefixtures("real")


@pytest.fixture
def experiment(real: object) -> str:
    """Three runs: two seeds of lr 0.1, one of which diverges, and one with lr 1 that logged nothing."""
    name = f"columns-{uuid.uuid4().hex[:12]}"
    for seed, lr, losses in ((1, 0.1, [0.5, 0.25, 0.375]), (2, 0.1, [0.5, math.inf]), (3, 1.0, [])):
        with runstone.start_run(
            experiment=name, name=f"run {seed}", params={"lr": lr, "seed": seed}, tags={"team.a": "x"}
        ) as run:
            for loss in losses:
                run.log({"loss": loss})
    return name


async def test_runs_come_in_the_columns_that_were_asked_for(experiment: str) -> None:
    names = ["name", "params.lr", "params.seed", "metrics.loss", "min(metrics.loss)", "tags.team.a", "params.none"]

    async with runstone.Client() as client:
        found = await client.run_frame(names, experiment=experiment, order_by="params.seed")

    assert list(found.columns) == names
    assert found.columns["name"] == ["run 1", "run 2", "run 3"]
    assert found.columns["params.lr"] == [0.1, 0.1, 1.0]
    assert found.columns["metrics.loss"] == [0.375, math.inf, None]
    assert found.columns["min(metrics.loss)"] == [0.25, 0.5, None]
    assert found.columns["tags.team.a"] == ["x", "x", "x"]
    assert found.columns["params.none"] == [None, None, None]
    assert [runstone.run(run_id).name for run_id in found.run_ids] == found.columns["name"]


def test_a_run_frame_is_a_data_frame(experiment: str) -> None:
    found = runstone.run_frame(
        ["name", "params.seed", "metrics.loss"], experiment=experiment, where="params.seed < 3", order_by="params.seed"
    )

    pandas, polars = found.to_pandas(), found.to_polars()

    expected = {"id": list(found.run_ids), "name": ["run 1", "run 2"], "params.seed": [1, 2]}
    assert isinstance(pandas, pd.DataFrame)
    assert pandas.drop(columns="metrics.loss").to_dict("list") == expected
    assert pandas["metrics.loss"].tolist() == [0.375, math.inf]
    assert isinstance(polars, pl.DataFrame)
    assert polars.drop("metrics.loss").to_dict(as_series=False) == expected
    assert "<td>run 2</td>" in found._repr_html_()


def test_a_limit_takes_the_first_runs(experiment: str) -> None:
    found = runstone.run_frame(["params.seed"], experiment=experiment, limit=2, order_by="params.seed DESC")

    assert found.columns == {"params.seed": [3, 2]}
    assert len(found) == 2


def test_groups_sum_up_metrics_over_the_runs_that_have_the_same_values(experiment: str) -> None:
    found = runstone.group_runs(["params.lr"], ["metrics.loss", "min(metrics.loss)"], experiment=experiment)

    seeds, alone = found
    assert (seeds.values, alone.values) == ({"params.lr": 0.1}, {"params.lr": 1.0})
    assert (len(seeds.run_ids), len(alone.run_ids)) == (2, 1)
    last, least = seeds.metrics["metrics.loss"], seeds.metrics["min(metrics.loss)"]
    assert (last.count, last.non_finite, last.mean) == (1, 1, 0.375)
    assert (least.count, least.mean, least.min, least.max) == (2, 0.375, 0.25, 0.5)
    assert least.standard_deviation == pytest.approx(0.25 / math.sqrt(2))
    assert least.confidence_low is not None
    assert (alone.metrics["metrics.loss"].count, alone.metrics["metrics.loss"].mean) == (0, None)


def test_groups_are_a_data_frame(experiment: str) -> None:
    found = runstone.group_runs(all_params_but=["seed"], metrics=["min(metrics.loss)"], experiment=experiment)

    pandas, polars = found.to_pandas(), found.to_polars()

    assert pandas["params.lr"].tolist() == [0.1, 1.0]
    assert pandas["run_count"].tolist() == [2, 1]
    assert pandas["min(metrics.loss).mean"].tolist()[0] == 0.375
    assert polars["min(metrics.loss).count"].to_list() == [2, 0]
    assert polars["min(metrics.loss).mean"].to_list() == [0.375, None]


def test_no_runs_are_an_empty_frame_and_no_groups(experiment: str) -> None:
    where = "params.lr > 5"

    assert len(runstone.run_frame(["name"], experiment=experiment, where=where).to_pandas()) == 0
    assert len(runstone.group_runs(["params.lr"], experiment=experiment, where=where).to_pandas()) == 0


@pytest.mark.parametrize("name", ["min(params.lr)", "status.x", ""])
def test_a_column_that_there_is_not_is_refused(experiment: str, name: str) -> None:
    with pytest.raises(runstone.Invalid):
        runstone.run_frame([name], experiment=experiment)


def test_only_metrics_are_summed_up(experiment: str) -> None:
    with pytest.raises(runstone.Invalid, match="is no metric"):
        runstone.group_runs(["params.lr"], ["params.seed"], experiment=experiment)
