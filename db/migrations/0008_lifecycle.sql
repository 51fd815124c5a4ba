-- Starting, logging to and ending a run in few statements: a rule is asked once for each statement and run instead of
-- once for each row. Attempts and runs are never deleted, so a rule that has seen one holds for ever.

-- The lock makes a write and the end of its attempt wait for each other: a write is either before it or refused.
create function require_open_attempts() returns trigger language plpgsql as $$
declare
    written record;
begin
    for written in select distinct run_id, attempt from added order by run_id, attempt loop
        perform from attempt
        where run_id = written.run_id and number = written.attempt and finished_at is null
        for share;
        if not found then
            raise exception 'attempt % of run % has ended', written.attempt, written.run_id
                using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
        end if;
    end loop;
    return null;
end $$;

-- After the rows, so that one statement can make a run with all that it starts with.
drop trigger param_needs_open_attempt on param;
create trigger param_needs_open_attempt after insert on param referencing new table as added
    for each statement execute function require_open_attempts();
drop trigger run_input_needs_open_attempt on run_input;
create trigger run_input_needs_open_attempt after insert on run_input referencing new table as added
    for each statement execute function require_open_attempts();
drop trigger writer_needs_open_attempt on writer;
create trigger writer_needs_open_attempt after insert on writer referencing new table as added
    for each statement execute function require_open_attempts();
drop trigger source_needs_open_attempt on source;
create trigger source_needs_open_attempt after insert on source for each row execute function require_open_attempt();
drop trigger environment_needs_open_attempt on environment;
create trigger environment_needs_open_attempt after insert on environment
    for each row execute function require_open_attempt();

-- The triggers ask for the attempt already.
alter table param drop constraint param_attempt_fkey;
alter table writer drop constraint writer_attempt_fkey;

-- The history of tags comes from tags only, whose run is there.
create function keep_new_tags() returns trigger language plpgsql as $$
begin
    insert into tag_change (run_id, key, after, changed_by, changed_at)
    select run_id, key, value, changed_by, changed_at from added;
    return null;
end $$;

create function keep_changed_tags() returns trigger language plpgsql as $$
begin
    insert into tag_change (run_id, key, before, after, changed_by, changed_at)
    select added.run_id, added.key, removed.value, added.value, added.changed_by, added.changed_at
    from added
    join removed on removed.run_id = added.run_id and removed.key = added.key
    where added.value is distinct from removed.value;
    return null;
end $$;

drop trigger tag_change_is_kept on tag;
drop function keep_tag_change();
create trigger tag_change_is_kept_of_new after insert on tag referencing new table as added
    for each statement execute function keep_new_tags();
create trigger tag_change_is_kept after update on tag referencing old table as removed new table as added
    for each statement execute function keep_changed_tags();
create trigger tag_keeps_its_name before update on tag for each row
    when ((new.run_id, new.key) is distinct from (old.run_id, old.key))
    execute function refuse_change();
create trigger tag_change_comes_from_tag before insert on tag_change for each row
    when (pg_trigger_depth() = 0)
    execute function refuse_change();
alter table tag_change drop constraint tag_change_run_fkey;

-- Only what breaks a rule calls a function.
drop trigger attempt_stays_ended on attempt;
create trigger attempt_stays_ended before update on attempt for each row
    when (
        old.finished_at is not null
        or (new.run_id, new.number, new.id, new.started_by, new.started_at)
            is distinct from (old.run_id, old.number, old.id, old.started_by, old.started_at)
    )
    execute function keep_ended_attempt();
create trigger attempt_is_kept before delete on attempt for each row execute function keep_ended_attempt();

-- A run begins as its first attempt does, so that attempt has nothing to show in it.
create function refuse_state() returns trigger language plpgsql as $$
begin
    raise exception 'run % has a state without an attempt', new.id
        using errcode = 'check_violation', constraint = 'run_shows_its_attempt', table = tg_table_name;
