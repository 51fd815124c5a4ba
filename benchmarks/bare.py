"""What a run leaves in the database, as bare rows: the columns and indexes of Runstone, and nothing that checks them.

No references, triggers, history, events or compaction, and metrics only as the rows by which runs are found.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from benchmarks import points
from benchmarks.limits import Conn
from benchmarks.points import Batch

TABLES: Final = """
    create table run (
        id uuid primary key, name text not null, status text not null default 'RUNNING',
        created_at timestamptz not null default now(), finished_at timestamptz
    ) with (fillfactor = 70);
    create index run_newest on run (created_at desc, id desc);
    create table param (
        run_id uuid, key text, type text not null, text text not null, number double precision,
        primary key (run_id, key)
    );
    create index param_by_number on param (key collate "C", number, run_id) where number is not null;
    create table tag (run_id uuid, key text, value text, primary key (run_id, key));
    create index tag_by_text on tag (key collate "C", value collate "C", run_id);
    create table metric (
        run_id uuid, key text collate "C", first double precision, last double precision, min double precision,
        max double precision, primary key (run_id, key)
    );
    create index metric_of_one_number on metric (key, last, run_id) where min = last and max = last;
    create index metric_by_last on metric (key, last, run_id) where min <> last or max <> last or min is null;
    create index metric_by_min on metric (key, min, run_id) where min <> last or max <> last;
    create index metric_by_max on metric (key, max, run_id) where min <> last or max <> last;
"""

BEGIN: Final = """
    with begun as (
        insert into run (id, name) select id, 'bench' from unnest($1::uuid[]) as id
    ), with_params as (
        insert into param (run_id, key, type, text, number)
        select * from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::float8[])
    )
    insert into tag (run_id, key, value) select * from unnest($7::uuid[], $8::text[], $9::text[])
"""

LOG: Final = """
    insert into metric (run_id, key, first, last, min, max)
    select run_id, key, value, value, value, value
    from unnest($1::uuid[], $2::text[], $3::float8[]) as given (run_id, key, value)
"""

END: Final = """
    update run set status = 'FINISHED', finished_at = now() where id = any ($1::uuid[])
"""


async def live(
    conn: Conn,
    run_ids: Sequence[UUID],
    params: Sequence[tuple[str, float]],
    tags: Sequence[tuple[str, str]],
    final: Batch,
) -> None:
    """The rows of these runs in three statements and three commits: begun, logged to, ended."""
    runs = len(run_ids)
    await conn.execute(
        BEGIN,
        run_ids,
        [run_id for run_id in run_ids for _ in params],
        [key for key, _ in params] * runs,
        ["FLOAT"] * len(params) * runs,
        [str(value) for _, value in params] * runs,
        [value for _, value in params] * runs,
        [run_id for run_id in run_ids for _ in tags],
        [key for key, _ in tags] * runs,
        [value for _, value in tags] * runs,
    )
    keys, values = points.keys(len(final.values)), final.values[:, 0].tolist()
    await conn.execute(LOG, [run_id for run_id in run_ids for _ in keys], [*keys] * runs, values * runs)
    await conn.execute(END, run_ids)
