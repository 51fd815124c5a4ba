-- Trees and groups of runs. A run knows the runs above it, so that "below this run" is one lookup and needs no walk.

alter table run
    add column group_name text,
    add column ancestor_ids uuid[] not null default '{}',   -- the outermost first, its parent last
    add constraint run_group_length check (
        char_length(group_name) between 1 and 250 and octet_length(group_name) <= 1000
    ),
    add constraint run_depth_max check (cardinality(ancestor_ids) <= 32),
    -- A parent is there before its children and never changes, so that there are no circles but this.
    add constraint run_parent_is_another check (parent_id <> id);

with recursive below as (
    select child.id, array[child.parent_id] as ancestor_ids
    from run as child
    join run as parent on parent.id = child.parent_id
    where parent.parent_id is null
    union all
    select child.id, below.ancestor_ids || below.id
    from below
    join run as child on child.parent_id = below.id
)
update run set ancestor_ids = below.ancestor_ids from below where run.id = below.id;

alter table run
    drop constraint run_parent_fkey,
    add constraint run_parent_fkey foreign key (parent_id, project_id) references run (id, project_id),
    add constraint run_ancestors_end_in_parent check (
        parent_id is not distinct from ancestor_ids[cardinality(ancestor_ids)]
    );

create index run_of_ancestor on run using gin (ancestor_ids) with (fastupdate = off) where parent_id is not null;
create index run_of_group on run (project_id, group_name, created_at desc, id desc) where group_name is not null;

create function follow_parent() returns trigger language plpgsql as $$
begin
    select ancestor_ids || id into new.ancestor_ids from run where id = new.parent_id;
    if cardinality(new.ancestor_ids) > 32 then
        raise exception 'run % would have % runs above it; there may be 32', new.id, cardinality(new.ancestor_ids)
            using errcode = 'check_violation', constraint = 'run_depth_max', table = tg_table_name;
    end if;
    return new;
end $$;

create trigger run_follows_its_parent before insert on run for each row
    when (new.parent_id is not null)
    execute function follow_parent();

drop trigger run_is_a_record on run;
create trigger run_is_a_record before update on run for each row
    when (
        (new.id, new.project_id, new.experiment_id, new.parent_id, new.name, new.created_by, new.created_at,
            new.started_at, new.request_sha256, new.group_name, new.ancestor_ids)
            is distinct from (old.id, old.project_id, old.experiment_id, old.parent_id, old.name, old.created_by,
            old.created_at, old.started_at, old.request_sha256, old.group_name, old.ancestor_ids)
        or pg_trigger_depth() = 0
            and (new.status, new.attempt, new.finished_at) is distinct from (old.status, old.attempt, old.finished_at)
    )
    execute function refuse_change();
