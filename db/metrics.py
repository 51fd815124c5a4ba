"""Metrics: how points get in. Each batch is stored once, however often it is sent."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NoReturn
from uuid import UUID

import asyncpg
import numpy as np

from db import access, chunks, closings, ids, runs, texts
from db.access import Action, Scope
from db.blocks import Batch, Block, content_sha256, keys_sha256
from db.closings import Closed, Closing
from db.committer import Committer, Outcome, open_committer
from db.errors import Invalid, NotFound, RunSealed, SeqConflict, Unavailable
from db.groups import Bounds, Groups, open_groups
from db.memory import Memory
from db.pool import FEW_ROWS_PLANS, Conn, Pool, open_pool
from db.runs import Beginning, Ended, Ending, FinalStatus, Run, Start

POINTS_PER_BATCH_MAX: Final = 10_000
KEYS_PER_RUN_MAX: Final = 10_000
INT64_MAX: Final = 2**63 - 1
TIME_MS_MAX: Final = 253_402_300_799_999  # the last millisecond of the year 9999
TRIES_MAX: Final = 5
RUN_PATH: Final = "input.runId"


@dataclass(slots=True)  # these are not frozen, which would take three times as long: there is one for each step
class Columns:
    """A block as it is given: little-endian int64 `steps` and `times` (Unix ms) and float64 `values`, key by key.

    `seq` counts the blocks of a writer from 0.
    """

    seq: int
    keys: tuple[str, ...]
    steps: bytes
    times: bytes
    values: bytes


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric at a step."""

    key: str
    step: int
    time_ms: int
    value: float


@dataclass(slots=True)
class Appended:
    """What was acknowledged: the writer's next block has the seq `next_seq`, and its attempt is to stop or is not."""

    run_id: UUID
    writer_id: UUID
    next_seq: int
    points: int
    stop_requested: bool


@dataclass(frozen=True, slots=True)
class Keyset:
    """A row of `keyset`."""

    id: int
    sha256: bytes


@asynccontextmanager
async def open_recorder(
    pool: Pool, url: str, *, statement_timeout_s: int, on_stored: Callable[[UUID], None] = lambda _: None
) -> AsyncIterator["Recorder"]:
    """A recorder that writes through connections of its own and asks its questions of `pool`.

    It calls `on_stored` with the id of each run that has new points; that must not take long.
    """
    bounds = Bounds(
        gather_s=0.005,
        timeout_s=statement_timeout_s + 5,
        waiting_max=4_000,
        waiting_bytes_max=64 * 1024 * 1024,
        group_max=50,
        group_bytes_max=1024 * 1024,
    )
    async with (
        open_pool(url, size_max=3, statement_timeout_s=statement_timeout_s, name="runs", plans=FEW_ROWS_PLANS) as own,
        open_groups(own, runs.begin, bounds, what="new runs") as beginnings,
        open_groups(own, runs.end, bounds, what="ends of runs") as endings,
        open_groups(own, closings.close, bounds, what="last points of runs") as closers,
        open_committer(url, statement_timeout_s=statement_timeout_s) as committer,
    ):
        yield Recorder(pool, beginnings, committer, endings, closers, on_stored)


