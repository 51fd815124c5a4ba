-- What is known of a run's keyset without reading its points, in one row; a chunk tells its steps; triggers that look at
-- all rows of a statement at once.

-- All keys of a keyset have the same points, so that they share the count and the ends. It counts the points in chunks;
-- those of blocks come on top. `first` and `last` are the ends of the order (step, attempt, received_ms, writer_id, seq).
create table tally (
    run_id uuid not null,
    keyset_id bigint not null,
    count bigint not null,                  -- points of each key
    first_step bigint not null,
    first_attempt integer not null,
    first_received_ms bigint not null,
    first_writer_id uuid not null,
    first_seq bigint not null,
    last_step bigint not null,
    last_attempt integer not null,
    last_received_ms bigint not null,
    last_writer_id uuid not null,
    last_seq bigint not null,
    stats bytea not null,                   -- seven rows of 8 little-endian bytes a key, see db/tallies.py
    constraint tally_pkey primary key (run_id, keyset_id),
    constraint tally_keyset_fkey foreign key (run_id, keyset_id) references run_keyset,
    constraint tally_stats_fit check (count > 0 and length(stats) > 0 and length(stats) % 56 = 0)
) with (toast_tuple_target = 8160);

alter table tally alter stats set storage external;

-- The points of the chunks there are.
create function little(big bytea) returns bytea language sql immutable strict
return (select string_agg(substring(big from place for 1), '' order by place desc) from generate_series(1, 8) as place);

with stored as (
    select chunk.run_id, chunk.keyset_id, key.place, chunk.attempt, chunk.writer_id, of_block.seq,
        point,
        packed_int(chunk.received, of_block.number) as received_ms,
        packed_int(chunk.steps, of_block.start + point) as step,
        case get_byte(chunk.narrow, key.place)
            when 1 then little_float4(chunk.vals, of_key.start + (of_block.start + point) * 4)
            else little_float8(chunk.vals, of_key.start + (of_block.start + point) * 8)
        end as value
    from chunk
    cross join lateral (
        select sized.seq, sized.number, sized.size,
            (sum(sized.size) over (order by sized.number) - sized.size)::integer as start
        from (
            select seqs.seq, seqs.number, packed_int(chunk.sizes, seqs.number)::integer as size
            from (
                select seq, (row_number() over (order by seq) - 1)::integer as number
                from unnest(chunk.seqs) as part, generate_series(lower(part), upper(part) - 1) as seq
            ) as seqs
        ) as sized
    ) as of_block
    cross join generate_series(0, of_block.size - 1) as point
    cross join generate_series(0, length(chunk.narrow) - 1) as key (place)
    cross join lateral (
        select (chunk.n * (8 * key.place - 4 * bit_count(substring(chunk.narrow from 1 for key.place))))::integer
    ) as of_key (start)
), first as (
    select distinct on (run_id, keyset_id) *
    from stored
    order by run_id, keyset_id, step, attempt, received_ms, writer_id, seq
), last as (
    select distinct on (run_id, keyset_id) *
    from stored
    order by run_id, keyset_id, step desc, attempt desc, received_ms desc, writer_id desc, seq desc
), summed as (
    select run_id, keyset_id, place, count(*) as count, count(*) filter (where not is_finite) as non_finite,
        (array_agg(value order by step, attempt, received_ms, writer_id, seq, point))[1] as first_value,
        (array_agg(value order by step desc, attempt desc, received_ms desc, writer_id desc, seq desc, point desc))[1]
            as last_value,
        min(value) filter (where is_finite) as low,
        (array_agg(step order by value, step) filter (where is_finite))[1] as low_step,
        max(value) filter (where is_finite) as high,
        (array_agg(step order by value desc, step) filter (where is_finite))[1] as high_step
    from stored
    cross join lateral (select value not in ('NaN', 'Infinity', '-Infinity') as is_finite) as kind
    group by run_id, keyset_id, place
), packed as (
    select run_id, keyset_id, min(count) as count,
        string_agg(little(int8send(non_finite)), '' order by place)
            || string_agg(little(float8send(first_value)), '' order by place)
            || string_agg(little(float8send(last_value)), '' order by place)
            || string_agg(little(float8send(coalesce(low, 'NaN'))), '' order by place)
            || string_agg(little(int8send(coalesce(low_step, 0))), '' order by place)
            || string_agg(little(float8send(coalesce(high, 'NaN'))), '' order by place)
            || string_agg(little(int8send(coalesce(high_step, 0))), '' order by place) as stats
    from summed
    group by run_id, keyset_id
)
insert into tally
select run_id, keyset_id, packed.count,
    first.step, first.attempt, first.received_ms, first.writer_id, first.seq,
    last.step, last.attempt, last.received_ms, last.writer_id, last.seq,
    packed.stats
