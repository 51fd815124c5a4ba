"""Exports when parts fail: one is complete or it is not there, and nothing is left behind."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from db import access, exports, ids
from db.access import Role, Scope
from db.errors import Conflict, Invalid, QuotaExceeded
from db.exports import Asked, Claim, Export, ExportFailureReason, ExportState, ExportTable, File
from db.metrics import Columns, Recorder, open_recorder
from db.runs import Selection
from storage.store import StoreError
from tests.workers.conftest import PATIENCE_S, Place
from workers import exports as exporting
from workers import parquet, queue

RUNS_MAX = 1_000


@pytest_asyncio.fixture
async def recorder(place: Place) -> AsyncIterator[Recorder]:
    """The door for points."""
    assert place.settings.database_url is not None
    async with open_recorder(place.pool, place.settings.database_url, statement_timeout_s=20) as opened:
        yield opened


def asked(place: Place, *tables: ExportTable) -> Asked:
    """An export of the whole project."""
    new_id = ids.new()
    return Asked(new_id, Selection(project_id=place.project_id), list(tables or ExportTable), f"{new_id} {tables}")


async def started(place: Place, *tables: ExportTable, scope: Scope | None = None) -> Export:
    """An export of the whole project that waits for a worker."""
    return await exports.start(place.pool, scope or place.scope, asked(place, *tables), runs_max=RUNS_MAX)


async def claimed(place: Place) -> Claim:
    """The export that waits, as a worker claims it."""
    [claim] = await exports.claim(place.pool, 1, lease_s=45)
    return claim


async def seen(place: Place, export_id: UUID, scope: Scope | None = None) -> Export:
    """The export as it is now."""
    [export] = await exports.by_ids(place.pool, scope or place.scope, [export_id])
    assert export is not None
    return export


async def over(place: Place, export_id: UUID) -> Export:
    """The export once no worker is needed any more; until then it has no files."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            shown = await files(place, export_id)
            export = await seen(place, export_id)
            if export.finished_at is not None:
                return export
            assert shown == []
            await asyncio.sleep(0.05)


async def files(place: Place, export_id: UUID) -> list[File]:
    """The files that the asker is shown."""
    return (await exports.files(place.pool, place.scope, [export_id]))[export_id]


async def stored(place: Place) -> list[str]:
    """The keys of everything that the store has of this test."""
    prefix = place.store.settings.prefix
    found = await place.store._client.list_objects_v2(Bucket=place.store.settings.bucket, Prefix=prefix)
    return sorted(item["Key"] for item in found.get("Contents", []))


async def rows(place: Place, export_id: UUID, table: ExportTable) -> pa.Table:
    """The rows of a table, from all its files."""
    signer = await place.store.signer()
    parts = []
    for file in await files(place, export_id):
        if file.of_table is table:
            body = (await place.http.get(signer.get(file.object_key, file.name).url)).content
            assert len(body) == file.size_bytes
            parts.append(pq.read_table(io.BytesIO(body)))
            assert parts[-1].num_rows == file.rows
    return pa.concat_tables(parts)


@pytest.mark.parametrize("failpoint", ["export.after_file", "export.after_files_before_db"])
async def test_export_of_a_killed_worker_is_whole_or_begins_anew(place: Place, failpoint: str) -> None:
    first = await place.worker_process(failpoint)
    export = await started(place)
    await queue.wake(place.redis, "exports")
    await first.wait()
    assert len(await stored(place)) >= 1
    assert await files(place, export.id) == []
    await place.pool.execute("update export set next_at = now() where state = 'RUNNING'")

    async with place.working():
        export = await over(place, export.id)

    assert export.state == ExportState.READY
    assert (await rows(place, export.id, ExportTable.RUNS))["run_id"].to_pylist() == [str(place.run_id)]
    assert await stored(place) == sorted(file.object_key for file in await files(place, export.id))


async def test_claim_that_was_lost_changes_nothing(place: Place) -> None:
    export = await started(place, ExportTable.RUNS)
    slow = await claimed(place)
    await place.pool.execute("update export set next_at = now()")
    await exporting.write(place.deps, await claimed(place))
    ready = await seen(place, export.id)

    assert not await exports.advance(place.pool, slow, 0, 0, lease_s=45)
    assert not await exports.finish(place.pool, slow, 0, 0, [], expiry_s=60)
    assert not await exports.fail(place.pool, slow, ExportFailureReason.POISON, "late", expiry_s=60)
    assert await seen(place, export.id) == ready