class Recorder:
    """Begins runs, takes their points and ends them; it remembers what everyone would ask again.

    What comes at once goes into the database together.
    """

    def __init__(
        self,
        pool: Pool,
        beginnings: Groups[Beginning, Run | None],
        committer: Committer,
        endings: Groups[Ending, Ended | None],
        closings: Groups[Closing, Closed | None],
        on_stored: Callable[[UUID], None],
    ) -> None:
        self._pool = pool
        self._beginnings = beginnings
        self._committer = committer
        self._endings = endings
        self._closings = closings
        self._on_stored = on_stored
        self._projects: Memory[str, UUID] = Memory(10_000)
        self._owners: Memory[UUID, tuple[UUID, UUID]] = Memory(50_000)
        self._keysets: Memory[tuple[str, ...], Keyset] = Memory(1_000_000)
        self._free_writers: Memory[tuple[UUID, UUID], list[tuple[UUID, int]]] = Memory(10_000)

    async def start(self, scope: Scope, asked: Start) -> tuple[Run, bool]:
        """As `runs.start`."""
        run, created = await self._begin(scope, asked), True
        if run is None:
            run, created = await runs.start(self._pool, scope, asked)
            self._projects.put(asked.project, run.project_id)
        self._owners.put(run.id, (run.project_id, run.created_by))
        return run, created

    async def _begin(self, scope: Scope, asked: Start) -> Run | None:
        """The new run; None when something is not as usual, which `runs.start` will find out."""
        project_id = self._projects.get(asked.project)
        if project_id is None or not access.allows(scope, Action.START, project_id):
            return None
        if asked.parent_id is not None:
            parent = self._owners.get(asked.parent_id)
            if parent is None or parent[0] != project_id or not access.allows(scope, Action.READ, *parent):
                return None
        return await self._beginnings.ask(Beginning(asked, project_id, scope.account_id), asked.size_bytes)

    async def finish(
        self, scope: Scope, run_id: UUID, status: FinalStatus, client_finished_at: datetime | None
    ) -> Ended:
        """As `runs.finish`."""
        owner = self._owners.get(run_id)
        if owner is not None and access.allows(scope, Action.APPEND, *owner):
            ended = await self._endings.ask(Ending(run_id, status, client_finished_at))
            if ended is not None:
                return ended
        return await runs.finish(self._pool, scope, run_id, status, client_finished_at)

    async def append(self, scope: Scope, run_id: UUID, writer_id: UUID, given: Sequence[Columns]) -> Appended:
        """Store the blocks, all or none; blocks that the writer has stored before change nothing.

        Raises `NotFound`, `Forbidden`, `Invalid`, `SeqConflict` for a gap or for other content under a known seq,
        `RunSealed` when the writer's attempt has ended, `Unavailable` when it may be sent again.
        """
        owner = self._owners.get(run_id) or await self._owners.find(run_id, lambda: _owner(self._pool, run_id))
        if not access.allows(scope, Action.APPEND, *owner):
            access.require(scope, Action.APPEND, f"run {run_id}", *owner, path=RUN_PATH)
        if not given:
            standing = await _standing(self._pool, run_id, writer_id)
            return Appended(run_id, writer_id, standing.next_seq, 0, standing.stop_requested)
        batch, points = await self._batch(scope, run_id, writer_id, given)
        next_seq, stop_requested = await self._store(batch)
        self._on_stored(run_id)
        return Appended(run_id, writer_id, next_seq, points, stop_requested)

    async def close(
        self,
        scope: Scope,
        run_id: UUID,
        writer_id: UUID,
        given: Sequence[Columns],
        status: FinalStatus,
        client_finished_at: datetime | None,
    ) -> tuple[Appended, Ended] | None:
        """As `append` and then `finish`, in one step; None when something is not as usual: then nothing was done.

        Raises `NotFound`, `Invalid`, `Unavailable` when it may be sent again.
        """
        owner = self._owners.get(run_id) or await self._owners.find(run_id, lambda: _owner(self._pool, run_id))
        if not access.allows(scope, Action.APPEND, *owner) or not given:
            return None
        batch, points = await self._batch(scope, run_id, writer_id, given)
        closing = Closing(batch, Ending(run_id, status, client_finished_at))
        try:
            closed = await self._closings.ask(closing, closing.size_bytes)
        except asyncpg.IntegrityConstraintViolationError:
            return None
        if closed is None:
            return None
        self._on_stored(run_id)
        return Appended(run_id, writer_id, batch.next_seq, points, closed.stop_requested), closed.ended

    async def _batch(self, scope: Scope, run_id: UUID, writer_id: UUID, given: Sequence[Columns]) -> tuple[Batch, int]:
        """The blocks, checked, and how many points they have. Raises `Invalid`."""
        points = _count(given)
        blocks = []
        for index, columns in enumerate(given):
            keyset = self._keysets.get(columns.keys) or await self._keyset(columns.keys, index)
            blocks.append(_checked(columns, keyset, index))
        return Batch(run_id, writer_id, scope.account_id, tuple(blocks)), points

    async def log(self, scope: Scope, run_id: UUID, points: Sequence[Point]) -> Appended:
        """Store the points under a writer of ours; sent again, they are stored again.

        A writer that is free is used again, so that a run that is logged to in this way has few. Raises as `append`.
        """
        _check_count(len(points), "input.points")
        for index, point in enumerate(points):
            _check_point(point, index)
        blocks = _blocks_of(points)
        free = self._free_writers.get((run_id, scope.account_id))
        if free is None:
            free = []
            self._free_writers.put((run_id, scope.account_id), free)
        appended = None
        try:
            if free:
                with suppress(RunSealed):  # a new attempt may be open
                    appended = await self.append(scope, run_id, *_continued(free.pop(), blocks))
            if appended is None:
                appended = await self.append(scope, run_id, ids.new(), blocks)
        except Invalid as refused:  # the blocks are ours: their sender knows points only
            raise Invalid(refused.message, path="input.points", limit=refused.limit, hint=refused.hint) from refused
        free.append((appended.writer_id, appended.next_seq))
        return appended

    async def _keyset(self, keys: tuple[str, ...], index: int) -> Keyset:
        """The keyset of the block at this index."""
        _check_keys(keys, _path("blocks", index, "keys"))
        return await self._keysets.find(keys, lambda: _keyset(self._pool, keys), weight=len(keys))

    async def _store(self, batch: Batch) -> tuple[int, bool]:
        """The writer's next seq, and whether its attempt is to stop, when the whole batch is stored.

        Raises `Invalid` when the run would have too many keys.
        """
        rest: Batch | None = batch
        for _ in range(TRIES_MAX):
            assert rest is not None
            try:
                outcome = await self._committer.append(rest)
            except asyncpg.CheckViolationError as error:
                if error.constraint_name != "run_keys_max":
                    raise
                await self._refuse_keys(rest)
            if outcome is not Outcome.NOT_NEXT:
                return rest.next_seq, outcome is Outcome.STORED_TO_STOP
            standing = await _standing(self._pool, batch.run_id, batch.writer_id)
            rest = await _missing(self._pool, batch, standing)
            if rest is None:
                return standing.next_seq, standing.stop_requested
        raise Unavailable("other senders use the same writer", hint="send the same batch again; it is stored once")

    async def _refuse_keys(self, batch: Batch) -> NoReturn:
        """Raises `Invalid` that names the block whose keys are too many."""
        for index, block in enumerate(batch.blocks):
            await _admit(self._pool, batch.run_id, block.keyset_id, _path("blocks", index, "keys"))
        raise Unavailable("the keys of the run are changing", hint="send the same batch again; it is stored once")