end $$;

create trigger run_begins_open before insert on run for each row
    when (new.status <> 'RUNNING' or new.attempt <> 1)
    execute function refuse_state();
drop trigger attempt_shows_in_run on attempt;
create trigger attempt_shows_in_run after insert on attempt for each row
    when (new.number > 1 or new.status <> 'RUNNING')
    execute function show_newest_attempt();

-- All rows of a statement at once, in one order, so that no two statements wait for each other in a circle.
create function follow_attempts() returns trigger language plpgsql as $$
begin
    update run
    set status = changed.status,
        attempt = changed.number,
        finished_at = case when changed.status in ('RUNNING', 'LOST') then null else changed.finished_at end
    from (
        select added.run_id, added.number, added.status, added.finished_at
        from added
        join removed on removed.run_id = added.run_id and removed.number = added.number
        where added.status <> removed.status
    ) as changed
    where run.id = changed.run_id and run.attempt <= changed.number
        and (run.status, run.attempt) is distinct from (changed.status, changed.number);
    update writer set ended_at = ended.finished_at
    from (
        select writer.id, added.finished_at
        from added
        join removed on removed.run_id = added.run_id and removed.number = added.number
        join writer on writer.run_id = added.run_id and writer.attempt = added.number
        where removed.finished_at is null and added.finished_at is not null and writer.ended_at is null
        order by writer.id
        for no key update of writer
    ) as ended
    where writer.id = ended.id;
    return null;
end $$;

drop trigger attempt_ends_writers on attempt;
drop function end_writers();
create trigger attempt_is_followed after update on attempt referencing old table as removed new table as added
    for each statement execute function follow_attempts();

-- Only its attempts change the state of a run: that is a trigger, so its depth is not 0.
drop trigger run_is_a_record on run;
drop function keep_run();
create trigger run_is_a_record before update on run for each row
    when (
        (new.id, new.project_id, new.experiment_id, new.parent_id, new.name, new.created_by, new.created_at,
            new.started_at, new.request_sha256)
            is distinct from (old.id, old.project_id, old.experiment_id, old.parent_id, old.name, old.created_by,
            old.created_at, old.started_at, old.request_sha256)
        or pg_trigger_depth() = 0
            and (new.status, new.attempt, new.finished_at) is distinct from (old.status, old.attempt, old.finished_at)
    )
    execute function refuse_change();
create trigger run_is_kept before delete on run for each row execute function refuse_change();

-- Nothing reads this index, and with it every end of a run had to be written into all the others.
drop index run_open;
alter table run set (fillfactor = 70);
alter table attempt set (fillfactor = 70);

-- Series come from keysets only, whose run is there. The locks are taken in one order, so that no two wait in a circle.
create or replace function make_series() returns trigger language plpgsql as $$
declare
    full_run_id uuid;
begin
    perform pg_advisory_xact_lock(0x6b657973, run_lock)
    from (select distinct hashtext(run_id::text) as run_lock from added order by run_lock) as runs;
    insert into series (run_id, key)
    select added.run_id, key
    from added
    join keyset on keyset.id = added.keyset_id
    cross join unnest(keyset.keys) as key
    on conflict (run_id, key) do nothing;
    select run_id into full_run_id
    from (select distinct run_id from added) as runs
    where (select count(*) from series where series.run_id = runs.run_id) > 10000
    limit 1;
    if found then
        raise exception 'run % would have more than 10000 metric keys', full_run_id
            using errcode = 'check_violation', constraint = 'run_keys_max', table = tg_table_name;
    end if;
    return null;
end $$;

drop trigger run_keyset_makes_series on run_keyset;
create trigger run_keyset_makes_series after insert on run_keyset referencing new table as added
    for each statement execute function make_series();
create trigger series_comes_from_keyset before insert on series for each row
    when (pg_trigger_depth() = 0)
    execute function refuse_change();
alter table series drop constraint series_run_fkey;
