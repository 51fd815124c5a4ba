-- What starts, logs to and ends a run is checked in one query for all rows of a statement. A foreign key asks for each
-- row, and locks what the row refers to: the one account and project that all runs of a team have.

-- What runs refer to stays, so that a reference that was right once is right for ever and needs no lock.
create trigger account_is_kept before delete on account for each row execute function refuse_change();
create trigger account_keeps_its_id before update on account for each row
    when (new.id <> old.id)
    execute function refuse_change();
create trigger project_is_kept before delete on project for each row execute function refuse_change();
create trigger project_keeps_its_id before update on project for each row
    when (new.id <> old.id)
    execute function refuse_change();
create trigger experiment_is_kept before delete on experiment for each row execute function refuse_change();
create trigger experiment_keeps_its_project before update on experiment for each row
    when ((new.id, new.project_id) is distinct from (old.id, old.project_id))
    execute function refuse_change();

-- Lookups are subqueries of a value: a join might be planned to read a whole table for a few rows.
create or replace function note_runs() returns trigger language plpgsql as $$
begin
    if exists (
        select from added
        where (select project_id from experiment where experiment.id = added.experiment_id)
                is distinct from added.project_id
            or (select id from account where account.id = added.created_by) is null
    ) then
        raise exception 'a run needs an experiment of its project and an account'
            using errcode = 'foreign_key_violation', constraint = 'run_is_of_experiment', table = tg_table_name;
    end if;
    insert into event_unread (run_id, kind, attempt, status)
    select id, 'RUN_CREATED', attempt, status from added;
    return null;
end $$;

alter table run
    drop constraint run_project_fkey, drop constraint run_experiment_fkey, drop constraint run_created_by_fkey;

create function require_run_and_account() returns trigger language plpgsql as $$
begin
    if exists (
        select from added
        where (select id from run where run.id = added.run_id) is null
            or (select id from account where account.id = added.started_by) is null
    ) then
        raise exception 'an attempt needs a run and an account'
            using errcode = 'foreign_key_violation', constraint = 'attempt_is_of_run', table = tg_table_name;
    end if;
    return null;
end $$;

create trigger attempt_is_of_run after insert on attempt referencing new table as added
    for each statement execute function require_run_and_account();
alter table attempt drop constraint attempt_run_fkey, drop constraint attempt_started_by_fkey;

-- The locks make a write and the end of its attempt wait for each other; they are taken in the order of ids. What comes
-- with the run itself is no event.
create function take_params() returns trigger language plpgsql as $$
declare
    refused record;
begin
    with written as materialized (
        select distinct run_id, attempt, project_id from added
    ), open as materialized (
        select run.id, run.project_id, attempt.number, run.attempt, run.created_at
        from (select distinct run_id, attempt from written) as asked
        join run on run.id = asked.run_id
        join attempt on attempt.run_id = run.id and attempt.number = asked.attempt
        where attempt.finished_at is null
        order by attempt.run_id, attempt.number
        for share of attempt
    ), noted as (
        insert into event_unread (run_id, kind, attempt)
        select id, 'PARAMS_LOGGED', attempt from open where created_at <> now()
    )
    select written.run_id, written.attempt, open.id is not null as is_open into refused
    from written
    left join open on open.id = written.run_id and open.number = written.attempt
    where open.project_id is distinct from written.project_id
    limit 1;
    if not found then
        return null;
    elsif refused.is_open then
        raise exception 'run % is in another project', refused.run_id
            using errcode = 'check_violation', constraint = 'record_is_of_project', table = tg_table_name;
    end if;
    raise exception 'attempt % of run % has ended', refused.attempt, refused.run_id
        using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
end $$;

drop trigger param_needs_open_attempt on param;
drop trigger param_is_noted on param;
drop function require_open_attempts_and_project();
create trigger param_needs_open_attempt after insert on param referencing new table as added
    for each statement execute function take_params();

create function take_tags() returns trigger language plpgsql as $$
declare
    refused record;
begin
    with written as materialized (
        select distinct run_id, project_id, changed_by from added
    ), kept as (
        insert into tag_change (run_id, key, after, changed_by, changed_at)
        select run_id, key, value, changed_by, changed_at from added
    ), noted as (
        insert into event_unread (run_id, kind, attempt)
        select run.id, 'TAGS_CHANGED', run.attempt
        from (select distinct run_id from written) as of_run
        join run on run.id = of_run.run_id
        where run.created_at <> now()
    )
    select run_id, (select id from account where account.id = changed_by) is null as is_nobodys into refused
    from written
    where (select project_id from run where run.id = run_id) is distinct from project_id
        or (select id from account where account.id = changed_by) is null
    limit 1;
    if not found then
        return null;
    elsif refused.is_nobodys then
        raise exception 'a tag needs an account'
            using errcode = 'foreign_key_violation', constraint = 'tag_is_of_account', table = tg_table_name;
    end if;
    raise exception 'run % is in another project', refused.run_id
        using errcode = 'check_violation', constraint = 'record_is_of_project', table = tg_table_name;
end $$;

