"""The group committer: batches that wait while one group commits go together into the next.

It needs no clock: an idle server stores a batch at once, a busy one stores hundreds in one statement.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

import asyncpg

from db import errors
from db.blocks import Batch
from db.errors import Unavailable
from db.pool import Connection, Pool, open_pool

WRITERS_REMEMBERED_MAX = 100_000
PAUSE_S = 0.2  # before asking a database again that did not answer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch whose sender waits for `stored`."""

    batch: Batch
    size_bytes: int
    stored: asyncio.Future[bool]


@asynccontextmanager
async def open_committer(
    url: str,
    *,
    statement_timeout_s: int = 10,
    waiting_max: int = 4000,
    waiting_bytes_max: int = 64 * 1024 * 1024,
    group_max: int = 500,
    group_bytes_max: int = 8 * 1024 * 1024,
) -> AsyncIterator["Committer"]:
    """A committer with a connection of its own; what waits when the block ends is stored before it ends."""
    async with open_pool(url, size_max=1, statement_timeout_s=statement_timeout_s, name="ingest") as pool:
        committer = Committer(pool, statement_timeout_s + 5, waiting_max, waiting_bytes_max, group_max, group_bytes_max)
        task = asyncio.create_task(committer._run())
        try:
            yield committer
        finally:
            committer._close()
            async with asyncio.timeout(statement_timeout_s + 5):
                await task


