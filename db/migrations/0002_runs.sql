-- Experiments and runs: who trained what, with which settings, from which source and environment.

create table experiment (
    id uuid not null,
    project_id uuid not null,
    name text not null,
    description text not null default '',
    created_by uuid not null,
    created_at timestamptz not null default now(),
    constraint experiment_pkey primary key (id),
    constraint experiment_name_key unique (project_id, name),
    constraint experiment_name_length check (char_length(name) between 1 and 250 and octet_length(name) <= 1000),
    constraint experiment_description_length check (char_length(description) <= 10000),
    constraint experiment_project_fkey foreign key (project_id) references project,
    constraint experiment_created_by_fkey foreign key (created_by) references account
);

-- `status` and `attempt` repeat those of the newest attempt, so that a list needs one table.
create table run (
    id uuid not null,
    project_id uuid not null,
    experiment_id uuid not null,
    parent_id uuid,
    name text not null,
    status text not null default 'RUNNING',
    attempt integer not null default 1,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    started_at timestamptz,                 -- by the client's clock
    finished_at timestamptz,                -- of the newest attempt, by ours
    request_sha256 bytea not null,          -- of what createRun was asked, to tell a repetition from a conflict
    constraint run_pkey primary key (id),
    constraint run_status_known check (status in ('RUNNING', 'FINISHED', 'FAILED', 'KILLED', 'LOST')),
    constraint run_finished_has_time check ((status in ('RUNNING', 'LOST')) = (finished_at is null)),
    constraint run_name_length check (char_length(name) between 1 and 250 and octet_length(name) <= 1000),
    constraint run_request_length check (length(request_sha256) = 32),
    constraint run_project_fkey foreign key (project_id) references project,
    constraint run_experiment_fkey foreign key (experiment_id) references experiment,
    constraint run_parent_fkey foreign key (parent_id) references run,
    constraint run_created_by_fkey foreign key (created_by) references account
);

create index run_newest on run (project_id, created_at desc, id desc);
create index run_newest_of_experiment on run (experiment_id, created_at desc, id desc);
create index run_children on run (parent_id, created_at desc, id desc) where parent_id is not null;
create index run_open on run (id) where status = 'RUNNING';

-- The first start and each resumption. What an attempt recorded is fixed when the attempt ends.
create table attempt (
    run_id uuid not null,
    number integer not null,
    id uuid not null,                       -- made by the client, so that resuming can be repeated
    status text not null default 'RUNNING',
    started_by uuid not null,
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now(),
    finished_at timestamptz,
    client_finished_at timestamptz,
    constraint attempt_pkey primary key (run_id, number),
    constraint attempt_id_key unique (run_id, id),
    constraint attempt_status_known check (status in ('RUNNING', 'FINISHED', 'FAILED', 'KILLED', 'LOST')),
    constraint attempt_number_counts check (number between 1 and 10000),
    constraint attempt_finished_has_time check (status = 'LOST' or (status = 'RUNNING') = (finished_at is null)),
    constraint attempt_run_fkey foreign key (run_id) references run,
    constraint attempt_started_by_fkey foreign key (started_by) references account
);

create table source (
    run_id uuid not null,
    attempt integer not null,
    commit_id text,
    branch text,
    remote text,
    is_dirty boolean,
    entry_point text,
    argv text[],
    patch_digest bytea,
    constraint source_pkey primary key (run_id, attempt),
    constraint source_patch_digest_length check (length(patch_digest) = 32),
    constraint source_attempt_fkey foreign key (run_id, attempt) references attempt
);

create table environment (
    run_id uuid not null,
    attempt integer not null,
    python text,
    platform text,
    hostname text,
    cpu_count integer,
    memory_bytes bigint,
    gpus text[] not null default '{}',
    packages jsonb not null default '{}',   -- name to version
    constraint environment_pkey primary key (run_id, attempt),
    constraint environment_packages_form check (jsonb_typeof(packages) = 'object'),
    constraint environment_attempt_fkey foreign key (run_id, attempt) references attempt
);

-- `text` is the value exactly as given (a string itself, otherwise its JSON); `number` is for comparing.
create table param (
    run_id uuid not null,
    key text not null,
    attempt integer not null,
    type text not null,
    text text not null,
    number double precision,
    constraint param_pkey primary key (run_id, key),
    constraint param_type_known check (type in ('STRING', 'INT', 'FLOAT', 'BOOL', 'NULL', 'JSON')),
    constraint param_number_of_type check ((type in ('INT', 'FLOAT')) = (number is not null)),
    constraint param_key_length check (char_length(key) between 1 and 250 and octet_length(key) <= 1000),
    constraint param_text_length check (octet_length(text) <= 65536),
    constraint param_attempt_fkey foreign key (run_id, attempt) references attempt
);

-- Annotations: changeable at any time, every change kept. A removed tag has no value.
create table tag (
    run_id uuid not null,
    key text not null,
    value text,
    changed_by uuid not null,
    changed_at timestamptz not null default now(),
    constraint tag_pkey primary key (run_id, key),
    constraint tag_key_length check (char_length(key) between 1 and 250 and octet_length(key) <= 1000),
    constraint tag_value_length check (octet_length(value) <= 65536),
    constraint tag_run_fkey foreign key (run_id) references run,
    constraint tag_changed_by_fkey foreign key (changed_by) references account
);