from packed
join first using (run_id, keyset_id)
join last using (run_id, keyset_id);

drop function little;

-- `series` names the keys of a run; what it said of their points is in `tally`.
alter table series
    drop column count, drop column non_finite, drop column first_value, drop column first_step,
    drop column first_attempt, drop column first_received_ms, drop column first_writer_id, drop column first_seq,
    drop column last_value, drop column last_step, drop column last_attempt, drop column last_received_ms,
    drop column last_writer_id, drop column last_seq, drop column min_value, drop column min_step,
    drop column max_value, drop column max_step;

-- A reader of some steps leaves out the chunks that have none of them.
alter table chunk add column low_step bigint, add column high_step bigint;
alter table chunk disable trigger chunk_is_append_only;
update chunk set low_step = of_chunk.low_step, high_step = of_chunk.high_step
from (
    select run_id, keyset_id, writer_id, first_seq, min(step) as low_step, max(step) as high_step
    from chunk
    cross join lateral (
        select packed_int(chunk.steps, place) as step from generate_series(0, chunk.n - 1) as place
    ) as every
    group by run_id, keyset_id, writer_id, first_seq
) as of_chunk
where of_chunk.run_id = chunk.run_id and of_chunk.keyset_id = chunk.keyset_id
    and of_chunk.writer_id = chunk.writer_id and of_chunk.first_seq = chunk.first_seq;
alter table chunk enable trigger chunk_is_append_only;
alter table chunk alter low_step set not null, alter high_step set not null,
    add constraint chunk_steps_ascend check (low_step <= high_step);

-- Whoever writes: at the end of the statement that brings it, a chunk holds seqs that its writer has acknowledged and
-- nothing else holds. The plans are those for few rows of large tables, whatever the tables looked like at first.
create or replace function require_compacted() returns trigger language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    if exists (
        select from added
        left join writer on writer.id = added.writer_id and writer.run_id = added.run_id
            and writer.attempt = added.attempt
        where writer.id is null or not int8multirange(int8range(0, writer.next_seq)) @> added.seqs
    ) or exists (
        select from (select run_id, writer_id, range_agg(seqs) as seqs from added group by run_id, writer_id) as written
        cross join unnest(written.seqs) as part
        join block on block.run_id = written.run_id and block.writer_id = written.writer_id
            and block.seq >= lower(part) and block.seq < upper(part)
    ) or exists (
        select from (select run_id, writer_id, range_agg(seqs) as seqs from added group by run_id, writer_id) as written
        where (select sum(upper(part) - lower(part)) from unnest(written.seqs) as part) is distinct from (
            select sum(upper(part) - lower(part))
            from run_keyset
            join chunk on chunk.run_id = run_keyset.run_id and chunk.keyset_id = run_keyset.keyset_id
            cross join unnest(chunk.seqs * written.seqs) as part
            where run_keyset.run_id = written.run_id and chunk.writer_id = written.writer_id
                and chunk.first_seq < upper(written.seqs) and chunk.seqs && written.seqs
        )
    ) then
        raise exception 'the chunk holds blocks that were not there' using errcode = 'check_violation',
            constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    return null;
end $$;

drop trigger chunk_replaces_blocks on chunk;
create trigger chunk_replaces_blocks after insert on chunk referencing new table as added
    for each statement execute function require_compacted();

-- Points are inserted and deleted at the rate of ingest: vacuum must keep up with it.
alter table block set (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0.5, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.5, toast.autovacuum_vacuum_cost_delay = 0
);
alter table chunk set (autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_cost_delay = 0);
