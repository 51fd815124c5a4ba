"""What results look like in a notebook, and the shortest way to a run."""

import uuid
from typing import TYPE_CHECKING, Any

import pytest

import runstone
from runstone import notebook
from tests.sdk.standin import StandIn

if TYPE_CHECKING:
    from tests.conftest import Server

EVIL = "<img src=x onerror=alert(1)>"


def test_init_starts_a_run_that_log_writes_to(standin: StandIn) -> None:
    outer = runstone.init(experiment="digits", params={"lr": 0.1})
    runstone.log({"loss": 1.0})
    with runstone.init(experiment="digits", parent=outer) as inner:
        assert runstone.active_run() is inner
        runstone.log({"loss": 2.0}, step=5)
    runstone.log({"loss": 3.0})
    outer.finish()

    assert standin.runs[outer.id].points("loss") == [(0, 1.0), (1, 3.0)]
    assert standin.runs[inner.id].points("loss") == [(5, 2.0)]
    with pytest.raises(runstone.NotFound, match=r"runstone\.init"):
        runstone.log({"loss": 4.0})


def test_metrics_may_be_nested(standin: StandIn) -> None:
    deep: dict[str, Any] = {"leaf": 1}
    for _ in range(50):
        deep = {"a": deep}

    with runstone.start_run() as run:
        run.log({"loss": 1, "val": {"loss": 2, "top": {"1": 0.5}}})
        with pytest.raises(runstone.Invalid, match="metrics are nested deeper than 20"):
            run.log(deep)
        with pytest.raises(TypeError, match=r"'val\.loss'"):
            run.log({"val": {"loss": "high"}})
        with pytest.raises(runstone.Invalid, match=r"'val\.loss' is given twice"):
            run.log({"val.loss": 1, "val": {"loss": 2}})

    assert {key: standin.only_run.points(key) for key in ("loss", "val.loss", "val.top.1")} == {
        "loss": [(0, 1.0)],
        "val.loss": [(0, 2.0)],
        "val.top.1": [(0, 0.5)],
    }


def test_a_run_shows_as_a_link(standin: StandIn) -> None:
    with runstone.start_run(name=EVIL) as run:
        shown = run._repr_html_()

    assert f'href="{run.url}"' in shown
    assert "&lt;img" in shown
    assert "<img" not in shown


def test_an_address_that_is_no_page_is_no_link() -> None:
    assert notebook.link("x", "javascript:alert(1)") == "x"


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    shown = notebook.table(["n"], [[place] for place in range(150)])

    assert shown.count("<tr>") == 101
    assert "and 50 more" in shown


def test_comparisons_are_tables_everywhere(real: "Server") -> None:
    experiment = f"{EVIL} {uuid.uuid4().hex[:12]}"
    ids = []
    for name, c in ((EVIL, 0.1), ("b", "auto")):
        with runstone.start_run(experiment=experiment, name=name, params={"C": c, "n": 3}) as run:
            run.log({"loss": 1.5})
        ids.append(run.id)

    compared = runstone.compare(ids)
    frame = compared.to_pandas().set_index(["area", "key"])
    polars = compared.to_polars()
    shown = compared._repr_html_() + runstone.runs(experiment=experiment)._repr_html_()

    assert frame.loc[("params", "C"), [EVIL, "b"]].tolist() == [0.1, "auto"]
    assert frame.loc[("metrics", "loss"), "b"] == 1.5
    assert (bool(frame.loc[("params", "C"), "differs"]), bool(frame.loc[("params", "n"), "differs"])) == (True, False)
    assert polars.columns == ["area", "key", "differs", EVIL, "b"]
    assert "<img" not in shown
    assert "<td>auto</td>" in shown
    assert "≠" in str(compared)