create table tag_change (
    id bigint generated always as identity,
    run_id uuid not null,
    key text not null,
    before text,
    after text,
    changed_by uuid not null,
    changed_at timestamptz not null,
    constraint tag_change_pkey primary key (id),
    constraint tag_change_run_fkey foreign key (run_id) references run
);

create index tag_change_of_run on tag_change (run_id, id);

create table dataset (
    id uuid not null,
    project_id uuid not null,
    name text not null,
    digest text not null,
    uri text,
    constraint dataset_pkey primary key (id),
    constraint dataset_identity_key unique nulls not distinct (project_id, name, digest, uri),
    constraint dataset_name_length check (char_length(name) between 1 and 250 and octet_length(name) <= 1000),
    constraint dataset_digest_length check (char_length(digest) between 1 and 250),
    constraint dataset_uri_length check (octet_length(uri) <= 4096),
    constraint dataset_project_fkey foreign key (project_id) references project
);

create table run_input (
    run_id uuid not null,
    dataset_id uuid not null,
    context text not null default '',
    attempt integer not null,
    constraint run_input_pkey primary key (run_id, dataset_id, context),
    constraint run_input_context_length check (char_length(context) <= 250),
    constraint run_input_dataset_fkey foreign key (dataset_id) references dataset,
    constraint run_input_attempt_fkey foreign key (run_id, attempt) references attempt
);

-- Whoever writes: what a run recorded is only added to, and only while its attempt is open.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name
        using errcode = 'check_violation', constraint = 'record_is_append_only', table = tg_table_name;
end $$;

-- The lock makes a write and the end of its attempt wait for each other: a write is either before it or refused.
create function require_open_attempt() returns trigger language plpgsql as $$
begin
    perform from attempt
    where run_id = new.run_id and number = new.attempt and finished_at is null
    for share;
    if not found then
        raise exception 'attempt % of run % has ended', new.attempt, new.run_id
            using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
    end if;
    return new;
end $$;

create trigger source_needs_open_attempt before insert on source for each row execute function require_open_attempt();
create trigger source_is_append_only before update or delete on source for each row execute function refuse_change();
create trigger environment_needs_open_attempt before insert on environment
    for each row execute function require_open_attempt();
create trigger environment_is_append_only before update or delete on environment
    for each row execute function refuse_change();
create trigger param_needs_open_attempt before insert on param for each row execute function require_open_attempt();
create trigger param_is_append_only before update or delete on param for each row execute function refuse_change();
create trigger run_input_needs_open_attempt before insert on run_input
    for each row execute function require_open_attempt();
create trigger run_input_is_append_only before update or delete on run_input
    for each row execute function refuse_change();
create trigger dataset_is_append_only before update or delete on dataset
    for each row execute function refuse_change();
create trigger tag_is_never_deleted before delete on tag for each row execute function refuse_change();
create trigger tag_change_is_append_only before update or delete on tag_change
    for each row execute function refuse_change();

create function keep_tag_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.value is distinct from old.value then
        insert into tag_change (run_id, key, before, after, changed_by, changed_at)
        values (new.run_id, new.key, case when tg_op = 'UPDATE' then old.value end, new.value, new.changed_by,
            new.changed_at);
    end if;
    return null;
end $$;

create trigger tag_change_is_kept after insert or update on tag for each row execute function keep_tag_change();

-- An attempt is open until it has `finished_at`; a lost one may come back until then.
create function keep_ended_attempt() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or old.finished_at is not null
        or (new.run_id, new.number, new.id, new.started_by, new.started_at)
            is distinct from (old.run_id, old.number, old.id, old.started_by, old.started_at)
    then
        raise exception 'attempt % of run % has ended', old.number, old.run_id
            using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
    end if;
    return new;
end $$;

create trigger attempt_stays_ended before update or delete on attempt
    for each row execute function keep_ended_attempt();

-- A run shows the state of its newest attempt and nothing else of it ever changes.
create function show_newest_attempt() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.status <> old.status then
        update run
        set status = new.status,
            attempt = new.number,
            finished_at = case when new.status in ('RUNNING', 'LOST') then null else new.finished_at end
        where id = new.run_id and attempt <= new.number
            and (status, attempt) is distinct from (new.status, new.number);
    end if;
    return null;
end $$;

create trigger attempt_shows_in_run after insert or update on attempt
    for each row execute function show_newest_attempt();

create function keep_run() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE'
        or (new.id, new.project_id, new.experiment_id, new.parent_id, new.name, new.created_by, new.created_at,
            new.started_at, new.request_sha256)
            is distinct from (old.id, old.project_id, old.experiment_id, old.parent_id, old.name, old.created_by,
            old.created_at, old.started_at, old.request_sha256)
        or not exists (
            select from attempt
            where run_id = new.id and number = new.attempt and status = new.status
        )
    then
        raise exception 'run % is a record and cannot be changed', old.id
            using errcode = 'check_violation', constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    return new;
end $$;

create trigger run_is_a_record before update or delete on run for each row execute function keep_run();
