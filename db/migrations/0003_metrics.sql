-- Metrics: what a run measured, appended in blocks by writers, compacted into chunks. No point is ever changed.
--
-- A point is (run, writer, seq, position); its key, step, time and value are content. A block is one acknowledged batch
-- with the columns as little-endian bytes; a chunk holds many blocks of one writer and one keyset, from which each
-- block can be rebuilt bit for bit. For every writer, blocks and chunks together hold the seqs 0 to next_seq - 1, once.

-- An ordered list of keys: training loops log the same keys each step, so a block names the list.
create table keyset (
    id bigint generated always as identity,
    sha256 bytea not null,                  -- of the keys, each as its length (uint32) and its UTF-8 bytes
    keys text[] not null,
    size integer not null generated always as (cardinality(keys)) stored,
    constraint keyset_pkey primary key (id),
    constraint keyset_sha256_key unique (sha256),
    constraint keyset_sha256_length check (length(sha256) = 32),
    constraint keyset_size check (cardinality(keys) between 1 and 10000)
);

create table run_keyset (
    run_id uuid not null,
    keyset_id bigint not null,
    constraint run_keyset_pkey primary key (run_id, keyset_id),
    constraint run_keyset_run_fkey foreign key (run_id) references run,
    constraint run_keyset_keyset_fkey foreign key (keyset_id) references keyset
);

-- What is known of a key without reading its points: those in chunks; the points of blocks come on top.
-- `first` and `last` are the ends of the order (step, attempt, received_ms, writer_id, seq); `min` and `max` are of the
-- finite values, each with the lowest step that has it.
create table series (
    run_id uuid not null,
    key text collate "C" not null,
    count bigint not null default 0,
    non_finite bigint not null default 0,
    first_value double precision,
    first_step bigint,
    first_attempt integer,
    first_received_ms bigint,
    first_writer_id uuid,
    first_seq bigint,
    last_value double precision,
    last_step bigint,
    last_attempt integer,
    last_received_ms bigint,
    last_writer_id uuid,
    last_seq bigint,
    min_value double precision,
    min_step bigint,
    max_value double precision,
    max_step bigint,
    constraint series_pkey primary key (run_id, key),
    constraint series_key_length check (char_length(key) between 1 and 250 and octet_length(key) <= 1000),
    constraint series_run_fkey foreign key (run_id) references run
) with (fillfactor = 70);

-- A run may use a keyset once its keys are series of the run, and it has a bounded number of those.
create function make_series() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(0x6b657973, hashtext(new.run_id::text));
    insert into series (run_id, key)
    select new.run_id, key from keyset, unnest(keyset.keys) as key where keyset.id = new.keyset_id
    on conflict (run_id, key) do nothing;
    if (select count(*) from series where run_id = new.run_id) > 10000 then
        raise exception 'run % would have more than 10000 metric keys', new.run_id
            using errcode = 'check_violation', constraint = 'run_keys_max', table = tg_table_name;
    end if;
    return null;
end $$;

create trigger run_keyset_makes_series after insert on run_keyset for each row execute function make_series();
create trigger keyset_is_append_only before update or delete on keyset for each row execute function refuse_change();
create trigger run_keyset_is_append_only before update or delete on run_keyset
    for each row execute function refuse_change();

-- One stream of blocks, numbered from 0 without gaps. The client makes the id; the first block binds it to the attempt.
create table writer (
    id uuid not null,
    run_id uuid not null,
    attempt integer not null,
    opened_by uuid not null,
    opened_at timestamptz not null default now(),
    next_seq bigint not null default 0,
    ended_at timestamptz,                   -- when its attempt ended
    constraint writer_pkey primary key (id),
    constraint writer_opened_by_fkey foreign key (opened_by) references account,
    constraint writer_attempt_fkey foreign key (run_id, attempt) references attempt
) with (fillfactor = 50);

create index writer_of_attempt on writer (run_id, attempt);

