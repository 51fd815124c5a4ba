"""The rows of runs alone, into the tables of Runstone: their indexes and constraints, and no trigger."""

from collections.abc import Sequence
from typing import Final

from benchmarks import store
from benchmarks.limits import Conn, connections
from benchmarks.trainings import Training

# What is written together, as Runstone does: when a run begins, when it logs for the first time, when it is compacted.
MOMENTS: Final = (
    ("run", "attempt", "param", "tag"),
    ("run_keyset", "writer"),
    ("chunk", "tally", "metric"),
)
SETTINGS: Final = """
    set session_replication_role = replica;
    set plan_cache_mode = force_generic_plan;
    set enable_seqscan = off
"""


async def write(url: str, project: str, made: Sequence[Training]) -> None:
    """The runs one by one, a statement for each moment; the rows wait in temporary tables. The role is a superuser."""
    async with connections(url, 1) as [conn]:
        await conn.execute(SETTINGS)
        columns_of = await _stage(conn, await store.names_of(conn, project), made)
        statements = [await conn.prepare(_statement(moment, columns_of)) for moment in MOMENTS]
        for one in made:
            for statement in statements:
                await statement.fetch(one.id)


async def _stage(conn: Conn, names: store.Names, made: Sequence[Training]) -> dict[str, str]:
    """The columns of each table whose rows wait."""
    columns_of = {}
    for table, columns, rows in store.tables(names, made, {}):
        if any(table in moment for moment in MOMENTS):
            columns_of[table] = ", ".join(columns.split())
            await conn.execute(f"create temporary table of_{table} as select {columns_of[table]} from {table} limit 0")
            await conn.copy_records_to_table(f"of_{table}", columns=columns.split(), records=rows)
            await conn.execute(f"create index on of_{table} ({_run_id(table)})")
    return columns_of


def _statement(tables: Sequence[str], columns_of: dict[str, str]) -> str:
    """The rows of the run $1 into these tables."""
    inserts = [
        f"with_{table} as (insert into {table} ({columns_of[table]}) "
        f"select {columns_of[table]} from of_{table} where {_run_id(table)} = $1)"
        for table in tables
    ]
    return f"with {', '.join(inserts)} select"


def _run_id(table: str) -> str:
    return "id" if table == "run" else "run_id"
