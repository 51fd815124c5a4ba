"""What the same Postgres can do without Runstone: rows by COPY, and one row for each batch of bytes."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import numpy as np

from benchmarks.points import Batch
from db.pool import Pool

Conn: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Insert: TypeAlias = Callable[[Conn, int, int, Batch], Awaitable[None]]  # connection, client, seq, batch

# The leanest table of rows: names are numbers already.
TABLES: Final = """
    create table point (
        run integer not null,
        key integer not null,
        step bigint not null,
        time_ms bigint not null,
        value double precision not null,
        constraint point_pkey primary key (run, key, step)
    );
    create table raw_block (
        run integer not null,
        writer integer not null,
        seq bigint not null,
        steps bytea not null,
        times bytea not null,
        vals bytea not null,
        constraint raw_block_pkey primary key (run, writer, seq)
    );
    alter table raw_block alter steps set storage external, alter times set storage external,
        alter vals set storage external;
"""


@asynccontextmanager
async def database(pool: Pool, url: str, name: str) -> AsyncIterator[str]:
    """A fresh database in the same Postgres; gone when the block ends."""
    await pool.execute(f"create database {name}")
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        await pool.execute(f"drop database {name} with (force)")


@asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Conn]]:
    """So many open connections."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            conn = await asyncpg.connect(url)
            stack.push_async_callback(conn.close)
            opened.append(conn)
        yield opened


async def make_tables(conn: Conn) -> None:
    """The tables, new and empty."""
    await conn.execute("drop table if exists point, raw_block")
    await conn.execute(TABLES)


async def copy_tuples(conn: Conn, client: int, seq: int, batch: Batch) -> None:
    """Rows as Python tuples, the usual way."""
    records = [
        (batch.run, key, step, time_ms, value)
        for key, values in enumerate(batch.values.tolist())
        for step, time_ms, value in zip(batch.steps.tolist(), batch.times.tolist(), values, strict=True)
    ]
    await conn.copy_records_to_table("point", records=records)


async def copy_binary(conn: Conn, client: int, seq: int, batch: Batch) -> None:
    """Rows as the bytes that COPY wants, made by numpy: the fastest way into a table of rows."""
    await conn.copy_to_table("point", source=io.BytesIO(binary(batch)), format="binary")


FIELDS: Final = (("run", ">i4"), ("key", ">i4"), ("step", ">i8"), ("time", ">i8"), ("value", ">f8"))


def binary(batch: Batch) -> bytes:
    """The rows in Postgres's binary COPY format: a count of fields, then each with its length."""
    columns: list[Any] = [("fields", ">i2")]
    for name, kind in FIELDS:
        columns += [(f"{name}_length", ">i4"), (name, kind)]
    rows = np.empty(batch.points, np.dtype(columns))
    keys, steps = batch.values.shape
    rows["fields"] = len(FIELDS)
    for name, kind in FIELDS:
        rows[f"{name}_length"] = np.dtype(kind).itemsize
    rows["run"] = batch.run
    rows["key"] = np.repeat(np.arange(keys), steps)
    rows["step"] = np.tile(batch.steps, keys)
    rows["time"] = np.tile(batch.times, keys)
    rows["value"] = batch.values.reshape(-1)
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"


BLOCK: Final = """
    insert into raw_block (run, writer, seq, steps, times, vals) values ($1, $2, $3, $4, $5, $6)
"""


async def insert_block(conn: Conn, client: int, seq: int, batch: Batch) -> None:
    """One row with the bytes of the batch."""
    await conn.execute(
        BLOCK, batch.run, client, seq, batch.steps.tobytes(), batch.times.tobytes(), batch.values.tobytes()
    )


BLOCKS: Final = """
    insert into raw_block (run, writer, seq, steps, times, vals)
    select * from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])
"""


async def insert_blocks(conn: Conn, rows: Sequence[tuple[int, int, int, bytes, bytes, bytes]]) -> None:
    """Many such rows in one statement, and so in one commit."""
    await conn.execute(BLOCKS, *map(list, zip(*rows, strict=True)))


STORED: Final = """
    select (select count(*) from point)
        + (select coalesce(sum(length(vals) / 8), 0) from raw_block)
"""


async def stored_points(conn: Conn) -> int:
    """How many points both tables have."""
    return int(await conn.fetchval(STORED))


async def timed(conns: Sequence[Conn], dealt: Sequence[Sequence[Batch]], insert: Insert) -> float:
    """Seconds until every client has its batches stored, one after the other, each in a transaction."""

    async def client(number: int) -> None:
        for seq, batch in enumerate(dealt[number]):
            await insert(conns[number], number, seq, batch)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(len(conns)):
            tasks.create_task(client(number))
    return time.perf_counter() - start
