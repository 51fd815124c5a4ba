"""Every block of Python in docs/sdk.md runs, one after the other, as a reader would run them."""

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest

import runstone

if TYPE_CHECKING:
    from tests.conftest import Server

SDK = Path(__file__).parents[2] / "docs" / "sdk.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(240)
async def test_every_block_of_the_client_s_page_runs(
    real: "Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    (tmp_path / "report.html").write_text("<h1>Digits</h1>")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    text = SDK.read_text("utf-8")
    names: dict[str, Any] = {}

    for block in BLOCK.finditer(text):
        lines_before = "\n" * text[: block.start(1)].count("\n")
        code = compile(lines_before + block[1], str(SDK), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        found = eval(code, names)
        if inspect.isawaitable(found):
            await found

    shown = capsys.readouterr().out
    assert "NOT_FOUND" in shown
    assert "lr 0.1 0.2" in shown
    assert (tmp_path / "downloads" / "model" / "model.joblib").is_file()
    assert names["best_first"]["params.lr"].dropna().tolist() == [
        one.params["lr"] for one in map(runstone.run, names["frame"].run_ids) if "lr" in one.params
    ]
    assert "KILLED" in shown
    assert any(node["stopRequest"] == {"reason": "it diverges"} for node in names["data"]["runs"]["nodes"])
    assert [one.name for one in names["best"]] != []
    assert len(runstone.runs(where=f"parentId = '{names['sweep'].id}'")) == 3
