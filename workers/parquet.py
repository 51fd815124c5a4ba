"""Parquet: rows of a table become files in the object store, with a bounded number of bytes in memory.

The types are those of Parquet itself, without hints for one reader, so that pandas, Polars and DuckDB see the same.
"""

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from db.exports import ExportTable, File
from db.extracts import Points
from db.packing import Ints
from storage import keys
from storage.store import Store

GROUP_BYTES: Final = 4 << 20  # of a row group in memory
GROUP_ROWS: Final = 1 << 17
PART_BYTES: Final = 8 << 20
FILE_BYTES: Final = 256 << 20

pa.set_memory_pool(pa.system_memory_pool())  # others keep what was used once

TIME: Final = pa.timestamp("us", "UTC")
TEXT: Final = pa.string()

SCHEMAS: Final[Mapping[ExportTable, pa.Schema]] = {
    ExportTable.RUNS: pa.schema(
        {
            "run_id": TEXT,
            "name": TEXT,
            "status": TEXT,
            "project": TEXT,
            "experiment": TEXT,
            "experiment_id": TEXT,
            "user": TEXT,
            "parent_id": TEXT,
            "group": TEXT,
            "attempt": pa.int32(),
            "created_at": TIME,
            "started_at": TIME,
            "finished_at": TIME,
            "duration_seconds": pa.float64(),
            "source_commit": TEXT,
            "source_branch": TEXT,
            "source_remote": TEXT,
            "source_dirty": pa.bool_(),
            "source_entry_point": TEXT,
            "source_argv": pa.list_(TEXT),
            "source_patch_digest": TEXT,
            "python": TEXT,
            "platform": TEXT,
            "hostname": TEXT,
            "cpu_count": pa.int32(),
            "memory_bytes": pa.int64(),
            "gpus": pa.list_(TEXT),
            "tags": pa.map_(TEXT, TEXT),
        }
    ),
    ExportTable.PARAMS: pa.schema({"run_id": TEXT, "key": TEXT, "type": TEXT, "text": TEXT, "number": pa.float64()}),
    ExportTable.METRICS: pa.schema(
        {
            "run_id": TEXT,
            "key": TEXT,
            "count": pa.int64(),
            "non_finite": pa.int64(),
            "first": pa.float64(),
            "last": pa.float64(),
            "last_step": pa.int64(),
            "min": pa.float64(),
            "min_step": pa.int64(),
            "max": pa.float64(),
            "max_step": pa.int64(),
        }
    ),
    ExportTable.POINTS: pa.schema(
        {
            "run_id": pa.dictionary(pa.int32(), TEXT),
            "key": pa.dictionary(pa.int32(), TEXT),
            "step": pa.int64(),
            "time": pa.timestamp("ms", "UTC"),
            "value": pa.float64(),
            "attempt": pa.int32(),
        }
    ),
    ExportTable.TAGS: pa.schema({"run_id": TEXT, "key": TEXT, "value": TEXT, "changed_at": TIME, "changed_by": TEXT}),
    ExportTable.INPUTS: pa.schema(
        {"run_id": TEXT, "name": TEXT, "digest": TEXT, "context": TEXT, "uri": TEXT, "attempt": pa.int32()}
    ),
    ExportTable.ARTIFACTS: pa.schema(
        {
            "run_id": TEXT,
            "path": TEXT,
            "digest": TEXT,
            "size_bytes": pa.int64(),
            "media_type": TEXT,
            "attempt": pa.int32(),
            "created_at": TIME,
        }
    ),
    ExportTable.PACKAGES: pa.schema({"run_id": TEXT, "name": TEXT, "version": TEXT}),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of an export go."""

    store: Store
    project_id: UUID
    export_id: UUID

    def new_key(self) -> str:
        """A key for another file."""
        return keys.exported(self.store.settings.prefix, self.project_id, self.export_id)


class TableFiles:
    """The files of one table: a new one begins when one has become large. There is one at least."""

    def __init__(self, place: Place, table: ExportTable) -> None:
        self.finished: list[File] = []
        self._place = place
        self._table = table
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = self._waiting_rows = 0
        self._file: _Open | None = None

    async def add(self, batch: pa.RecordBatch) -> None:
        """More rows; they are written when there are enough for a row group."""
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        self._waiting_rows += batch.num_rows
        if self._waiting_bytes >= GROUP_BYTES or self._waiting_rows >= GROUP_ROWS:
            await self._write()

    async def finish(self) -> None:
        """Store what is left."""
        if self._waiting or not self.finished:
            await self._write()
        await self._finish_file()

    async def drop(self) -> None:
        """Leave nothing of the file that is open."""
        if self._file is not None:
            await self._file.drop()

    async def _write(self) -> None:
        if self._file is None:
            self._file = _Open(self._place, SCHEMAS[self._table])
        batches, self._waiting = self._waiting, []
        self._waiting_bytes = self._waiting_rows = 0
        await self._file.write(batches)
        if self._file.size_bytes >= FILE_BYTES:
            await self._finish_file()

    async def _finish_file(self) -> None:
        if self._file is not None:
            name = f"{self._table.lower()}-{len(self.finished) + 1:05d}.parquet"
            self.finished.append(await self._file.finish(name, self._table))
            self._file = None


class _Open:
    """A file that is being written: what Parquet gives is hashed, and sent to the store part by part."""

    def __init__(self, place: Place, schema: pa.Schema) -> None:
        self._schema = schema
        self._writing = place.store.writing(place.new_key())
        self._pipe = _Pipe()
        self._rows = 0
        floats = [field.name for field in schema if pa.types.is_floating(field.type)]
        wholes = [name for name in ("step", "time") if name in schema.names]
        # Floats are not kept in dictionaries, which would take -0.0 for 0.0 and one NaN for another.
        self._parquet = pq.ParquetWriter(
            self._pipe,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in _leaves(schema) if name not in {*floats, *wholes}],
            column_encoding=dict.fromkeys(wholes, "DELTA_BINARY_PACKED"),
            store_schema=False,
        )

    @property
    def size_bytes(self) -> int:
        return self._pipe.size_bytes

    async def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        """A row group."""
        self._rows += sum(batch.num_rows for batch in batches)
        await asyncio.to_thread(self._write, batches)
        while len(self._pipe.waiting) >= PART_BYTES:
            await self._writing.send(self._pipe.taken(PART_BYTES))

    def _write(self, batches: Sequence[pa.RecordBatch]) -> None:
        table = pa.Table.from_batches(batches, self._schema).unify_dictionaries().combine_chunks()
        self._parquet.write_table(table, row_group_size=max(1, table.num_rows))

    async def finish(self, name: str, table: ExportTable) -> File:
        """The file as it is stored."""
        await asyncio.to_thread(self._parquet.close)
        digest = self._pipe.sha256.digest()
        await self._writing.finish(self._pipe.taken(), digest)
        return File(name, table, self._rows, self._pipe.size_bytes, digest, self._writing.key)

    async def drop(self) -> None:
        """Leave nothing of it in the store."""
        await self._writing.drop()


class _Pipe(io.RawIOBase):
    """What was written and not taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = bytearray()
        self.sha256 = sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size_bytes

    def write(self, block: Any) -> int:
        content = memoryview(block).cast("B")
        self.sha256.update(content)
        self.waiting += content
        self.size_bytes += len(content)
        return len(content)

    def taken(self, size_bytes: int | None = None) -> bytes:
        """The first bytes that wait, or all of them."""
        taken = bytes(self.waiting[:size_bytes])
        del self.waiting[: len(taken)]
        return taken


def _leaves(schema: pa.Schema) -> list[str]:
    """The columns as Parquet names them: of lists and maps those inside."""
    found = []
    for field in schema:
        if pa.types.is_map(field.type):
            found += [f"{field.name}.key_value.key", f"{field.name}.key_value.value"]
        elif pa.types.is_list(field.type):
            found.append(f"{field.name}.list.element")
        else:
            found.append(field.name)
    return found


def batch(table: ExportTable, columns: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
    """Rows of a table, by its columns."""
    schema = SCHEMAS[table]
    return pa.record_batch([pa.array(columns[field.name], field.type) for field in schema], schema)


class PointRows:
    """Points on their way to a row group: runs and keys as numbers, which is all that makes millions of rows fast."""

    def __init__(self) -> None:
        self.count = 0
        self._clear()

    def _clear(self) -> None:
        self.count = 0
        self._runs: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._columns: tuple[list[Any], ...] = ([], [], [], [], [], [])

    def add(self, points: Points) -> None:
        """More rows, key after key."""
        keys_count, count = points.values.shape
        rows = keys_count * count
        run = self._runs.setdefault(str(points.run_id), len(self._runs))
        codes = [self._keys.setdefault(key, len(self._keys)) for key in points.keys]
        new = (
            np.full(rows, run, "<i4"),
            np.repeat(np.array(codes, "<i4"), count),
            _tiled(points.steps, keys_count),
            _tiled(points.times, keys_count),
            points.values.reshape(-1),
            np.full(rows, points.attempt, "<i4"),
        )
        for column, part in zip(self._columns, new, strict=True):
            column.append(part)
        self.count += rows

    def taken(self) -> pa.RecordBatch:
        """All rows; none wait any more."""
        runs, keys_, steps, times, values, attempts = (np.concatenate(column) for column in self._columns)
        schema = SCHEMAS[ExportTable.POINTS]
        arrays = [
            pa.DictionaryArray.from_arrays(pa.array(runs), pa.array(list(self._runs), TEXT)),
            pa.DictionaryArray.from_arrays(pa.array(keys_), pa.array(list(self._keys), TEXT)),
            pa.array(steps),
            pa.array(times).cast(schema.field("time").type),
            pa.array(values),
            pa.array(attempts),
        ]
        self._clear()
        return pa.record_batch(arrays, schema)


def _tiled(numbers: Ints, times: int) -> Ints:
    return np.tile(numbers, times) if times > 1 else numbers