def _continued(writer: tuple[UUID, int], blocks: Sequence[Columns]) -> tuple[UUID, list[Columns]]:
    """The writer, and the blocks as its next ones."""
    writer_id, next_seq = writer
    return writer_id, [replace(columns, seq=next_seq + columns.seq) for columns in blocks]


def _path(*place: str | int) -> str:
    """Where it stands in the input. It is put together for what is refused only: there are many steps."""
    return "input" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)


def _count(given: Sequence[Columns]) -> int:
    """The points of a request whose seqs follow each other. Raises `Invalid`."""
    points = 0
    for index, columns in enumerate(given):
        if not 0 <= columns.seq < INT64_MAX:
            path = _path("blocks", index, "seq")
            raise Invalid(f"{path} is {columns.seq}", path=path, limit=f"0 to {INT64_MAX - 1}")
        if columns.seq != given[0].seq + index:
            path = _path("blocks", index, "seq")
            raise Invalid(
                f"{path} is {columns.seq} after {given[index - 1].seq}",
                path=path,
                hint="the blocks of one request have consecutive seqs",
            )
        points += len(columns.values) // 8
    _check_count(points, "input.blocks")
    return points


def _check_count(points: int, path: str) -> None:
    if points > POINTS_PER_BATCH_MAX:
        raise Invalid(
            f"the request has {points} points",
            path=path,
            limit=f"{POINTS_PER_BATCH_MAX} points",
            hint="send several requests",
        )


