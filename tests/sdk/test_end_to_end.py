"""The SDK against the real server, queue, worker and store."""

import math
import os
import struct
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import runstone

if TYPE_CHECKING:
    from tests.conftest import Server

SERIES = """
    query ($run: ID!, $keys: [String!]!) {
      series(select: {runIds: [$run]}, keys: $keys, encoding: JSON) { key count steps values }
    }
"""


@pytest.fixture
def experiment(real: "Server") -> str:
    """A name that no other test uses."""
    return f"e-{uuid.uuid4().hex[:12]}"


def series(run_id: str, key: str) -> tuple[list[int], list[float]]:
    """The steps and values of a series, whole."""
    [found] = runstone.execute(SERIES, {"run": run_id, "keys": [key]})["series"]
    return found["steps"], [float(value) for value in found["values"]]


def test_what_is_logged_is_read_back_as_it_was(experiment: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    params = {"C": 0.1, "n": 3, "name": "é", "flag": True, "none": None, "nan": math.nan, "opt": {"betas": [0.9, 1]}}
    with runstone.start_run(experiment=experiment, name="first", params=params, tags={"stage": "test"}) as run:
        for index in range(1000):
            run.log({"loss": 1 / (index + 1), "acc": np.float32(index)}, step=index)
        run.log_params({"late": "yes"})
        run.set_tags({"stage": "done", "gone": "x"})
        run.set_tags({"gone": None})
        run.log_input("customers", digest="sha256:1", context="training")
        run.log_artifact(tmp_path / "notes.txt")
        finished = run.finish()

    record = runstone.run(run.id)
    assert (record.status, record.name, record.experiment, record.project) == (
        "FINISHED",
        "first",
        experiment,
        "default",
    )
    assert math.isnan(record.params.pop("nan"))
    assert record.params == {
        "C": 0.1,
        "n": 3,
        "name": "é",
        "flag": True,
        "none": None,
        "opt.betas": [0.9, 1],
        "late": "yes",
    }
    assert record.tags["stage"] == "done"
    assert "gone" not in record.tags
    assert (record.metrics["loss"].count, record.metrics["loss"].last) == (1000, 1 / 1000)
    assert record.metrics["acc"].max == 999
    assert [one.digest for one in record.inputs] == ["sha256:1"]
    assert [(one.path, one.state) for one in record.artifacts if not one.path.startswith("source/")] == [
        ("notes.txt", "READY")
    ]
    assert record.environment is not None
    assert record.environment.python
    assert (finished.points, finished.params, finished.missing) == (2000, 8, ())
    assert series(run.id, "loss") == (list(range(1000)), [1 / (index + 1) for index in range(1000)])


def test_float64_values_survive_bit_by_bit(experiment: str) -> None:
    values = [0.1, -0.0, 5e-324, -1.7976931348623157e308, math.inf, -math.inf, 2 / 3]

    with runstone.start_run(experiment=experiment) as run:
        for value in values:
            run.log({"x": value})

    _, stored = series(run.id, "x")
    assert [struct.pack("<d", value) for value in stored] == [struct.pack("<d", value) for value in values]


def test_runs_are_listed_and_compared(experiment: str) -> None:
    ids = []
    for c in (0.1, 0.5):
        with runstone.start_run(experiment=experiment, params={"C": c, "solver": "liblinear"}) as run:
            run.log({"accuracy": c / 2})
        ids.append(run.id)

    assert [run.id for run in runstone.runs(experiment=experiment)] == ids[::-1]
    assert [run.id for run in runstone.runs(experiment=experiment, limit=1)] == ids[1:]
    assert runstone.runs(experiment=experiment, statuses=["RUNNING"]) == []
    assert [run.id for run in runstone.runs(experiment=experiment, where="params.C < 0.3")] == ids[:1]
    assert [run.id for run in runstone.runs(experiment=experiment, order_by="metrics.accuracy ASC")] == ids
    with pytest.raises(runstone.Invalid) as caught:
        runstone.runs(experiment=experiment, where="params.C < 0.3", order_by=["params.C DESC", "params.C up"])
    assert (caught.value.path, caught.value.position) == ("orderBy[1].text", 9)
    compared = runstone.compare(ids)
    assert [run.id for run in compared.runs] == ids
    assert {row.key: (row.differs, row.values) for row in compared.params} == {
        "C": (True, (0.1, 0.5)),
        "solver": (False, ("liblinear", "liblinear")),
    }
    [accuracy] = compared.metrics
    assert (accuracy.last, accuracy.delta, accuracy.highest_run_id) == ((0.05, 0.25), (0.0, 0.2), ids[1])
    assert (accuracy.goal, accuracy.best, accuracy.better) == (None, None, None)
    runstone.set_metric_goal("accuracy", "MINIMIZE")
    [accuracy] = runstone.compare(ids).metrics
    assert (accuracy.goal, accuracy.best_run_id, accuracy.better) == ("MINIMIZE", ids[0], (None, False))
    assert accuracy.best == (0.05, 0.25)
    runstone.set_metric_goal("accuracy", None)
    only = runstone.compare(ids, baseline=ids[1], only_differences=True)
    assert [row.key for row in only.params] == ["C"]
    assert only.baseline_id == ids[1]


def test_names_that_are_not_there_are_not_found(experiment: str) -> None:
    with pytest.raises(runstone.NotFound, match=experiment):
        runstone.runs(experiment=experiment)
    with pytest.raises(runstone.NotFound, match="no project"):
        runstone.runs(project=experiment)
    with pytest.raises(runstone.NotFound):
        runstone.run(str(uuid.uuid4()))
    with pytest.raises(runstone.NotFound):
        runstone.start_run(project=experiment)


def test_a_finished_run_is_resumed_as_a_new_attempt(experiment: str) -> None:
    with runstone.start_run(experiment=experiment, params={"C": 0.1}) as first:
        first.log({"loss": 1.0}, step=0)

    with runstone.start_run(run_id=first.id, params={"C": 0.1}) as again:
        again.log({"loss": 0.5}, step=1)

    record = runstone.run(first.id)
    assert (again.attempt, record.attempt, record.status) == (2, 2, "FINISHED")
    assert record.metrics["loss"].count == 2


def test_a_param_that_another_process_fixed_is_reported_and_costs_only_itself(experiment: str) -> None:
    one = runstone.start_run(experiment=experiment)
    other = runstone.start_run(run_id=one.id)
    one.log_params({"C": 0.1})
    other.log_params({"D": 1})
    other.log({"loss": 1})
    while "C" not in runstone.run(one.id).params:
        pass
    other.log_params({"C": 0.5, "E": 2})

    with pytest.raises(runstone.Incomplete, match=r"'C'.*0\.1.*0\.5") as caught:
        other.finish()
    one.finish()

    record = runstone.run(one.id)
    assert record.params == {"C": 0.1, "D": 1, "E": 2}
    assert caught.value.finished.params == 2
    assert record.status == "FINISHED"


def test_an_experiment_of_the_same_name_is_made_once_by_many(experiment: str) -> None:
    open_runs = [runstone.start_run(experiment=experiment) for _ in range(5)]
    for run in open_runs:
        run.finish()

    assert len(runstone.runs(experiment=experiment)) == 5


def test_files_of_every_size_come_back_as_they_went(experiment: str, tmp_path: Path) -> None:
    source = tmp_path / "up"
    source.mkdir()
    for name, size_bytes in {"empty": 0, "one": 1, "chunk": 1024 * 1024, "big.bin": 20_000_001}.items():
        (source / name).write_bytes(os.urandom(size_bytes))

    with runstone.start_run(experiment=experiment) as run:
        run.log_artifacts(source, "data")

    down = runstone.download(run.id, "data", to=tmp_path / "down")
    assert {path.name: path.read_bytes() for path in down.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }


def test_a_bad_value_never_reaches_the_server(experiment: str) -> None:
    bad: list[dict[Any, Any]] = [{"a\0": 1}, {"": 1}, {" a": 1}, {"x" * 251: 1}]

    with runstone.start_run(experiment=experiment) as run:
        for metrics in bad:
            with pytest.raises(runstone.Invalid):
                run.log(metrics)
        run.log({"fine": 1})

    assert set(runstone.run(run.id).metrics) == {"fine"}


async def test_the_async_client_does_the_same(experiment: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    async with runstone.Client() as client:
        async with client.start_run(experiment=experiment) as run:
            run.log({"loss": 1.0})
            await run.log_artifact(tmp_path / "x.txt")

        record = await client.run(run.id)
        assert record.metrics["loss"].last == 1.0
        assert [one.id for one in await client.runs(experiment=experiment)] == [run.id]
        found = await client.runs(experiment=experiment, where="status = 'FINISHED'", order_by=["createdAt DESC"])
        assert [one.id for one in found] == [run.id]
        path = await client.download(run.id, "x.txt", to=tmp_path / "down")
        assert path.read_text() == "hello"
        assert client.requests >= 7
