"""The story of examples/churn, as a newcomer runs it."""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runstone
from tests.parts import without_coverage
from tests.sdk.standin import StandIn

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.timeout(400)  # each script imports scikit-learn, which takes long on a busy machine

ENOUGH_S = 120
TRIES = 3  # a machine that stalls for a quarter of a second makes what would travel together go in two
CHURN = Path(__file__).parents[2] / "examples" / "churn"


def started(script: Path, *arguments: str) -> subprocess.Popen[str]:
    with without_coverage():  # which would watch scikit-learn, and take as long again
        return subprocess.Popen(
            [sys.executable, script, *arguments],
            env={**os.environ, "COLUMNS": "160"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def test_alice_and_bob_log_at_once_and_compare(real: "Server") -> None:
    experiment = f"churn-{uuid.uuid4().hex[:12]}"

    people = [started(CHURN / "alice.py", experiment), started(CHURN / "bob.py", experiment)]
    for person in people:
        _, problems = person.communicate(timeout=ENOUGH_S)
        assert person.returncode == 0, problems
    comparing = started(CHURN / "compare.py", experiment)
    shown, problems = comparing.communicate(timeout=ENOUGH_S)

    assert comparing.returncode == 0, problems
    assert shown.count("predicts exactly what it did") == 2
    found = {run.name: run for run in runstone.runs(experiment=experiment)}
    assert set(found) == {"alice", "bob"}
    compared = runstone.compare([found["alice"].id, found["bob"].id])
    assert {row.key for row in compared.params if row.differs} == {"C"}
    assert {row.key for row in compared.params if not row.differs} == {"model", "solver", "seed", "test_size"}
    assert {row.path: row.differs for row in compared.artifacts if row.path.startswith("model/")} == {
        "model/MODEL.json": False,
        "model/model.joblib": True,
    }
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "≠ C 0.1 0.5" in lines
    assert "= solver liblinear liblinear" in lines
    assert any(line.startswith("= accuracy 0.") for line in lines)


def test_alice_takes_five_round_trips_and_a_put_per_file(standin: StandIn, tmp_path: Path) -> None:
    script = Path(shutil.copy(CHURN / "alice.py", tmp_path))  # where no git may add a patch, sooner or later
    together = ["CompleteUploads", "CreateRun", "CreateUploads", "FinishRun", "Flush", "PUT", "PUT"]

    assert any(round_trips(script, standin) == together for _ in range(TRIES)), standin.requests
    for run in standin.runs.values():
        assert set(run.artifacts) == {"model/model.joblib", "model/MODEL.json"}


def round_trips(script: Path, standin: StandIn) -> list[str]:
    """What the script asked of the server and the store, in the order of the alphabet."""
    before = len(standin.requests)
    alice = started(script)
    _, problems = alice.communicate(timeout=ENOUGH_S)
    assert alice.returncode == 0, problems
    return sorted(standin.requests[before:])