def _checked(columns: Columns, keyset: Keyset, index: int) -> Block:
    """The block, when its columns have one length and its steps and times are in range. Raises `Invalid`."""
    n = len(columns.steps) // 8
    if n == 0 or len(columns.steps) % 8:
        path = _path("blocks", index, "steps")
        raise Invalid(f"{path} has {len(columns.steps)} bytes", path=path, hint="8 bytes a step, 1 up")
    if len(columns.times) != len(columns.steps):
        path = _path("blocks", index, "times")
        raise Invalid(
            f"{path} has {len(columns.times) // 8} entries for {n} steps", path=path, hint="send one time for each step"
        )
    if len(columns.values) != len(columns.steps) * len(columns.keys):
        path = _path("blocks", index, "values")
        raise Invalid(
            f"{path} has {len(columns.values) // 8} entries for {len(columns.keys)} keys and {n} steps",
            path=path,
            hint="send all steps of the first key, then those of the second, and so on",
        )
    _check_range(columns.steps, _check_step, "blocks", index, "steps")
    first_ms = _check_range(columns.times, _check_time, "blocks", index, "times")
    sha256 = content_sha256(keyset.sha256, columns.steps, columns.times, columns.values)
    return Block(columns.seq, keyset.id, n, first_ms, columns.steps, columns.times, columns.values, sha256)


def _check_range(column: bytes, check: Callable[..., None], *place: str | int) -> int:
    """The least of the column, when `check` accepts the least and the greatest."""
    if len(column) == 8:  # one step a block is the common case, and numpy is slow at it
        only = int.from_bytes(column, "little", signed=True)
        check(only, *place, 0)
        return only
    numbers = np.frombuffer(column, "<i8")
    for at in (numbers.argmin(), numbers.argmax()):
        check(int(numbers[at]), *place, int(at))
    return int(numbers.min())


def _check_step(step: int, *place: str | int) -> None:
    if not 0 <= step <= INT64_MAX:
        path = _path(*place)
        raise Invalid(f"{path} is {step}", path=path, limit=f"0 to {INT64_MAX}")


def _check_time(time_ms: int, *place: str | int) -> None:
    if 0 <= time_ms <= TIME_MS_MAX:
        return
    path = _path(*place)
    unit = "microseconds" if time_ms < 10**17 else "nanoseconds"
    raise Invalid(
        f"{path} is {time_ms}, which is {'before 1970' if time_ms < 0 else f'after the year 9999: {unit}?'}",
        path=path,
        limit="1970 to the year 9999",
        hint="send Unix time in milliseconds",
    )


def _check_point(point: Point, index: int) -> None:
    texts.name(point.key, _path("points", index, "key"))
    _check_step(point.step, "points", index, "step")
    _check_time(point.time_ms, "points", index, "time")


def _check_keys(keys: tuple[str, ...], path: str) -> None:
    if not 1 <= len(keys) <= KEYS_PER_RUN_MAX:
        raise Invalid(f"{path} has {len(keys)} entries", path=path, limit=f"1 to {KEYS_PER_RUN_MAX} keys")
    for index, key in enumerate(keys):
        texts.name(key, f"{path}[{index}]")
    if len(set(keys)) < len(keys):
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise Invalid(f"{path} has {twice!r} twice", path=path, hint="a block has each key once")


def _blocks_of(points: Sequence[Point]) -> list[Columns]:
    """The points of each key in the order given; keys that share their steps and times share a block."""
    by_key: dict[str, list[Point]] = {}
    for point in points:
        by_key.setdefault(point.key, []).append(point)
    by_columns: dict[tuple[bytes, bytes], list[str]] = {}
    for key, same_key in by_key.items():
        steps = np.array([point.step for point in same_key], "<i8").tobytes()
        times = np.array([point.time_ms for point in same_key], "<i8").tobytes()
        by_columns.setdefault((steps, times), []).append(key)
    blocks = []
    for seq, ((steps, times), keys) in enumerate(by_columns.items()):
        values = np.array([point.value for key in keys for point in by_key[key]], "<f8").tobytes()
        blocks.append(Columns(seq, tuple(keys), steps, times, values))
    return blocks


OWNER = """
    select project_id, created_by from run where id = $1
"""


async def _owner(conn: Conn, run_id: UUID) -> tuple[UUID, UUID]:
    row = await conn.fetchrow(OWNER, run_id)
    if row is None:
        raise NotFound(f"there is no run {run_id}", path=RUN_PATH)
    return row["project_id"], row["created_by"]


