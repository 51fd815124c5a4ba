-- A trigger looks the few runs and attempts of its rows up, one by one. As a join this was planned when the tables were
-- new, and the plan stays: it walked through all attempts for each run that began, until the tables were analyzed. A
-- lateral subquery that locks, or has an offset, is asked for each row and nothing else.

create or replace function take_params() returns trigger language plpgsql as $$
declare
    refused record;
begin
    with written as materialized (
        select distinct run_id, attempt, project_id from added
    ), open as materialized (
        select asked.run_id, asked.attempt, run.project_id, run.attempt as newest, run.created_at
        from (select distinct run_id, attempt from written order by run_id, attempt) as asked
        cross join lateral (
            select project_id, attempt, created_at from run where run.id = asked.run_id offset 0
        ) as run
        cross join lateral (
            select from attempt
            where attempt.run_id = asked.run_id and attempt.number = asked.attempt and attempt.finished_at is null
            for share
        ) as attempt
    ), noted as (
        insert into event_unread (run_id, kind, attempt)
        select run_id, 'PARAMS_LOGGED', newest from open where created_at <> now()
    )
    select written.run_id, written.attempt, open.run_id is not null as is_open into refused
    from written
    left join open on open.run_id = written.run_id and open.attempt = written.attempt
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

create or replace function take_tags() returns trigger language plpgsql as $$
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
        select of_run.run_id, 'TAGS_CHANGED', run.attempt
        from (select distinct run_id from written) as of_run
        cross join lateral (
            select attempt from run where run.id = of_run.run_id and run.created_at <> now() offset 0
        ) as run
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

create or replace function open_writers() returns trigger language plpgsql as $$
declare
    refused record;
begin
    with open as materialized (
        select asked.run_id, asked.attempt
        from (select distinct run_id, attempt from added order by run_id, attempt) as asked
        cross join lateral (
            select from attempt
            where attempt.run_id = asked.run_id and attempt.number = asked.attempt and attempt.finished_at is null
            for share
        ) as attempt
    )
    select added.run_id, added.attempt, open.run_id is null as has_ended into refused
    from added
    left join open on open.run_id = added.run_id and open.attempt = added.attempt
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
