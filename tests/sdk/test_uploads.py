"""Files reach the store as they were when they were logged, or the run says why not."""

import hashlib
import json
import os
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import runstone
from runstone import files, transport, uploads
from tests.sdk.standin import Fault, StandIn, problem


def stored(standin: StandIn) -> dict[str, bytes]:
    """The files of the run that are READY, by path."""
    return {
        path: standin.objects[f"/{artifact['digest'].removeprefix('sha256:')}"]
        for path, artifact in standin.only_run.artifacts.items()
        if artifact["state"] == "READY"
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files, one of them empty."""
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("alpha")
    (root / "sub" / "b.bin").write_bytes(os.urandom(3_000_000))
    (root / "empty").touch()
    return root


def test_a_folder_goes_up_in_two_requests_and_one_put_per_file(standin: StandIn, folder: Path) -> None:
    with runstone.start_run() as run:
        upload = run.log_artifacts(folder, "data")

    assert upload.paths == ("data/a.txt", "data/empty", "data/sub/b.bin")
    assert upload.done()
    assert stored(standin) == {
        f"data/{file.relative_to(folder)}": file.read_bytes() for file in folder.rglob("*.*")
    } | {"data/empty": b""}
    assert standin.requests.count("CreateUploads") == standin.requests.count("CompleteUploads") == 1
    assert standin.requests.count("PUT") == 3


def test_the_store_gets_the_given_headers_and_nothing_of_ours(standin: StandIn, folder: Path) -> None:
    with runstone.start_run() as run:
        run.log_artifact(folder / "a.txt")

    [headers] = [headers for operation, headers in standin.seen_headers if operation == "PUT"]
    assert headers["x-test-signed"] == "yes"
    assert headers["content-length"] == "5"
    assert "authorization" not in headers
    assert "transfer-encoding" not in headers
    assert "content-type" not in headers


def test_files_may_change_and_go_after_the_call(standin: StandIn, folder: Path) -> None:
    with runstone.start_run() as run:
        for index in range(3):
            (folder / "a.txt").write_text(f"epoch {index}")
            run.log_artifact(folder / "a.txt", f"epoch-{index}.txt")
        (folder / "a.txt").unlink()

    assert stored(standin) == {f"epoch-{index}.txt": f"epoch {index}".encode() for index in range(3)}


def test_a_large_file_that_changes_meanwhile_fails_by_name(
    standin: StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "COPY_BYTES_MAX", 0)
    run = runstone.start_run()
    upload = run.log_artifact(folder / "a.txt")
    (folder / "a.txt").write_text("something longer")

    with pytest.raises(runstone.Invalid, match="changed after it was logged"):
        upload.wait(20)
    with pytest.raises(runstone.Incomplete, match=r"a\.txt"):
        run.finish()
    assert stored(standin) == {}


def test_a_large_file_is_read_where_it_is(standin: StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "COPY_BYTES_MAX", 0)

    with runstone.start_run() as run:
        run.log_artifact(folder / "sub" / "b.bin").wait(20)

    assert stored(standin) == {"b.bin": (folder / "sub" / "b.bin").read_bytes()}


def test_our_copies_are_removed(standin: StandIn, folder: Path, spool_folder: Path) -> None:
    with runstone.start_run() as run:
        run.log_artifacts(folder)
        [copies] = spool_folder.glob("*/*/*/")
        assert len(list(copies.iterdir())) == len([file for file in folder.rglob("*") if file.is_file()])

    assert list(spool_folder.iterdir()) == []


def test_parts_go_up_side_by_side(standin: StandIn, folder: Path) -> None:
    standin.part_bytes = 1_000_000
    standin.faults["PUT"].extend([Fault(status=503), Fault(cut_before=True)])

    with runstone.start_run() as run:
        run.log_artifact(folder / "sub" / "b.bin")

    assert stored(standin) == {"b.bin": (folder / "sub" / "b.bin").read_bytes()}
    assert standin.requests.count("PUT") == 5


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=500, body="<Error><Code>InternalError</Code></Error>"),
        Fault(status=400, body="<Error><Code>RequestTimeout</Code></Error>"),
        Fault(cut_before=True),
        Fault(cut_after=True),  # the next PUT finds the object there: 412
        Fault(delay_s=0.5),
    ],
)
def test_a_put_that_fails_in_passing_is_repeated(standin: StandIn, folder: Path, fault: Fault) -> None:
    standin.faults["PUT"].append(fault)

    with runstone.start_run() as run:
        run.log_artifact(folder / "a.txt")

    assert stored(standin) == {"a.txt": b"alpha"}


@pytest.mark.parametrize("operation", ["CreateUploads", "CompleteUploads"])
def test_an_answer_that_is_lost_changes_nothing(standin: StandIn, folder: Path, operation: str) -> None:
    standin.faults[operation].extend([Fault(cut_after=True), Fault(status=503)])

    with runstone.start_run() as run:
        run.log_artifacts(folder)

    assert len(stored(standin)) == 3


@pytest.mark.parametrize("operation", ["CreateUploads", "CompleteUploads"])
def test_what_answers_in_between_costs_no_file(
    standin: StandIn, folder: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "pause_s", lambda attempt: 0.01)
    strange = [Fault(status=200, body="<html>"), Fault(status=302), Fault(status=403), Fault(status=404)]
    standin.faults[operation].extend([*strange, Fault(answer={"data": {}})])

    with runstone.start_run() as run:
        run.log_artifact(folder / "a.txt")

    assert stored(standin) == {"a.txt": b"alpha"}


def test_an_address_that_expired_is_asked_for_again(standin: StandIn, folder: Path) -> None:
    standin.faults["PUT"].extend([Fault(status=403, body="<Error><Code>AccessDenied</Code></Error>")] * 2)

    with runstone.start_run() as run:
        run.log_artifact(folder / "a.txt")

    assert stored(standin) == {"a.txt": b"alpha"}
    assert standin.requests.count("CreateUploads") == 3


def test_a_store_that_always_refuses_is_believed_in_the_end(standin: StandIn, folder: Path) -> None:
    standin.faults["PUT"].extend([Fault(status=403)] * 100)
    run = runstone.start_run()

    with pytest.raises(runstone.UploadFailed, match=r"a\.txt: the store answered 403"):
        run.log_artifact(folder / "a.txt").wait(60)
    with pytest.raises(runstone.Incomplete, match=r"a\.txt"):
        run.finish()
    assert standin.only_run.status == "FINISHED"


def test_bytes_that_the_store_refuses_fail_by_name(standin: StandIn, folder: Path) -> None:
    standin.faults["PUT"].append(Fault(status=400, body="<Error><Code>BadDigest</Code></Error>"))
    run = runstone.start_run()
    upload = run.log_artifact(folder / "a.txt")

    with pytest.raises(runstone.UploadFailed, match="BadDigest"):
        upload.wait(20)
    with pytest.raises(runstone.Incomplete, match="BadDigest"):
        run.finish()


def test_a_file_that_the_worker_finds_wrong_is_named_at_the_end(standin: StandIn, folder: Path) -> None:
    standin.bad_uploads["a.txt"] = "SIZE_MISMATCH"
    run = runstone.start_run()
    run.log_artifacts(folder)

    with pytest.raises(runstone.Incomplete, match=r"a\.txt: SIZE_MISMATCH: the bytes are wrong") as caught:
        run.finish()

    assert caught.value.finished.files == 2
    assert standin.only_run.status == "FINISHED"


def test_one_path_that_is_taken_costs_only_itself(standin: StandIn, folder: Path) -> None:
    run = runstone.start_run()
    run.log_artifact(folder / "a.txt").wait(20)
    (folder / "a.txt").write_text("other bytes")

    upload = run.log_artifacts(folder)
    with pytest.raises(runstone.ArtifactConflict, match=r"a\.txt"):
        upload.wait(20)
    with pytest.raises(runstone.Incomplete, match=r"a\.txt") as caught:
        run.finish()

    assert set(stored(standin)) == {"a.txt", "empty", "sub/b.bin"}
    assert caught.value.finished.files == 3


def test_finish_waits_while_the_server_gets_on_with_checking(standin: StandIn, folder: Path) -> None:
    standin.validating.extend([3, 2, 1])
    run = runstone.start_run()
    run.log_artifacts(folder)

    finished = run.finish()

    assert (finished.files, finished.unchecked) == (3, 0)
    assert standin.requests.count("FinishRun") == 4


def test_finish_does_not_wait_for_ever_for_files_to_be_checked(
    standin: StandIn, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    standin.validating.extend([3, 2] + [1] * 1000)
    standin.faults["FinishRun"].extend([Fault(delay_s=0.2)] * 1000)
    run = runstone.start_run()
    run.log_artifacts(folder)

    finished = run.finish(patience_s=1.0)

    assert (finished.files, finished.unchecked, finished.missing) == (3, 1, ())
    assert "still checks 1 files" in caplog.text


@pytest.mark.parametrize("named", [True, False])
def test_one_path_that_the_server_refuses_costs_only_itself(standin: StandIn, folder: Path, named: bool) -> None:
    standin.bad_paths = {"empty": named}
    run = runstone.start_run()
    run.log_artifacts(folder)

    with pytest.raises(runstone.Incomplete, match="empty: a path is bad"):
        run.finish()

    assert set(stored(standin)) == {"a.txt", "sub/b.bin"}


def test_one_upload_that_expired_costs_only_itself(standin: StandIn, folder: Path) -> None:
    standin.expired_uploads = {"a.txt"}
    run = runstone.start_run()
    run.log_artifacts(folder)

    with pytest.raises(runstone.Incomplete, match=r"a\.txt: the upload took too long"):
        run.finish()

    assert set(stored(standin)) == {"empty", "sub/b.bin"}


def test_a_large_file_that_is_gone_fails_by_name(
    standin: StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "COPY_BYTES_MAX", 0)
    run = runstone.start_run()
    run.log_artifact(folder / "a.txt")
    (folder / "a.txt").unlink()

    with pytest.raises(runstone.Incomplete, match=r"a\.txt could not be read"):
        run.finish()


def test_uploads_to_a_run_that_has_ended_elsewhere_are_reported(standin: StandIn, folder: Path) -> None:
    sealed = problem("RunSealed", "RUN_SEALED", "the run has ended", status="FAILED")
    standin.faults["CreateUploads"].append(Fault(answer={"data": {"createUploads": sealed}}))
    run = runstone.start_run()
    upload = run.log_artifacts(folder)

    with pytest.raises(runstone.RunSealed, match="has ended"):
        upload.wait(20)
    with pytest.raises(runstone.Incomplete, match="has ended") as caught:
        run.finish()
    assert len(caught.value.finished.missing) == 3


def test_an_empty_folder_is_uploaded_at_once(standin: StandIn, tmp_path: Path) -> None:
    with runstone.start_run() as run:
        run.log_artifacts(tmp_path).wait(5)

    assert standin.requests.count("CreateUploads") == 0


def test_the_same_file_again_sends_no_byte(standin: StandIn, folder: Path) -> None:
    with runstone.start_run() as run:
        run.log_artifact(folder / "a.txt").wait(20)
        run.log_artifact(folder / "a.txt").wait(20)

    assert standin.requests.count("PUT") == 1


def test_more_files_than_fit_into_a_request_take_several(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "FILES_PER_REQUEST", 20)
    for index in range(41):
        (tmp_path / f"{index}.txt").write_text("same")

    with runstone.start_run() as run:
        run.log_artifacts(tmp_path)

    assert len(stored(standin)) == 41
    assert standin.requests.count("CreateUploads") == 3


def test_a_store_that_is_away_does_not_hold_finish_for_ever(standin: StandIn, folder: Path) -> None:
    standin.faults["PUT"].extend([Fault(status=503)] * 1000)
    run = runstone.start_run()
    run.log({"loss": 1})
    run.log_artifact(folder / "a.txt")

    finished = run.finish(patience_s=2.0)

    assert finished.pending == ("1 files: not sent in time",)
    assert standin.only_run.points("loss") == [(0, 1.0)]
    assert standin.only_run.status == "RUNNING"


def test_an_estimator_comes_back_and_predicts_the_same(standin: StandIn, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)

    with runstone.start_run() as run:
        run.log_model(model, "model")
        model.coef_[:] = 0.0  # training goes on

    path = runstone.download(run.id, "model", to=tmp_path)
    back = joblib.load(path / "model.joblib")
    assert back.coef_.any()
    description = json.loads((path / "MODEL.json").read_text())
    assert description["class"] == "sklearn.linear_model._logistic.LogisticRegression"
    assert set(description["libraries"]) >= {"sklearn", "joblib", "numpy"}
    assert description["python"] == sys.version.split()[0]


def test_a_folder_is_a_model_as_it_is(standin: StandIn, folder: Path) -> None:
    with runstone.start_run() as run:
        run.log_model(folder, "models/best")

    assert set(stored(standin)) == {"models/best/a.txt", "models/best/empty", "models/best/sub/b.bin"}


def test_what_is_no_model_no_file_and_no_path_is_refused_at_the_call(standin: StandIn, folder: Path) -> None:
    with runstone.start_run() as run:
        with pytest.raises(TypeError, match="estimator"):
            run.log_model({"weights": []})
        with pytest.raises(FileNotFoundError):
            run.log_artifact(folder / "missing")
        with pytest.raises(runstone.Invalid, match="log_artifacts"):
            run.log_artifact(folder)
        with pytest.raises(runstone.Invalid, match="log_artifact for one file"):
            run.log_artifacts(folder / "a.txt")
        with pytest.raises(runstone.Invalid, match="path"):
            run.log_artifact(folder / "a.txt", "../a.txt")

    assert stored(standin) == {}


def test_a_dataset_is_known_by_its_digest(standin: StandIn, folder: Path) -> None:
    with runstone.start_run() as run:
        run.log_input("customers", path=folder / "a.txt", context="training")
        run.log_input("prices", digest="v3", uri="https://example.org/prices")
        with pytest.raises(runstone.Invalid, match="path or a digest"):
            run.log_input("nothing")

    [customers, prices] = standin.only_run.inputs
    assert customers["digest"] == f"sha256:{hashlib.sha256(b'alpha').hexdigest()}"
    assert (prices["digest"], prices["uri"]) == ("v3", "https://example.org/prices")


async def test_an_upload_can_be_awaited_but_not_waited_for_on_its_loop(standin: StandIn, folder: Path) -> None:
    async with runstone.Client() as client, client.start_run() as run:
        upload = run.log_artifact(folder / "a.txt")
        with pytest.raises(RuntimeError, match="await"):
            upload.wait()
        await upload

        assert upload.done()
        assert stored(standin) == {"a.txt": b"alpha"}


@pytest.mark.parametrize("operation", ["CreateRun", "CreateUploads", "CompleteUploads", "FinishRun"])
def test_a_mutation_that_answers_unavailable_is_asked_again(standin: StandIn, folder: Path, operation: str) -> None:
    field = operation[0].lower() + operation[1:]
    away = problem("Unavailable", "UNAVAILABLE", "the database does not answer now", retryable=True)
    standin.faults[operation].append(Fault(answer={"data": {field: away}}))

    with runstone.start_run() as run:
        run.log_artifact(folder / "a.txt")

    assert stored(standin) == {"a.txt": b"alpha"}
    assert standin.requests.count(operation) == 2