class Committer:
    """Stores batches in groups, one group at a time."""

    def __init__(
        self,
        pool: Pool,
        timeout_s: float,
        waiting_max: int,
        waiting_bytes_max: int,
        group_max: int,
        group_bytes_max: int,
    ) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._waiting_max = waiting_max
        self._waiting_bytes_max = waiting_bytes_max
        self._group_max = group_max
        self._group_bytes_max = group_bytes_max
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._closed = False
        self._known_writers: dict[UUID, None] = {}

    async def append(self, batch: Batch) -> bool:
        """Whether the batch was stored now; it is durable when this returns True.

        False when the writer's next block is not the batch's first, or the writer is another run's, or its attempt
        has ended. Raises `Unavailable` when too much waits already, or when the database does not answer: then the
        batch may have been stored, and sending it again is safe.
        """
        if self._closed or len(self._waiting) >= self._waiting_max or self._waiting_bytes >= self._waiting_bytes_max:
            raise Unavailable("too many batches of points wait to be stored", hint="send it again after 1 second")
        waiting = Waiting(batch, batch.size_bytes, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_bytes += waiting.size_bytes
        self._wake.set()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await waiting.stored
        except TimeoutError as error:
            raise _unknown() from error

    def _close(self) -> None:
        """Take no more; `_run` ends when nothing waits."""
        self._closed = True
        self._wake.set()

    async def _run(self) -> None:
        """Hold one connection and store group after group; after a fault tell who waits, and go on."""
        try:
            while self._waiting or not self._closed:
                try:
                    async with self._pool.acquire() as conn:
                        await self._store_all(conn)
                except Exception as error:
                    if not isinstance(errors.known(error), Unavailable):
                        log.exception("the committer has lost its connection in an unknown way")
                    self._give_up()
                    await asyncio.sleep(0 if self._closed else PAUSE_S)
        finally:
            self._closed = True
            self._give_up()

    def _give_up(self) -> None:
        """Tell everyone who waits that nothing was stored that they know of."""
        _tell(self._waiting, _unknown)
        self._waiting.clear()
        self._waiting_bytes = 0

    async def _store_all(self, conn: Connection) -> None:
        """Until the committer is closed and nothing waits, or the connection is lost."""
        while not _is_lost(conn):
            await self._wake.wait()
            await asyncio.sleep(0)  # let every request that is ready join this group
            if group := self._take(self._group_max):
                try:
                    await self._commit(conn, group)
                finally:
                    _tell(group, _unknown)  # who has no answer by now gets this one
            elif self._closed:
                return
            else:
                self._wake.clear()

    def _take(self, count_max: int) -> list[Waiting]:
        """The longest waiting, within the bounds of a group; those whose sender has left are dropped."""
        group: list[Waiting] = []
        size_bytes = 0
        while self._waiting and len(group) < count_max and size_bytes < self._group_bytes_max:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= waiting.size_bytes
            if not waiting.stored.done():
                size_bytes += waiting.size_bytes
                group.append(waiting)
        return group

    async def _commit(self, conn: Connection, group: list[Waiting]) -> None:
        """Store the group and tell each sender. If the database refuses the group, each half is tried alone."""
        lines, strays = _lines(group)
        try:
            accepted = await self._store(conn, [[waiting.batch for waiting in line] for line in lines])
        except Exception as error:  # noqa: BLE001 - whatever it was, each sender must hear of it
            if _is_lost(conn) or isinstance(errors.known(error), Unavailable):
                _tell(group, _unknown)
            elif len(group) == 1:
                group[0].stored.set_exception(error)
            else:
                await self._commit(conn, group[: len(group) // 2])
                await self._commit(conn, group[len(group) // 2 :])
            return
        for line in lines:
            for waiting in line:
                _answer(waiting, waiting.batch.writer_id in accepted)
        for waiting in strays:
            _answer(waiting, False)

    async def _store(self, conn: Connection, lines: list[list[Batch]]) -> set[UUID]:
        """The writers whose blocks are now durable."""
        opening = [line[0] for line in lines if line[0].first_seq == 0 and line[0].writer_id not in self._known_writers]
        if opening:
            await _open_writers(conn, opening)
        accepted = await _append(conn, lines)
        if len(self._known_writers) + len(opening) > WRITERS_REMEMBERED_MAX:
            self._known_writers.clear()
        self._known_writers.update((batch.writer_id, None) for batch in opening if batch.writer_id in accepted)
        return accepted


def _lines(group: list[Waiting]) -> tuple[list[list[Waiting]], list[Waiting]]:
    """For each writer the batches that follow each other, in order; and those that follow nothing here."""
    by_writer: dict[UUID, list[Waiting]] = {}
    for waiting in group:
        by_writer.setdefault(waiting.batch.writer_id, []).append(waiting)
    lines: list[list[Waiting]] = []
    strays: list[Waiting] = []
    for same_writer in by_writer.values():
        same_writer.sort(key=lambda waiting: waiting.batch.first_seq)
        line = same_writer[:1]
        for waiting in same_writer[1:]:
            before = line[-1].batch
            follows = waiting.batch.first_seq == before.next_seq and waiting.batch.run_id == before.run_id
            (line if follows else strays).append(waiting)
        lines.append(line)
    return lines, strays


OPEN_WRITERS = """
    insert into writer (id, run_id, attempt, opened_by)
    select given.id, attempt.run_id, attempt.number, given.opened_by
    from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as given (id, run_id, opened_by)
    join run on run.id = given.run_id
    join attempt on attempt.run_id = run.id and attempt.number = run.attempt
    where attempt.finished_at is null
    for share of attempt
    on conflict (id) do nothing
"""


async def _open_writers(conn: Connection, batches: list[Batch]) -> None:
    """Bind each writer to the newest attempt of its run; those of an ended attempt stay unknown."""
    await conn.execute(
        OPEN_WRITERS,
        [batch.writer_id for batch in batches],
        [batch.run_id for batch in batches],
        [batch.account_id for batch in batches],
    )


# Locks the writers in the order of their ids and inserts only where the cursor fits; the trigger moves the cursor.
APPEND = """
    with given as (
        select * from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as given (writer_id, run_id, first_seq)
    ), standing as materialized (
        select id, run_id, attempt, next_seq, ended_at
        from writer
        where id = any ($1::uuid[])
        order by id
        for no key update
    ), accepted as materialized (
        select standing.id, standing.run_id, standing.attempt
        from standing
        join given on given.writer_id = standing.id
        where given.run_id = standing.run_id and given.first_seq = standing.next_seq and standing.ended_at is null
    ), stored as (
        insert into block (run_id, writer_id, seq, keyset_id, attempt, n, first_ms, steps, times, vals, sha256)
        select accepted.run_id, accepted.id, new.seq, new.keyset_id, accepted.attempt, new.n, new.first_ms,
            new.steps, new.times, new.vals, new.sha256
        from unnest(
            $4::uuid[], $5::bigint[], $6::bigint[], $7::integer[], $8::bigint[],
            $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[]
        ) as new (writer_id, seq, keyset_id, n, first_ms, steps, times, vals, sha256)
        join accepted on accepted.id = new.writer_id
    )
    select id from accepted
"""


async def _append(conn: Connection, lines: list[list[Batch]]) -> set[UUID]:
    """Store what fits the writers' cursors, in one statement and so in one commit; the writers it fitted."""
    firsts = [line[0] for line in lines]
    batches = list(chain.from_iterable(lines))
    blocks = list(chain.from_iterable(batch.blocks for batch in batches))
    rows = await conn.fetch(
        APPEND,
        [batch.writer_id for batch in firsts],
        [batch.run_id for batch in firsts],
        [batch.first_seq for batch in firsts],
        [batch.writer_id for batch in batches for _ in batch.blocks],
        [block.seq for block in blocks],
        [block.keyset_id for block in blocks],
        [block.n for block in blocks],
        [block.first_ms for block in blocks],
        [block.steps for block in blocks],
        [block.times for block in blocks],
        [block.values for block in blocks],
        [block.sha256 for block in blocks],
    )
    return {row[0] for row in rows}


def _is_lost(conn: Connection) -> bool:
    """Whether the connection is gone; a pool's proxy of one that is gone raises when it is asked."""
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:
        return True


def _unknown() -> Unavailable:
    """Nobody knows whether the batch was stored."""
    return Unavailable("the database does not answer now", hint="send the same batch again; it is stored once")


def _answer(waiting: Waiting, stored: bool) -> None:
    if not waiting.stored.done():
        waiting.stored.set_result(stored)


def _tell(group: Iterable[Waiting], failure: Callable[[], Exception]) -> None:
    for waiting in group:
        if not waiting.stored.done():
            waiting.stored.set_exception(failure())