async def test_export_waits_for_a_store_that_is_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    export = await started(place, ExportTable.RUNS)

    async def away(*_: object) -> None:
        raise StoreError("the store does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(type(place.store), "delete_all", away)
        for _ in range(exporting.ATTEMPTS_MAX + 1):
            await exporting.write(place.deps, await claimed(place))
            await place.pool.execute("update export set next_at = now()")
    await exporting.write(place.deps, await claimed(place))

    assert (await seen(place, export.id)).state == ExportState.READY


@pytest.mark.parametrize(
    ("then", "now", "state"),
    [
        (Role.VIEWER, Role.EDITOR, ExportState.READY),
        (Role.VIEWER, Role.LOGGER, ExportState.FAILED),
        (Role.LOGGER, Role.LOGGER, ExportState.READY),
        (Role.EDITOR, None, ExportState.FAILED),
    ],
)
async def test_role_is_asked_again_when_the_work_begins(
    place: Place, then: Role, now: Role | None, state: ExportState
) -> None:
    scope = await place.member(then)
    export = await started(place, ExportTable.RUNS, scope=scope)
    if now is None:
        await place.pool.execute("delete from membership where account_id = $1", scope.account_id)
    else:
        await access.grant(place.pool, place.project_id, scope.account_id, now)

    await exporting.write(place.deps, await claimed(place))

    export = await seen(place, export.id)
    assert (export.state, export.failure_reason) == (
        state,
        ExportFailureReason.FORBIDDEN if state is ExportState.FAILED else None,
    )
    if then is Role.VIEWER:  # what it was shown as a viewer, it is not shown as a logger
        lesser = Scope(scope.account_id, "someone", False, {place.project_id: Role.LOGGER})
        assert await exports.by_ids(place.pool, lesser, [export.id]) == [None]
        assert await exports.files(place.pool, lesser, [export.id]) == {export.id: []}


async def test_same_request_again_is_the_same_export(place: Place) -> None:
    request = asked(place, ExportTable.RUNS)
    first = await exports.start(place.pool, place.scope, request, runs_max=RUNS_MAX)
    other = replace(request, request="another")

    assert await exports.start(place.pool, place.scope, request, runs_max=0) == first
    with pytest.raises(Conflict):
        await exports.start(place.pool, place.scope, other, runs_max=RUNS_MAX)
    with pytest.raises(Conflict):
        await exports.start(place.pool, await place.member(Role.OWNER), request, runs_max=RUNS_MAX)


async def test_what_is_too_much_is_refused(place: Place, recorder: Recorder) -> None:
    with pytest.raises(Invalid) as caught:
        await exports.start(place.pool, place.scope, asked(place), runs_max=0)
    assert caught.value.limit == "0 runs in an export"
    many = [asyncio.create_task(started(place, ExportTable.POINTS)) for _ in range(exports.AT_ONCE_MAX + 2)]
    done = await asyncio.gather(*many, return_exceptions=True)
    assert [type(each) for each in done].count(QuotaExceeded) == 2
    await started(place, ExportTable.POINTS, scope=await place.member(Role.VIEWER))

    await recorder.append(place.scope, place.run_id, uuid4(), [block(0, 11)])
    deps = replace(place.deps, settings=replace(place.settings, export_points_max=10))
    claim = await claimed(place)
    await exporting.write(deps, claim)

    export = await seen(place, claim.id)
    assert export.failure_reason == ExportFailureReason.TOO_LARGE
    assert await stored(place) == []
    await started(place, ExportTable.RUNS)


async def test_old_exports_are_deleted(place: Place) -> None:
    export = await started(place, ExportTable.RUNS)
    await exporting.write(place.deps, await claimed(place))
    await exporting.expire(place.deps)
    assert (await seen(place, export.id)).state == ExportState.READY
    assert len(await stored(place)) == 2

    await place.pool.execute("update export set expires_at = now() - interval '1 second'")
    await exporting.expire(place.deps)

    assert (await seen(place, export.id)).state == ExportState.EXPIRED
    assert await stored(place) == []
    assert await exports.uncleared(place.pool, 10) == []


async def test_large_tables_become_several_files_of_several_parts(
    place: Place, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(parquet, "FILE_BYTES", 11 << 19)
    writer_id = uuid4()
    values = []
    for seq in range(90):
        sent = block(seq, 10_000)
        values.append(sent.values)
        await recorder.append(place.scope, place.run_id, writer_id, [sent])
    export = await started(place, ExportTable.POINTS)

    await exporting.write(place.deps, await claimed(place))

    names = [file.name for file in await files(place, export.id)]
    assert names == ["points-00001.parquet", "points-00002.parquet", "manifest.json"]
    points = await rows(place, export.id, ExportTable.POINTS)
    assert points["step"].to_pylist() == list(range(900_000))
    assert points["value"].to_numpy().tobytes() == b"".join(values)
    assert (await seen(place, export.id)).points == 900_000


def block(seq: int, count: int) -> Columns:
    """Points that no compression makes small."""
    steps = np.arange(seq * count, (seq + 1) * count, dtype="<i8")
    values = np.random.default_rng(seq).normal(size=count).astype("<f8")
    return Columns(seq, ("loss",), steps.tobytes(), steps.tobytes(), values.tobytes())
