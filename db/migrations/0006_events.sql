-- Events: what happened to runs, for those who watch. Whoever writes, a trigger notes it in `event_unread`; the order of
-- commits is known only afterwards, so that a number is given later, when an event moves to `event` (see db/events.py).
-- Neither table refers to `run`: a note costs one narrow row, and events are swept after some days.

create table event_unread (
    id bigint generated always as identity,
    run_id uuid not null,
    kind text not null,
    at timestamptz not null default now(),
    attempt integer,
    status text,
    artifact_id uuid,
    constraint event_unread_pkey primary key (id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table event (
    seq bigint generated always as identity,
    run_id uuid not null,
    kind text not null,
    at timestamptz not null,
    attempt integer,
    status text,
    artifact_id uuid,
    constraint event_pkey primary key (seq),
    constraint event_kind_known check (kind in (
        'RUN_CREATED', 'ATTEMPT_STARTED', 'STATUS_CHANGED', 'PARAMS_LOGGED', 'TAGS_CHANGED', 'INPUTS_LOGGED',
        'ARTIFACT_READY', 'ARTIFACT_FAILED'))
);

-- Up to here events were swept: who has not read them cannot go on without a gap.
alter table instance add column events_swept_to bigint not null default 0;

create function note_runs() returns trigger language plpgsql as $$
begin
    insert into event_unread (run_id, kind, attempt, status)
    select id, 'RUN_CREATED', attempt, status from added;
    return null;
end $$;

create trigger run_is_noted after insert on run referencing new table as added
    for each statement execute function note_runs();

-- A run shows its newest attempt, so that a new attempt and every end is a change of the run.
create function note_status() returns trigger language plpgsql as $$
begin
    insert into event_unread (run_id, kind, attempt, status)
    values (
        new.id,
        case when new.attempt <> old.attempt then 'ATTEMPT_STARTED' else 'STATUS_CHANGED' end,
        new.attempt,
        new.status
    );
    return null;
end $$;

create trigger run_status_is_noted after update on run for each row
    when (new.status <> old.status or new.attempt <> old.attempt)
    execute function note_status();

-- One event for each run of a statement, and none for what came with the run itself: the argument is the kind.
create function note_added() returns trigger language plpgsql as $$
begin
    insert into event_unread (run_id, kind, attempt)
    select written.run_id, tg_argv[0], run.attempt
    from (select distinct run_id from added) as written
    cross join lateral (
        select attempt from run where id = written.run_id and created_at <> now() limit 1
    ) as run;
    return null;
end $$;

create trigger param_is_noted after insert on param referencing new table as added
    for each statement execute function note_added('PARAMS_LOGGED');
create trigger run_input_is_noted after insert on run_input referencing new table as added
    for each statement execute function note_added('INPUTS_LOGGED');
create trigger tag_is_noted after insert on tag referencing new table as added
    for each statement execute function note_added('TAGS_CHANGED');
create trigger tag_change_is_noted after update on tag referencing new table as added
    for each statement execute function note_added('TAGS_CHANGED');

create function note_artifact() returns trigger language plpgsql as $$
begin
    insert into event_unread (run_id, kind, attempt, artifact_id)
    values (new.run_id, 'ARTIFACT_' || new.state, new.attempt, new.id);
    return null;
end $$;

create trigger artifact_is_noted after insert on artifact for each row
    when (new.state in ('READY', 'FAILED'))
    execute function note_artifact();
create trigger artifact_end_is_noted after update on artifact for each row
    when (new.state in ('READY', 'FAILED') and old.state <> new.state)
    execute function note_artifact();