KEYSET = """
    with found as (
        select id from keyset where sha256 = $1
    ), made as (
        insert into keyset (sha256, keys)
        select $1, $2::text[] where not exists (select from found)
        on conflict (sha256) do nothing
        returning id
    )
    select id from found union all select id from made
"""


async def _keyset(conn: Conn, keys: tuple[str, ...]) -> Keyset:
    """The row of this list of keys, made when it is new."""
    sha256 = keys_sha256(keys)
    for _ in range(TRIES_MAX):  # nothing comes back when another session makes the same row now
        keyset_id = await conn.fetchval(KEYSET, sha256, keys)
        if keyset_id is not None:
            return Keyset(keyset_id, sha256)
    raise Unavailable("the keys are being stored by another request", hint="send the same batch again")


ADMIT = """
    insert into run_keyset (run_id, keyset_id)
    select run.id, $2
    from run
    join attempt on attempt.run_id = run.id and attempt.number = run.attempt
    where run.id = $1 and attempt.finished_at is null
    on conflict (run_id, keyset_id) do nothing
"""


async def _admit(conn: Conn, run_id: UUID, keyset_id: int, path: str) -> None:
    """Let the run have these keys. Raises `Invalid` at the limit."""
    try:
        await conn.execute(ADMIT, run_id, keyset_id)
    except asyncpg.CheckViolationError as error:
        if error.constraint_name != "run_keys_max":
            raise
        raise Invalid(
            "the run would have too many metric keys", path=path, limit=f"{KEYS_PER_RUN_MAX} keys in a run"
        ) from error


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a writer stands: its own run when it is known, its next seq, and the state of its attempt."""

    writer_run_id: UUID | None
    next_seq: int
    attempt: int
    status: str
    ended: bool
    stop_requested: bool


STANDING = """
    select writer.run_id as writer_run_id, coalesce(writer.next_seq, 0) as next_seq,
        attempt.number as attempt, attempt.status, attempt.finished_at is not null as ended,
        attempt.stop_requested_at is not null as stop_requested
    from run
    left join writer on writer.id = $2
    join attempt on attempt.run_id = run.id
        and attempt.number = case when writer.run_id = run.id then writer.attempt else run.attempt end
    where run.id = $1
"""


async def _standing(conn: Conn, run_id: UUID, writer_id: UUID) -> _Standing:
    row = await conn.fetchrow(STANDING, run_id, writer_id)
    if row is None:
        raise NotFound(f"there is no run {run_id}", path=RUN_PATH)
    standing = _Standing(**row)
    if standing.writer_run_id not in (None, run_id):
        raise Invalid("writerId belongs to another run", path="input.writerId", hint="make a new id for each writer")
    return standing


async def _missing(conn: Conn, batch: Batch, standing: _Standing) -> Batch | None:
    """The part of the batch that the writer has yet to store; None when it has all of it.

    Raises `SeqConflict` when a stored block has other content or a block before the batch is missing, `RunSealed`
    when something is missing and the attempt has ended.
    """
    repeated = [block for block in batch.blocks if block.seq < standing.next_seq]
    if repeated:
        stored = await chunks.hashes(conn, batch.run_id, batch.writer_id, repeated[0].seq, repeated[-1].seq)
        for block in repeated:
            if stored[block.seq] != block.sha256:
                raise SeqConflict(
                    f"block {block.seq} of writer {batch.writer_id} holds other points",
                    writer_id=str(batch.writer_id),
                    expected_seq=standing.next_seq,
                    path=f"input.blocks[{block.seq - batch.first_seq}]",
                )
    missing = batch.blocks[len(repeated) :]
    if not missing:
        return None
    if standing.ended:
        raise RunSealed(
            f"attempt {standing.attempt} of run {batch.run_id} has ended: it is {standing.status}",
            status=standing.status,
        )
    if missing[0].seq > standing.next_seq:
        raise SeqConflict(
            f"block {missing[0].seq} of writer {batch.writer_id} came before block {standing.next_seq}",
            writer_id=str(batch.writer_id),
            expected_seq=standing.next_seq,
            path="input.blocks[0].seq",
        )
    return Batch(batch.run_id, batch.writer_id, batch.account_id, missing)
