"""Exports and data frames from Python and from the command line, on the real server."""

import asyncio
import json
import math
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import runstone
from runstone import exports
from runstone.cli import main

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture
def experiment(real: "Server") -> str:
    """An experiment of three runs, of which the newest has other things than the others."""
    name = f"export-{uuid.uuid4().hex[:12]}"
    for number in (1, 2):
        with runstone.start_run(
            experiment=name, params={"lr": number / 10, "depth": number}, tags={"team": "vision"}
        ) as run:
            for step in range(3):
                run.log({"loss": number - step, "loss.min": 7.0}, step=step)
    with runstone.start_run(experiment=name, params={"lr": "auto", "flag": True, "list": [1, 2]}) as run:
        run.log({"odd": math.nan})
    return name


@pytest.fixture
def three_runs(experiment: str) -> list[str]:
    """Their ids, the newest first."""
    return [run.id for run in runstone.runs(experiment=experiment)]


def test_runs_become_a_pandas_frame(three_runs: list[str], experiment: str) -> None:
    frame = runstone.runs(experiment=experiment).to_pandas()

    assert frame["id"].tolist() == three_runs
    assert frame["status"].tolist() == ["FINISHED"] * 3
    assert frame["params.lr"].tolist() == ["auto", 0.2, 0.1]
    assert frame["params.depth"].dtype == "Int64"
    assert frame["params.depth"].tolist() == [pd.NA, 2, 1]
    assert frame["params.flag"].tolist() == [True, pd.NA, pd.NA]
    assert frame["metrics.loss"].dtype == "float64"
    assert frame["metrics.loss"].tolist()[1:] == [0.0, -1.0]
    assert frame["metrics.loss.max"].tolist()[1:] == [2.0, 1.0]
    assert frame["metrics.loss.count"].tolist() == [pd.NA, 3, 3]
    assert frame["metrics.loss.min"].tolist()[1:] == [7.0, 7.0]  # the metric of this name
    assert frame["tags.team"].tolist()[1:] == ["vision", "vision"]
    assert str(frame["created_at"].dtype) == "datetime64[us, UTC]"
    assert frame.sort_values("metrics.loss")["id"].tolist() == [three_runs[2], three_runs[1], three_runs[0]]


async def test_runs_become_a_polars_frame(three_runs: list[str], experiment: str) -> None:
    async with runstone.Client() as client:
        frame = await client.runs(experiment=experiment).to_polars()
        listed = await client.runs(experiment=experiment)

    assert frame["id"].to_list() == [run.id for run in listed] == three_runs
    assert frame["params.lr"].to_list() == ["auto", "0.2", "0.1"]
    assert frame["params.list"].to_list() == ["[1, 2]", None, None]
    assert frame["params.depth"].dtype == pl.Int64
    assert frame["metrics.loss"].to_list() == [None, 0.0, -1.0]
    assert frame["started_at"].dtype == pl.Datetime("us", "UTC")


def test_series_become_frames(three_runs: list[str]) -> None:
    found = runstone.series(three_runs, ["loss", "odd"])
    frame = found.to_pandas()

    assert frame[frame["key"] == "loss"]["value"].tolist() == [2.0, 1.0, 0.0, 1.0, 0.0, -1.0]
    assert frame["step"].tolist() == [0, 0, 1, 2, 0, 1, 2]
    assert str(frame["time"].dtype) == "datetime64[ms, UTC]"
    assert math.isnan(frame["value"][0])
    assert found.to_polars()["run_id"].to_list() == frame["run_id"].tolist()


def test_frames_say_what_to_install(three_runs: list[str], experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(runstone.Unavailable, match="to_pandas needs pandas - pip install pandas"):
        runstone.runs(experiment=experiment).to_pandas()


def test_command_exports_to_a_folder(
    three_runs: list[str], experiment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"

    assert main(["export", "--experiment", experiment, "--tables", "runs,points", "--to", str(folder)]) == 0

    assert capsys.readouterr().out.startswith("3 runs, 13 points: 3 files, ")
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "points-00001.parquet",
        "runs-00001.parquet",
    ]
    assert pd.read_parquet(folder / "runs-00001.parquet")["run_id"].tolist() == three_runs
    assert pl.read_parquet(folder / "points-*.parquet")["value"].len() == 13
    assert json.loads((folder / "manifest.json").read_text())["runs"] == 3
    assert main(["export", "--experiment", experiment, "--to", str(folder)]) == 1
    assert "has an export already" in capsys.readouterr().err


async def test_two_exports_at_once_are_both_whole(three_runs: list[str], experiment: str, tmp_path: Path) -> None:
    async with runstone.Client() as client:
        a, b = await asyncio.gather(
            client.export(experiment=experiment, to=tmp_path / "a"),
            client.export(where="params.flag = true", run_ids=three_runs, to=tmp_path / "b"),
        )

    assert (a.runs_done, b.runs_done) == (3, 1)
    assert pq.read_table(tmp_path / "b" / "params-00001.parquet").num_rows == 3
    assert {file.name for file in a.files} == {path.name for path in (tmp_path / "a").iterdir()}


def test_folder_is_checked_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "runs-00001.parquet").touch()

    with pytest.raises(runstone.Invalid, match="has an export already"):
        exports.checked(tmp_path)
