"""What comes down is what the run recorded, where it was asked for."""

import logging
from pathlib import Path

import pytest

import runstone
from runstone.downloads import target
from tests.sdk.standin import Fault, StandIn


@pytest.fixture
def run_id(standin: StandIn, tmp_path: Path) -> str:
    """A run with files."""
    root = tmp_path / "up"
    for path, text in {"model/a.txt": "alpha", "model/sub/b.txt": "beta", "model2/c.txt": "gamma"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    with runstone.start_run() as run:
        run.log_artifacts(root)
    return run.id


def found(root: Path) -> dict[str, str]:
    """Every file under the folder."""
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_a_folder_comes_down_without_its_neighbours(run_id: str, tmp_path: Path) -> None:
    path = runstone.download(run_id, "model", to=tmp_path / "down")

    assert path == tmp_path / "down" / "model"
    assert found(tmp_path / "down") == {"model/a.txt": "alpha", "model/sub/b.txt": "beta"}


def test_a_file_and_everything_come_down(run_id: str, tmp_path: Path) -> None:
    assert runstone.download(run_id, "model/sub/b.txt", to=tmp_path / "one").read_text() == "beta"
    assert len(found(runstone.download(run_id, to=tmp_path / "all"))) == 3


def test_what_is_not_there_is_not_found(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(runstone.NotFound, match="nothing"):
        runstone.download(run_id, "nothing", to=tmp_path)
    with pytest.raises(runstone.NotFound, match="no run"):
        runstone.download("0190b5a4-0000-7000-8000-000000000000", to=tmp_path)


def test_bytes_that_changed_in_the_store_do_not_arrive(standin: StandIn, run_id: str, tmp_path: Path) -> None:
    for key, data in standin.objects.items():
        standin.objects[key] = data.replace(b"alpha", b"alphA")

    with pytest.raises(runstone.DigestMismatch, match=r"model/a\.txt"):
        runstone.download(run_id, "model/a.txt", to=tmp_path / "down")

    assert found(tmp_path / "down") == {}


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=403), Fault(cut_before=True), Fault(cut_body=2)])
def test_a_download_that_breaks_is_taken_up_again(standin: StandIn, run_id: str, tmp_path: Path, fault: Fault) -> None:
    standin.faults["GET"].append(fault)

    assert runstone.download(run_id, "model/a.txt", to=tmp_path / "down").read_text() == "alpha"
    assert standin.requests.count("GET") == 2


def test_bytes_are_taken_as_they_are_stored(standin: StandIn, run_id: str, tmp_path: Path) -> None:
    standin.faults["GET"].append(Fault(status=200, body="alpha", headers={"Content-Encoding": "gzip"}))

    assert runstone.download(run_id, "model/a.txt", to=tmp_path / "down").read_text() == "alpha"


def test_a_store_that_stays_away_is_reported(standin: StandIn, run_id: str, tmp_path: Path) -> None:
    standin.faults["GET"].append(Fault(status=404))

    with pytest.raises(runstone.Unavailable, match="404"):
        runstone.download(run_id, "model/a.txt", to=tmp_path / "down")


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a\\b"])
def test_a_server_cannot_write_outside_of_the_folder(standin: StandIn, run_id: str, tmp_path: Path, path: str) -> None:
    artifact = standin.only_run.artifacts.pop("model/a.txt")
    standin.only_run.artifacts[path] = {**artifact, "path": path}

    with pytest.raises(runstone.Invalid, match="path"):
        runstone.download(run_id, to=tmp_path / "down")

    assert not list(tmp_path.rglob("*evil*"))


def test_a_link_does_not_lead_out_of_the_folder(run_id: str, tmp_path: Path) -> None:
    outside, down = tmp_path / "outside", tmp_path / "down"
    outside.mkdir()
    down.mkdir()
    (down / "model").symlink_to(outside)

    with pytest.raises(runstone.Invalid, match="leads out"):
        runstone.download(run_id, "model", to=down)

    assert list(outside.iterdir()) == []
    assert target(down, "other/a.txt") == down / "other" / "a.txt"


def test_names_that_differ_in_case_only_are_pointed_out(
    standin: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "README").write_text("one")
    (tmp_path / "readme").write_text("two")
    with runstone.start_run() as run:
        run.log_artifact(tmp_path / "README")
        run.log_artifact(tmp_path / "readme")

    with caplog.at_level(logging.WARNING):
        runstone.download(run.id, to=tmp_path / "down")

    assert "differ in case only" in caplog.text