create trigger writer_needs_open_attempt before insert on writer for each row execute function require_open_attempt();
create trigger writer_is_kept before delete on writer for each row execute function refuse_change();
-- Only its blocks move a writer and only its attempt ends it: both are triggers, so their depth is not 0.
create trigger writer_moves_forward before update on writer for each row
    when (
        pg_trigger_depth() = 0 or old.ended_at is not null or new.next_seq < old.next_seq
        or (new.id, new.run_id, new.attempt, new.opened_by, new.opened_at)
            is distinct from (old.id, old.run_id, old.attempt, old.opened_by, old.opened_at)
    )
    execute function refuse_change();

-- The row lock on the writer makes a block and the end of its attempt wait for each other; a new writer waits for the
-- attempt itself. Locks are taken in the order of ids, as `append` takes them, so that no two wait in a circle.
create function end_writers() returns trigger language plpgsql as $$
begin
    perform from writer where run_id = new.run_id and attempt = new.number order by id for no key update;
    update writer set ended_at = new.finished_at
    where run_id = new.run_id and attempt = new.number and ended_at is null;
    return null;
end $$;

create trigger attempt_ends_writers after update on attempt for each row
    when (old.finished_at is null and new.finished_at is not null)
    execute function end_writers();

create table block (
    run_id uuid not null,
    writer_id uuid not null,
    seq bigint not null,
    keyset_id bigint not null,
    attempt integer not null,
    n integer not null,                     -- points of each key
    first_ms bigint not null,               -- the least of `times`
    received_ms bigint not null default (extract(epoch from now()) * 1000)::bigint,
    steps bytea not null,                   -- n int64
    times bytea not null,                   -- n int64, Unix milliseconds by the client's clock
    vals bytea not null,                    -- float64: the n values of the first key, then those of the second, ...
    sha256 bytea not null,                  -- of the content, see db/metrics.py
    constraint block_pkey primary key (run_id, writer_id, seq),
    constraint block_columns_fit check (
        n > 0 and length(steps) = n * 8 and length(times) = n * 8 and length(vals) % (n * 8) = 0
    ),
    constraint block_sha256_length check (length(sha256) = 32)
) with (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05);

alter table block alter steps set storage external, alter times set storage external, alter vals set storage external;

create table chunk (
    run_id uuid not null,
    keyset_id bigint not null,
    writer_id uuid not null,
    first_seq bigint not null,
    seqs int8multirange not null,           -- of its blocks, all of this keyset
    attempt integer not null,
    n integer not null,                     -- points of each key, those of all its blocks in the order of their seqs
    first_ms bigint not null,               -- the least of `times`
    sizes bytea not null,                   -- packed: points a key of each block
    received bytea not null,                -- packed: received_ms of each block
    steps bytea not null,                   -- packed
    times bytea not null,                   -- packed
    narrow bytea not null,                  -- one byte a key: 1 when its values are float32, which holds them exactly
    vals bytea not null,                    -- key by key, float32 or float64
    tier bytea,                             -- five landmarks of each 256 points, key by key, see db/chunks.py
    constraint chunk_pkey primary key (run_id, keyset_id, writer_id, first_seq),
    constraint chunk_first_seq check (first_seq = lower(seqs))
) with (toast_tuple_target = 8160);

alter table chunk alter sizes set storage external, alter received set storage external,
    alter steps set storage external, alter times set storage external, alter vals set storage external,
    alter tier set storage external;

-- Whoever writes: a block is the next one of its writer, whose attempt is open, and its columns fit its keyset.
create function move_writers() returns trigger language plpgsql as $$
declare
    refused record;