create or replace function keep_changed_tags() returns trigger language plpgsql as $$
begin
    if exists (select from added where (select id from account where account.id = added.changed_by) is null) then
        raise exception 'a tag needs an account'
            using errcode = 'foreign_key_violation', constraint = 'tag_is_of_account', table = tg_table_name;
    end if;
    insert into tag_change (run_id, key, before, after, changed_by, changed_at)
    select added.run_id, added.key, removed.value, added.value, added.changed_by, added.changed_at
    from added
    join removed on removed.run_id = added.run_id and removed.key = added.key
    where added.value is distinct from removed.value;
    return null;
end $$;

drop trigger tag_change_is_kept_of_new on tag;
drop trigger tag_is_of_project on tag;
drop trigger tag_is_noted on tag;
drop function keep_new_tags();
create trigger tag_change_is_kept_of_new after insert on tag referencing new table as added
    for each statement execute function take_tags();
alter table tag drop constraint tag_run_fkey, drop constraint tag_changed_by_fkey;

create function open_writers() returns trigger language plpgsql as $$
declare
    refused record;
begin
    with open as materialized (
        select attempt.run_id, attempt.number
        from (select distinct run_id, attempt from added) as asked
        join attempt on attempt.run_id = asked.run_id and attempt.number = asked.attempt
        where attempt.finished_at is null
        order by attempt.run_id, attempt.number
        for share of attempt
    )
    select added.run_id, added.attempt, open.run_id is null as has_ended into refused
    from added
    left join open on open.run_id = added.run_id and open.number = added.attempt
    where open.run_id is null or (select id from account where account.id = added.opened_by) is null
    limit 1;
    if not found then
        return null;
    elsif refused.has_ended then
        raise exception 'attempt % of run % has ended', refused.attempt, refused.run_id
            using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
    end if;
    raise exception 'a writer needs an account'
        using errcode = 'foreign_key_violation', constraint = 'writer_is_of_account', table = tg_table_name;
end $$;

drop trigger writer_needs_open_attempt on writer;
create trigger writer_needs_open_attempt after insert on writer referencing new table as added
    for each statement execute function open_writers();
alter table writer drop constraint writer_opened_by_fkey;

-- The keys of a run are those of its keysets: a training has one or two. Only where the keysets of a run are larger
-- together than a run may be are its keys counted one by one, in `series`, which has no rows of other runs. The locks
-- are taken in one order, so that no two wait in a circle.
create or replace function make_series() returns trigger language plpgsql as $$
declare
    large record;
begin
    perform pg_advisory_xact_lock(0x6b657973, run_lock)
    from (select distinct hashtext(run_id::text) as run_lock from added order by run_lock) as runs;
    if exists (
        select from added
        where (select id from run where run.id = added.run_id) is null
            or (select id from keyset where keyset.id = added.keyset_id) is null
    ) then
        raise exception 'a run or a keyset is missing'
            using errcode = 'foreign_key_violation', constraint = 'run_keyset_is_of_run', table = tg_table_name;
    end if;
    for large in
        select run_id
        from (select distinct run_id from added) as written
        where (
            select sum(keyset.size)
            from run_keyset join keyset on keyset.id = run_keyset.keyset_id
            where run_keyset.run_id = written.run_id
        ) > 10000
    loop
        insert into series (run_id, key)
        select large.run_id, key
        from run_keyset
        join keyset on keyset.id = run_keyset.keyset_id
        cross join unnest(keyset.keys) as key
        where run_keyset.run_id = large.run_id
            and (
                run_keyset.keyset_id = any (array(select keyset_id from added where added.run_id = large.run_id))
                or not exists (select from series where series.run_id = large.run_id)
            )
        on conflict (run_id, key) do nothing;
        if (select count(*) from series where series.run_id = large.run_id) > 10000 then
            raise exception 'run % would have more than 10000 metric keys', large.run_id
                using errcode = 'check_violation', constraint = 'run_keys_max', table = tg_table_name;
        end if;
    end loop;
    return null;
end $$;

alter table run_keyset drop constraint run_keyset_run_fkey, drop constraint run_keyset_keyset_fkey;

create temporary table large as
select run_id
from run_keyset join keyset on keyset.id = run_keyset.keyset_id
group by run_id
having sum(keyset.size) > 10000;
create temporary table kept as select run_id, key from series where run_id in (select run_id from large);
truncate series;
alter table series disable trigger series_comes_from_keyset;
insert into series (run_id, key) select run_id, key from kept;
alter table series enable trigger series_comes_from_keyset;
drop table large, kept;

-- Writers that did not move are looked for only when some did not, which the counts tell.
create or replace function move_writers() returns trigger language plpgsql as $$
declare
    moved_ids uuid[];
    batches bigint;
    refused record;
begin
    with batch as materialized (
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
    select array(select id from moved), (select count(*) from batch) into moved_ids, batches;
    if cardinality(moved_ids) < batches then
        select added.run_id, added.attempt, added.writer_id, added.seq, writer.ended_at into refused
        from added
        left join writer on writer.id = added.writer_id
        order by coalesce(added.writer_id = any (moved_ids) and writer.run_id = added.run_id, false), added.seq
        limit 1;
        if refused.ended_at is not null then
            raise exception 'attempt % of run % has ended', refused.attempt, refused.run_id
                using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
        end if;
        raise exception 'block % is not the next of writer %', refused.seq, refused.writer_id
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
