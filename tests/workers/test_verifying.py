"""Artifacts end to end: whatever a client, a store or a worker does, READY means the promised bytes."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace

import asyncpg
import pytest

from db import artifacts, errors, ids, runs, uploads
from db.access import Action, Role
from db.artifacts import Artifact, ArtifactState, FailureReason
from db.errors import ArtifactConflict, NotFound, UploadExpired
from storage.store import Found, Part, Store, open_store
from tests.workers.conftest import Place, says
from workers import artifacts as verifying
from workers import sweep

BODY = b"weights" * 100
MIB = 1024 * 1024
PART = 5 * MIB
LARGE = os.urandom(11 * MIB)


def failed(artifact: Artifact, reason: FailureReason) -> bool:
    """Whether the artifact failed so and says why."""
    return artifact.state == "FAILED" and artifact.failure_reason == reason and bool(artifact.failure_message)


@pytest.mark.parametrize("body", [b"", BODY], ids=["empty", "small"])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "staged"])
async def test_promised_bytes_become_ready(place: Place, body: bytes, direct: bool) -> None:
    artifact = await place.verified(await place.uploaded("model/weights.bin", body, direct=direct))
    assert artifact.state == "READY"
    assert await place.bytes_of(artifact) == body
    assert await place.store.stale_stagings(-60) == []


@pytest.mark.parametrize("sent", [BODY[:-1], BODY + b"!", b"W" + BODY[1:], None])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "staged"])
async def test_other_bytes_never_become_ready(place: Place, sent: bytes | None, direct: bool) -> None:
    upload = await place.create("weights.bin", BODY, direct=direct)
    if sent is not None:
        await place.send(upload, sent)
    await place.complete(upload)
    artifact = await place.verified(upload)
    same_length = sent is not None and len(sent) == len(BODY)
    assert failed(artifact, FailureReason.DIGEST_MISMATCH if same_length and not direct else FailureReason.MISSING)
    assert artifact.object_key is None


async def test_store_that_takes_any_length_is_caught(place: Place) -> None:
    upload = await place.create("weights.bin", BODY, direct=False)
    assert await place.send(upload, BODY + b"!", any_length=True) == 200
    await place.complete(upload)
    assert failed(await place.verified(upload), FailureReason.SIZE_MISMATCH)


async def test_object_that_says_another_digest_is_caught(place: Place) -> None:
    upload = await place.create("weights.bin", BODY)
    other = await place.create("other.bin", b"W" + BODY[1:], direct=False)
    request = await place.request(upload)
    staged = await place.request(other)
    await place.send(other, b"W" + BODY[1:])
    await place.store.copy(staged.key, request.key, other.artifact.digest, len(BODY))
    await place.complete(upload)
    assert failed(await place.verified(upload), FailureReason.DIGEST_MISMATCH)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "staged"])
async def test_replayed_upload_cannot_change_a_ready_artifact(place: Place, direct: bool) -> None:
    async with place.working():
        upload = await place.uploaded("weights.bin", BODY, direct=direct)
        ready = await place.final(upload)

        statuses = [await place.send(upload, BODY), await place.send(upload, b"W" + BODY[1:])]

        assert all(status >= 400 for status in statuses) is direct
        assert await place.complete(upload) == ready
        assert await place.bytes_of(ready) == BODY


async def test_failed_path_can_be_uploaded_again(place: Place) -> None:
    async with place.working():
        first = await place.create("weights.bin", BODY)
        await place.complete(first)
        assert failed(await place.final(first), FailureReason.MISSING)

        second = await place.uploaded("weights.bin", BODY)

        assert (await place.final(second)).state == "READY"
        [shown] = await artifacts.by_paths(place.pool, place.scope, [(place.run_id, "weights.bin")])
        assert shown is not None
        assert shown.id == second.artifact.id
        assert await artifacts.count(place.pool, place.scope, place.run_id) == 2


async def test_same_file_again_is_the_same_upload(place: Place) -> None:
    first = await place.create("weights.bin", BODY)
    second = await place.create("weights.bin", BODY)
    assert second.artifact == first.artifact
    assert second.sending is not None

    await place.send(first, BODY)
    await place.complete(first)
    third = await place.create("weights.bin", BODY)
    assert third.artifact.state == "VALIDATING"
    assert third.sending is None

    with pytest.raises(ArtifactConflict):
        await place.create("weights.bin", BODY + b"!")


async def test_two_who_race_for_a_path_get_one_upload(place: Place) -> None:
    found = await asyncio.gather(*(place.create("weights.bin", BODY) for _ in range(4)))
    assert len({upload.artifact.id for upload in found}) == 1


async def test_known_bytes_need_not_be_sent_again(place: Place) -> None:
    await place.verified(await place.uploaded("weights.bin", BODY))
    again = await place.create("copy.bin", BODY, run_id=await place.run())
    assert again.sending is None
    assert again.artifact.state == "READY"
    assert await place.bytes_of(again.artifact) == BODY


async def test_logger_learns_nothing_about_bytes_it_does_not_have(place: Place) -> None:
    logger = await place.member(Role.LOGGER)
    run_id = await place.run(logger)
    async with place.working():
        await place.final(await place.uploaded("secret.bin", BODY))

        claim = await place.create("guess.bin", BODY, scope=logger, run_id=run_id)
        assert claim.sending is not None
        assert claim.sending.staging_key is not None
        await place.complete(claim)
        assert failed(await place.final(claim), FailureReason.MISSING)

        honest = await place.create("mine.bin", BODY, scope=logger, run_id=run_id)
        assert await place.send(honest, BODY) == 200
        await place.complete(honest)
        assert (await place.final(honest)).state == "READY"
    with pytest.raises(NotFound):
        await place.create("intruder.bin", BODY, scope=logger)


async def test_parts_become_one_artifact(place: Place) -> None:
    upload = await place.create("large.bin", LARGE, part_bytes=PART)
    parts = await send_parts(place, upload, LARGE)
    await place.complete(upload, parts)
    artifact = await place.verified(upload)
    assert artifact.state == "READY"
    assert await place.bytes_of(artifact) == LARGE
    assert await place.store.stale_stagings(-60) == []
    assert await place.store.stale_multiparts(-60) == []


async def test_part_replaced_after_the_report_is_caught(place: Place) -> None:
    upload = await place.create("large.bin", LARGE, part_bytes=PART)
    parts = await send_parts(place, upload, LARGE)
    await place.send_part(upload, 3, LARGE[: len(LARGE) - 2 * PART])
    await place.complete(upload, parts)
    assert failed(await place.verified(upload), FailureReason.DIGEST_MISMATCH)
    assert await place.store.stale_multiparts(-60) == []


async def test_replaced_part_without_a_report_is_caught(place: Place) -> None:
    upload = await place.create("large.bin", LARGE, part_bytes=PART)
    await send_parts(place, upload, LARGE)
    await place.send_part(upload, 3, LARGE[: len(LARGE) - 2 * PART])
    await place.complete(upload)
    assert failed(await place.verified(upload), FailureReason.DIGEST_MISMATCH)


@pytest.mark.parametrize("is_early", [True, False], ids=["before", "after"])
async def test_part_replaced_while_the_worker_joins_is_caught(place: Place, is_early: bool) -> None:
    upload = await place.create("large.bin", LARGE, part_bytes=PART)
    await place.complete(upload, await send_parts(place, upload, LARGE))

    class Raced(Store):
        async def join(self, key: str, multipart_id: str, parts: Sequence[Part]) -> None:
            if is_early:
                await place.send_part(upload, 3, LARGE[: len(LARGE) - 2 * PART])
            await super().join(key, multipart_id, parts)
            if not is_early:
                await place.send_part(upload, 3, LARGE[: len(LARGE) - 2 * PART])

    assert failed(await place.verified(upload, place.like_store(Raced)), FailureReason.DIGEST_MISMATCH)


async def test_missing_part_is_named(place: Place) -> None:
    upload = await place.create("large.bin", LARGE, part_bytes=PART)
    await place.send_part(upload, 1, LARGE[:PART])
    await place.send_part(upload, 3, LARGE[2 * PART :])
    await place.complete(upload)
    artifact = await place.verified(upload)
    assert failed(artifact, FailureReason.MISSING)
    assert artifact.failure_message == "part 2 of 3 never arrived"


async def test_part_of_other_size_is_named(place: Place) -> None:
    upload = await place.create("large.bin", LARGE, part_bytes=PART)
    await send_parts(place, upload, LARGE + b"!")
    await place.complete(upload)
    artifact = await place.verified(upload)
    assert failed(artifact, FailureReason.SIZE_MISMATCH)
    assert artifact.failure_message is not None
    assert artifact.failure_message.startswith("part 3 has")


async def send_parts(place: Place, upload: uploads.Upload, body: bytes) -> dict[int, str]:
    pieces = [body[:PART], body[PART : 2 * PART], body[2 * PART :]]
    return {number: await place.send_part(upload, number, piece) for number, piece in enumerate(pieces, start=1)}


async def test_one_multipart_is_kept_of_two_that_race(place: Place) -> None:
    upload = await place.create("large.bin", LARGE, part_bytes=PART)
    assert upload.sending is not None
    assert await uploads.start_multipart(place.pool, upload.artifact.id, "another") == upload.sending.multipart_id


async def test_older_claim_changes_nothing(place: Place) -> None:
    upload = await place.uploaded("weights.bin", BODY)
    first = await place.claimed(upload)
    assert await uploads.claim(place.pool, 1, lease_s=45) == []
    await place.lease_ends(upload)
    second = await place.claimed(upload)
    assert second.fence > first.fence

    assert not await uploads.finalize(place.pool, first, "elsewhere")
    assert not await uploads.fail(place.pool, first, FailureReason.MISSING, "too late")
    assert not await uploads.renew(place.pool, first, lease_s=45)
    await uploads.release(place.pool, first, delay_s=0, counts=True)
    assert await uploads.claim(place.pool, 1, lease_s=45) == []
    assert await uploads.renew(place.pool, second, lease_s=45)
    assert await uploads.finalize(place.pool, second, "key")
    assert (await place.artifact(upload)).object_key == "key"


async def test_two_workers_at_once_finalize_once(place: Place) -> None:
    upload = await place.uploaded("weights.bin", BODY, direct=False)
    first = await place.claimed(upload)
    await place.lease_ends(upload)
    second = await place.claimed(upload)

    await asyncio.gather(verifying.finalize(place.deps, first), verifying.finalize(place.deps, second))
    await verifying.finalize(place.deps, first)

    artifact = await place.artifact(upload)
    assert artifact.state == "READY"
    assert await place.bytes_of(artifact) == BODY


async def test_work_stops_when_its_claim_is_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = await place.uploaded("weights.bin", BODY)
    first = await place.claimed(upload)
    await place.lease_ends(upload)
    second = await place.claimed(upload)
    monkeypatch.setattr(verifying, "RENEW_S", 0.05)

    class Endless(Store):
        async def find(self, key: str) -> Found | None:
            await asyncio.sleep(3600)
            return None

    async with asyncio.timeout(5):
        await verifying.finalize(replace(place.deps, store=place.like_store(Endless)), first)

    assert (await place.artifact(upload)).state == "VALIDATING"
    await verifying.finalize(place.deps, second)
    assert (await place.artifact(upload)).state == "READY"


async def test_claim_is_renewed_while_the_work_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = await place.uploaded("weights.bin", BODY)
    monkeypatch.setattr(verifying, "RENEW_S", 0.05)
    monkeypatch.setattr(verifying, "LEASE_S", 0.5)
    [claim] = await verifying.claim(place.deps, 1)

    class Slow(Store):
        async def find(self, key: str) -> Found | None:
            await asyncio.sleep(1.5)
            return await super().find(key)

    working = asyncio.create_task(verifying.finalize(replace(place.deps, store=place.like_store(Slow)), claim))
    while not working.done():
        assert await verifying.claim(place.deps, 1) == []
        await asyncio.sleep(0.1)
    await working
    assert (await place.artifact(upload)).state == "READY"


async def test_work_that_always_crashes_is_given_up(place: Place) -> None:
    poisoned = await place.uploaded("poison.bin", BODY)
    for _ in range(verifying.ATTEMPTS_MAX):
        await place.claimed(poisoned)
        await place.lease_ends(poisoned)
    healthy = await place.uploaded("healthy.bin", BODY[::-1])
    async with place.working():
        assert failed(await place.final(poisoned), FailureReason.POISON)
        assert (await place.final(healthy)).state == "READY"


async def test_fault_of_ours_is_tried_again_later(place: Place) -> None:
    upload = await place.uploaded("weights.bin", BODY)

    class Broken(Store):
        async def find(self, key: str) -> Found | None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await place.verified(upload, place.like_store(Broken))
    await place.lease_ends(upload)
    assert (await place.claimed(upload)).attempts == 2


async def test_store_that_is_away_is_waited_for(place: Place) -> None:
    upload = await place.uploaded("weights.bin", BODY)
    dead_settings = replace(place.store.settings, endpoint_url="http://127.0.0.1:9")
    async with open_store(dead_settings) as dead:
        deps = replace(place.deps, store=dead)
        await verifying.finalize(deps, await place.claimed(upload))
        assert (await place.artifact(upload)).state == "VALIDATING"
        await place.lease_ends(upload)
        claim = await place.claimed(upload)
        assert claim.attempts == 1, "an absent store is nobody's failed attempt"

        await verifying.finalize(deps, replace(claim, is_overdue=True))

    assert failed(await place.artifact(upload), FailureReason.STORAGE)


async def test_upload_that_was_abandoned_expires(place: Place) -> None:
    upload = await place.create("weights.bin", BODY, expiry_s=0)
    fresh = await place.create("fresh.bin", BODY)
    with pytest.raises(UploadExpired):
        await place.complete(upload)
    await sweep.expire_uploads(place.deps)
    assert failed(await place.artifact(upload), FailureReason.EXPIRED)
    assert (await place.artifact(fresh)).state == "PENDING"
    with pytest.raises(UploadExpired):
        await place.complete(upload)


async def test_asking_again_extends_the_time(place: Place) -> None:
    upload = await place.create("weights.bin", BODY, expiry_s=0)
    await place.create("weights.bin", BODY)
    await sweep.expire_uploads(place.deps)
    assert await place.send(upload, BODY) == 200
    assert (await place.complete(upload)).state == "VALIDATING"


async def test_aborted_upload_is_over(place: Place) -> None:
    upload = await place.create("weights.bin", BODY)
    aborted = await uploads.abort(place.pool, place.scope, upload.artifact.id)
    assert failed(aborted, FailureReason.ABORTED)
    assert await uploads.abort(place.pool, place.scope, upload.artifact.id) == aborted
    with pytest.raises(UploadExpired):
        await place.complete(upload)


async def test_upload_that_was_completed_cannot_be_aborted(place: Place) -> None:
    upload = await place.uploaded("weights.bin", BODY)
    assert (await uploads.abort(place.pool, place.scope, upload.artifact.id)).state == "VALIDATING"


async def test_ended_run_takes_nothing_more_but_what_was_reported(place: Place) -> None:
    reported = await place.uploaded("reported.bin", BODY)
    sent = await place.create("sent.bin", BODY + b"2")
    await place.send(sent, BODY + b"2")

    await place.finish_run()

    for late in (place.create("late.bin", b"late"), place.complete(sent)):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await late
        assert isinstance(errors.known(refused.value), errors.RunSealed)
    assert await artifacts.wait_settled(place.pool, place.run_id, 0.1) == 1
    async with place.working():
        assert (await place.final(reported)).state == "READY"
        assert failed(await place.final(sent), FailureReason.EXPIRED)
    assert await artifacts.wait_settled(place.pool, place.run_id, 5) == 0


async def test_new_attempt_takes_over_what_the_last_one_left(place: Place) -> None:
    left = await place.create("weights.bin", BODY)
    await place.finish_run()
    await runs.resume(place.pool, place.scope, place.run_id, ids.new(), None, None)

    again = await place.create("weights.bin", BODY + b"!")

    assert again.artifact.attempt == 2
    assert failed(await place.artifact(left), FailureReason.EXPIRED)


async def test_silent_run_is_lost(place: Place) -> None:
    await place.pool.execute("update attempt set heartbeat_at = now() - interval '1 hour'")
    await sweep.lose_runs(place.deps)
    run = await runs.get(place.pool, place.scope, Action.READ, place.run_id)
    assert run.status == "LOST"


async def test_leftovers_are_deleted_and_nothing_else(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await place.create("kept.bin", BODY, direct=False)
    await place.send(kept, BODY)
    kept_parts = await place.create("parts.bin", LARGE, part_bytes=PART)
    left = await place.create("left.bin", b"left", direct=False)
    await place.send(left, b"left")
    left_parts = await place.create("left-parts.bin", LARGE + b"!", part_bytes=PART)
    for upload in (left, left_parts):
        await uploads.abort(place.pool, place.scope, upload.artifact.id)

    theirs = f"{place.store.settings.prefix}/staging/quarterly-report.csv"
    assert kept.sending is not None
    assert kept.sending.staging_key is not None
    await place.store.copy(kept.sending.staging_key, theirs, kept.artifact.digest, len(BODY))

    await sweep.delete_leftovers(place.deps)
    assert len(await place.store.stale_stagings(-60)) == 2, "a late worker may still need what is young"
    monkeypatch.setattr(sweep, "LEFTOVER_S", -60)
    await sweep.delete_leftovers(place.deps)

    assert kept_parts.sending is not None
    assert await place.store.find(theirs) is not None, "the bucket may hold what belongs to others"
    assert await place.store.stale_stagings(-60) == [kept.sending.staging_key]
    assert await place.store.stale_multiparts(-60) == [
        (kept_parts.sending.staging_key, kept_parts.sending.multipart_id)
    ]


@pytest.mark.parametrize("failpoint", ["worker.after_claim", "worker.during_hash", "worker.after_copy_before_db"])
async def test_killed_worker_leaves_its_work_to_the_next(place: Place, failpoint: str) -> None:
    upload = await place.create("large.bin", LARGE, direct=False)
    assert await place.send(upload, LARGE) == 200
    doomed = await place.worker_process(failpoint)
    await place.complete(upload)
    async with asyncio.timeout(30):
        assert await doomed.wait() == -signal.SIGKILL
    assert (await place.artifact(upload)).state == "VALIDATING"

    await place.lease_ends(upload)
    async with place.working():
        artifact = await place.final(upload)

    assert artifact.state == "READY"
    assert await place.bytes_of(artifact) == LARGE


async def test_worker_killed_after_the_commit_has_done_its_work(place: Place) -> None:
    upload = await place.uploaded("weights.bin", BODY)
    doomed = await place.worker_process("worker.after_commit_before_job_done")
    async with asyncio.timeout(30):
        assert await doomed.wait() == -signal.SIGKILL
    ready = await place.artifact(upload)
    assert ready.state == "READY"
    async with place.working():
        assert await uploads.claim(place.pool, 1, lease_s=45) == []
    assert await place.artifact(upload) == ready


async def test_stopped_worker_lets_its_work_go_at_once(place: Place) -> None:
    upload = await place.create("large.bin", LARGE, direct=False)
    await place.send(upload, LARGE)
    worker = await place.worker_process("worker.during_hash", "delay 3600")
    await place.complete(upload)
    await says(worker, "worker.during_hash is reached")

    worker.send_signal(signal.SIGTERM)

    async with asyncio.timeout(8):
        assert await worker.wait() == 0
    assert (await place.claimed(upload)).attempts == 1, "a claim that was let go does not count"


CHANGES = [
    "update artifact set state = 'FAILED', failure_reason = 'MISSING', failure_message = 'x' where state = 'READY'",
    "update artifact set digest = sha256('x') where state = 'READY'",
    "update artifact set state = 'READY', failure_reason = null, failure_message = null where state = 'FAILED'",
    "update artifact set path = 'elsewhere'",
    "update artifact set run_id = run_id, attempt = 2",
    "update artifact set state = 'PENDING' where state = 'VALIDATING'",
    "update artifact set state = 'READY', finalized_at = now() where state = 'PENDING'",
    "update artifact set state = 'READY', finalized_at = now() where state = 'VALIDATING'",
    "delete from artifact",
    "delete from upload",
    "update upload set state = 'SENDING' where state = 'CHECKING'",
    "update upload set fence = fence - 1 where state = 'CHECKING'",
    "update upload set staging_key = 'elsewhere'",
    "delete from object",
    "update object set object_key = 'elsewhere'",
]


async def test_database_refuses_to_rewrite_artifacts(place: Place) -> None:
    await place.verified(await place.uploaded("ready.bin", BODY))
    missing = await place.create("failed.bin", b"never sent")
    await place.complete(missing)
    await place.verified(missing)
    await place.create("pending.bin", b"pending")
    await place.uploaded("validating.bin", b"validating")
    for change in CHANGES:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await place.pool.execute(change)


async def test_states_of_artifacts_are_listed_by_path(place: Place) -> None:
    for path in ("b/2", "b/10", "a", "c"):
        await place.create(path, path.encode())
    await place.complete(await place.create("c", b"c"))

    pages = await artifacts.page(place.pool, place.scope, place.run_id, after=None, limit=3)
    assert [artifact.path for artifact in pages] == ["a", "b/10", "b/2"]
    rest = await artifacts.page(place.pool, place.scope, place.run_id, after=(pages[-1].path, pages[-1].id), limit=3)
    assert [artifact.path for artifact in rest] == ["c"]
    below = await artifacts.page(place.pool, place.scope, place.run_id, prefix="b/", after=None, limit=9)
    assert [artifact.path for artifact in below] == ["b/10", "b/2"]
    waiting = await artifacts.page(
        place.pool, place.scope, place.run_id, states=[ArtifactState.VALIDATING], after=None, limit=9
    )
    assert [artifact.path for artifact in waiting] == ["c"]
    assert await artifacts.count(place.pool, place.scope, place.run_id, prefix="b/") == 2
