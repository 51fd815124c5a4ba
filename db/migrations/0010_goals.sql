-- The goal of a metric: whether a project wants it small or large. Changeable, every change kept.

-- A goal that was taken back has no value.
create table metric_goal (
    project_id uuid not null,
    key text collate "C" not null,
    goal text,
    changed_by uuid not null,
    changed_at timestamptz not null default now(),
    constraint metric_goal_pkey primary key (project_id, key),
    constraint metric_goal_known check (goal in ('MINIMIZE', 'MAXIMIZE')),
    constraint metric_goal_key_length check (char_length(key) between 1 and 250 and octet_length(key) <= 1000),
    constraint metric_goal_project_fkey foreign key (project_id) references project,
    constraint metric_goal_changed_by_fkey foreign key (changed_by) references account
);

create table metric_goal_change (
    id bigint generated always as identity,
    project_id uuid not null,
    key text collate "C" not null,
    before text,
    after text,
    changed_by uuid not null,
    changed_at timestamptz not null,
    constraint metric_goal_change_pkey primary key (id),
    constraint metric_goal_change_of_goal_fkey foreign key (project_id, key) references metric_goal
);

create index metric_goal_change_of_key on metric_goal_change (project_id, key, id);

create trigger metric_goal_is_never_deleted before delete on metric_goal
    for each row execute function refuse_change();
create trigger metric_goal_change_is_append_only before update or delete on metric_goal_change
    for each row execute function refuse_change();

create function keep_metric_goal_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.goal is distinct from old.goal then
        insert into metric_goal_change (project_id, key, before, after, changed_by, changed_at)
        values (new.project_id, new.key, case when tg_op = 'UPDATE' then old.goal end, new.goal, new.changed_by,
            new.changed_at);
    end if;
    return null;
end $$;

create trigger metric_goal_change_is_kept after insert or update on metric_goal
    for each row execute function keep_metric_goal_change();
