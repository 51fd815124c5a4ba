-- A tag holds its newest change, and tag_change those before it: the tags that a run begins with are written once, where
-- they were written twice.

alter table tag add column before text, add column change_id bigint;
alter table tag disable trigger user;
alter table tag_change disable trigger user;

update tag set before = newest.before, change_id = newest.id
from (
    select distinct on (run_id, key) run_id, key, id, before from tag_change order by run_id, key, id desc
) as newest
where tag.run_id = newest.run_id and tag.key = newest.key;
delete from tag_change using tag where tag_change.run_id = tag.run_id and tag_change.id = tag.change_id;
update tag set change_id = nextval('tag_change_id_seq') where change_id is null;

alter table tag enable trigger user;
alter table tag_change enable trigger user;

alter table tag
    alter column change_id set not null,
    alter column change_id add generated always as identity (sequence name tag_change_number);
select setval('tag_change_number', nextval('tag_change_id_seq'));
alter table tag_change
    alter column id drop identity,
    drop constraint tag_change_pkey,
    add constraint tag_change_pkey primary key (run_id, id);
drop index tag_change_of_run;

create function renew_tag() returns trigger language plpgsql as $$
begin
    new.before := old.value;
    new.change_id := nextval('tag_change_number');
    return new;
end $$;

create or replace function keep_changed_tags() returns trigger language plpgsql as $$
begin
    if exists (select from added where (select id from account where account.id = added.changed_by) is null) then
        raise exception 'a tag needs an account'
            using errcode = 'foreign_key_violation', constraint = 'tag_is_of_account', table = tg_table_name;
    end if;
    insert into tag_change (id, run_id, key, before, after, changed_by, changed_at)
    select removed.change_id, removed.run_id, removed.key, removed.before, removed.value, removed.changed_by,
        removed.changed_at
    from added
    join removed on removed.run_id = added.run_id and removed.key = added.key
    where added.value is distinct from removed.value;
    return null;
end $$;

create or replace function take_tags() returns trigger language plpgsql as $$
declare
    refused record;
begin
    with written as materialized (
        select distinct run_id, project_id, changed_by, before is not null as has_past from added
    ), noted as (
        insert into event_unread (run_id, kind, attempt)
        select of_run.run_id, 'TAGS_CHANGED', run.attempt
        from (select distinct run_id from written) as of_run
        cross join lateral (
            select attempt from run where run.id = of_run.run_id and run.created_at <> now() offset 0
        ) as run
    )
    select run_id, has_past, (select id from account where account.id = changed_by) is null as is_nobodys into refused
    from written
    where (select project_id from run where run.id = run_id) is distinct from project_id
        or (select id from account where account.id = changed_by) is null
        or has_past
    limit 1;
    if not found then
        return null;
    elsif refused.has_past then
        raise exception 'a new tag of run % has no value before', refused.run_id
            using errcode = 'check_violation', constraint = 'record_is_append_only', table = tg_table_name;
    elsif refused.is_nobodys then
        raise exception 'a tag needs an account'
            using errcode = 'foreign_key_violation', constraint = 'tag_is_of_account', table = tg_table_name;
    end if;
    raise exception 'run % is in another project', refused.run_id
        using errcode = 'check_violation', constraint = 'record_is_of_project', table = tg_table_name;
end $$;

create trigger tag_is_renewed before update on tag for each row
    when (new.value is distinct from old.value)
    execute function renew_tag();
create trigger tag_keeps_its_change before update on tag for each row
    when (
        new.value is not distinct from old.value
        and (new.before, new.change_id, new.changed_by, new.changed_at)
            is distinct from (old.before, old.change_id, old.changed_by, old.changed_at)
    )
    execute function refuse_change();
alter trigger tag_change_is_kept_of_new on tag rename to tag_is_of_project;
