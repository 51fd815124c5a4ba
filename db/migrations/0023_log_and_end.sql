-- The last points of runs and their ends, in one step: to log them first and end the runs then takes another round trip
-- and another commit. The points of a run are blocks of one writer, which may be new. A run for which anything is not as
-- usual is left as it is, and not among the answers.
create function log_and_end(
    writer_ids uuid[],
    run_ids uuid[],
    opened_by uuid[],
    statuses text[],
    client_times timestamptz[],
    bounds integer[],  -- the blocks of a writer are those behind its entry, up to the next one
    seqs bigint[],
    keyset_ids bigint[],
    step_counts integer[],
    first_times bigint[],
    contents bytea[]  -- of each block the digest, then its steps, times and values
) returns table (
    id uuid,
    project_id uuid,
    experiment_id uuid,
    parent_id uuid,
    name text,
    status text,
    attempt integer,
    created_by uuid,
    created_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    group_name text,
    ancestor_ids uuid[],
    is_settled boolean,
    stop_requested boolean
) language plpgsql as $$
#variable_conflict use_column
declare
    fitting integer[];
begin
    -- Attempts are locked before writers, and each in the order of ids, as whoever logs or ends does.
    perform from run
    join attempt on attempt.run_id = run.id and attempt.number = run.attempt
    where run.id = any (run_ids) and attempt.finished_at is null
    order by attempt.run_id
    for no key update of attempt;

    perform from writer where run_id = any (run_ids) and ended_at is null order by id for no key update;

    insert into writer (id, run_id, attempt, opened_by, stop_requested)
    select given.id, given.run_id, attempt.number, given.opened_by, attempt.stop_requested_at is not null
    from unnest(writer_ids, run_ids, opened_by) with ordinality as given (id, run_id, opened_by, place)
    cross join lateral (select attempt from run where run.id = given.run_id offset 0) as run
    cross join lateral (
        select number, stop_requested_at
        from attempt
        where attempt.run_id = given.run_id and attempt.number = run.attempt and attempt.finished_at is null
        offset 0
    ) as attempt
    where seqs[bounds[place] + 1] = 0
    order by given.id
    on conflict (id) do nothing;

    fitting := array(
        select place
        from unnest(writer_ids, run_ids) with ordinality as given (id, run_id, place)
        cross join lateral (select run_id, next_seq, ended_at from writer where writer.id = given.id offset 0) as writer
        where writer.run_id = given.run_id and writer.next_seq = seqs[bounds[place] + 1] and writer.ended_at is null
    );

    insert into run_keyset (run_id, keyset_id)
    select distinct run_ids[place], keyset_ids[at]
    from unnest(fitting) as place
    cross join lateral generate_series(bounds[place] + 1, bounds[place + 1]) as at
    order by 1, 2
    on conflict (run_id, keyset_id) do nothing;

    insert into block (run_id, writer_id, seq, keyset_id, attempt, n, first_ms, steps, times, vals, sha256)
    select run_ids[place], writer_ids[place], seqs[at], keyset_ids[at], writer.attempt, n, first_times[at],
        substring(content, 33, n * 8), substring(content, 33 + n * 8, n * 8), substring(content, 33 + n * 16),
        substring(content, 1, 32)
    from unnest(fitting) as place
    cross join lateral (select attempt from writer where writer.id = writer_ids[place] offset 0) as writer
    cross join lateral generate_series(bounds[place] + 1, bounds[place + 1]) as at
    cross join lateral (select step_counts[at] as n, contents[at] as content) as sent;

    return query
    update attempt
    set status = statuses[place], finished_at = now(), client_finished_at = client_times[place]
    from unnest(fitting) as place
    join run on run.id = run_ids[place]
    where attempt.run_id = run.id and attempt.number = run.attempt
    returning run.id, run.project_id, run.experiment_id, run.parent_id, run.name, attempt.status, attempt.number,
        run.created_by, run.created_at, run.started_at, attempt.finished_at, run.group_name, run.ancestor_ids,
        not exists (select from artifact where artifact.run_id = run.id and artifact.state <> 'READY'),
        attempt.stop_requested_at is not null;
end $$;