begin
    with batch as (
        select writer_id, run_id, attempt, min(seq) as first_seq, max(seq) + 1 as next_seq, count(*) as blocks
        from added
        group by writer_id, run_id, attempt
    ), moved as (
        update writer set next_seq = batch.next_seq
        from batch
        where writer.id = batch.writer_id and writer.run_id = batch.run_id and writer.attempt = batch.attempt
            and writer.next_seq = batch.first_seq and batch.next_seq - batch.first_seq = batch.blocks
            and writer.ended_at is null
        returning writer.id
    )
    select batch.run_id, batch.attempt, batch.writer_id, batch.first_seq, writer.ended_at into refused
    from batch left join writer on writer.id = batch.writer_id
    where batch.writer_id not in (select id from moved)
    limit 1;
    if found and refused.ended_at is not null then
        raise exception 'attempt % of run % has ended', refused.attempt, refused.run_id
            using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
    elsif found then
        raise exception 'block % is not the next of writer %', refused.first_seq, refused.writer_id
            using errcode = 'check_violation', constraint = 'block_follows', table = tg_table_name;
    end if;
    if exists (
        select from added
        where not exists (
            select from run_keyset join keyset on keyset.id = run_keyset.keyset_id
            where run_keyset.run_id = added.run_id and run_keyset.keyset_id = added.keyset_id
                and keyset.size * added.n * 8 = length(added.vals)
        )
    ) then
        raise exception 'a block does not fit its keyset'
            using errcode = 'check_violation', constraint = 'block_fits_keyset', table = tg_table_name;
    end if;
    return null;
end $$;

create trigger block_moves_writer after insert on block referencing new table as added
    for each statement execute function move_writers();
create trigger block_is_append_only before update on block for each row execute function refuse_change();
create trigger chunk_is_append_only before update on chunk for each row execute function refuse_change();

-- Nobody deletes points: a block may go when a chunk holds it, a chunk when others hold its blocks.
create function keep_blocks() returns trigger language plpgsql as $$
begin
    if exists (
        select from (
            select run_id, keyset_id, writer_id, range_agg(int8range(seq, seq + 1)) as seqs
            from removed
            group by run_id, keyset_id, writer_id
        ) as stream
        where not coalesce(stream.seqs <@ (
            select range_agg(chunk.seqs)
            from chunk
            where chunk.run_id = stream.run_id and chunk.keyset_id = stream.keyset_id
                and chunk.writer_id = stream.writer_id and chunk.first_seq < upper(stream.seqs)
                and chunk.seqs && stream.seqs
        ), false)
    ) then
        raise exception 'no chunk holds the block' using errcode = 'check_violation',
            constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    return null;
end $$;

create function keep_chunks() returns trigger language plpgsql as $$
begin
    if exists (
        select from removed
        where not coalesce(removed.seqs <@ (
            select range_agg(chunk.seqs)
            from chunk
            where chunk.run_id = removed.run_id and chunk.keyset_id = removed.keyset_id
                and chunk.writer_id = removed.writer_id and chunk.first_seq < upper(removed.seqs)
                and chunk.seqs && removed.seqs
        ), false)
    ) then
        raise exception 'no chunk holds the blocks of the chunk' using errcode = 'check_violation',
            constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    return null;
end $$;

create trigger block_is_kept after delete on block referencing old table as removed
    for each statement execute function keep_blocks();
create trigger chunk_is_kept after delete on chunk referencing old table as removed
    for each statement execute function keep_chunks();

-- Nobody adds points by a chunk: at the commit it holds seqs that its writer has acknowledged and nothing else holds.
create function require_compacted() returns trigger language plpgsql as $$
begin
    if not exists (
        select from writer
        where writer.id = new.writer_id and writer.run_id = new.run_id and writer.attempt = new.attempt
            and int8multirange(int8range(0, writer.next_seq)) @> new.seqs
    ) or exists (
        select from block
        where block.run_id = new.run_id and block.writer_id = new.writer_id
            and block.seq between new.first_seq and upper(new.seqs) - 1 and new.seqs @> block.seq
    ) or exists (
        select from run_keyset
        join chunk on chunk.run_id = run_keyset.run_id and chunk.keyset_id = run_keyset.keyset_id
        where run_keyset.run_id = new.run_id and chunk.writer_id = new.writer_id
            and chunk.first_seq < upper(new.seqs) and chunk.seqs && new.seqs
            and (chunk.keyset_id, chunk.first_seq) <> (new.keyset_id, new.first_seq)
    ) then
        raise exception 'the chunk holds blocks that were not there' using errcode = 'check_violation',
            constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    return null;
end $$;

create constraint trigger chunk_replaces_blocks after insert on chunk
    deferrable initially deferred for each row execute function require_compacted();
