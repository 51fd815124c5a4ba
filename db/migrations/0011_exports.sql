-- Exports: runs written as files for other programs. The row says what was asked, how far a worker is and what came out.

create table export (
    id uuid not null,                       -- made by the client, so that asking can be repeated
    project_id uuid not null,
    created_by uuid not null,
    role text not null,                     -- what the asker was allowed to see when it asked
    selection jsonb not null,               -- which runs, see db/exports.py
    tables text[] not null,
    request_sha256 bytea not null,          -- of what was asked, to tell a repetition from a conflict
    state text not null default 'QUEUED',
    runs_total bigint not null,             -- when it was asked
    runs_done bigint not null default 0,
    points bigint not null default 0,
    failure_reason text,
    failure_message text,
    attempts integer not null default 0,    -- how often a worker began and did not say how it ended
    fence bigint not null default 0,        -- of the newest claim; an older one changes nothing
    next_at timestamptz not null default now(),   -- when a worker may look; a claim moves it by its lease
    created_at timestamptz not null default now(),
    started_at timestamptz,                 -- when the newest claim began
    finished_at timestamptz,
    expires_at timestamptz,                 -- when its files are deleted
    cleared_at timestamptz,                 -- when the store was found without its files
    constraint export_pkey primary key (id),
    constraint export_role_known check (role in ('VIEWER', 'LOGGER', 'EDITOR', 'OWNER')),
    constraint export_selection_form check (jsonb_typeof(selection) = 'object'),
    constraint export_tables_known check (
        cardinality(tables) > 0
        and tables <@ '{RUNS,PARAMS,METRICS,POINTS,TAGS,INPUTS,ARTIFACTS,PACKAGES}'::text[]),
    constraint export_request_length check (length(request_sha256) = 32),
    constraint export_state_known check (state in ('QUEUED', 'RUNNING', 'READY', 'FAILED', 'EXPIRED')),
    constraint export_counts check (runs_total >= 0 and runs_done >= 0 and points >= 0),
    constraint export_failure_known check (failure_reason in ('FORBIDDEN', 'TOO_LARGE', 'TOO_SLOW', 'POISON')),
    constraint export_failure_is_said check (
        (state = 'FAILED') = (failure_reason is not null) and (state = 'FAILED') = (failure_message is not null)),
    constraint export_ended_has_times check (
        (state in ('QUEUED', 'RUNNING')) = (finished_at is null) and (finished_at is null) = (expires_at is null)),
    constraint export_started_has_time check (state = 'QUEUED' or started_at is not null),
    constraint export_cleared_is_over check (cleared_at is null or state in ('FAILED', 'EXPIRED')),
    constraint export_project_fkey foreign key (project_id) references project,
    constraint export_created_by_fkey foreign key (created_by) references account
);

create index export_newest on export (project_id, created_at desc, id desc);
create index export_due on export (next_at) where state in ('QUEUED', 'RUNNING');
create index export_open on export (created_by) where state in ('QUEUED', 'RUNNING');
create index export_uncleared on export (expires_at) where cleared_at is null;

-- The files of an export, all at once when it is READY.
create table export_file (
    export_id uuid not null,
    number integer not null,                -- their order, from 1
    name text not null,
    of_table text,                          -- null: the manifest
    rows bigint,
    size_bytes bigint not null,
    digest bytea not null,                  -- SHA-256 of the bytes
    object_key text not null,
    constraint export_file_pkey primary key (export_id, number),
    constraint export_file_name_key unique (export_id, name),
    constraint export_file_name_form check (name ~ '^[a-z0-9.-]{1,100}$'),
    constraint export_file_manifest_has_no_rows check ((of_table is null) = (rows is null)),
    constraint export_file_digest_length check (length(digest) = 32),
    constraint export_file_size_counts check (size_bytes >= 0 and rows >= 0),
    constraint export_file_export_fkey foreign key (export_id) references export
);

create trigger export_file_is_append_only before update or delete on export_file
    for each row execute function refuse_change();

-- What was asked never changes, an export never returns to an earlier state, and an older claim never comes back.
create function keep_export() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE'
        or (new.id, new.project_id, new.created_by, new.role, new.selection, new.tables, new.request_sha256,
            new.created_at)
            is distinct from (old.id, old.project_id, old.created_by, old.role, old.selection, old.tables,
            old.request_sha256, old.created_at)
        or new.fence < old.fence
        or (old.state, new.state) not in (
            ('QUEUED', 'QUEUED'), ('QUEUED', 'RUNNING'), ('RUNNING', 'RUNNING'), ('RUNNING', 'READY'),
            ('RUNNING', 'FAILED'), ('READY', 'READY'), ('READY', 'EXPIRED'), ('FAILED', 'FAILED'),
            ('EXPIRED', 'EXPIRED'))
    then
        raise exception 'export % cannot go back', old.id
            using errcode = 'check_violation', constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    return new;
end $$;

create trigger export_only_goes_on before update or delete on export for each row execute function keep_export();
