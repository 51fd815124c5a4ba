-- Artifacts: files of a run. The bytes are in the object store; what they must be, and whether they are, is here.

alter table run add constraint run_project_key unique (id, project_id);

-- Bytes that were verified, once per project and digest.
create table object (
    project_id uuid not null,
    digest bytea not null,                  -- SHA-256 of the bytes
    size_bytes bigint not null,
    object_key text not null,
    verified_at timestamptz not null default now(),
    constraint object_pkey primary key (project_id, digest),
    constraint object_digest_length check (length(digest) = 32),
    constraint object_size_counts check (size_bytes >= 0),
    constraint object_project_fkey foreign key (project_id) references project
);

create trigger object_is_append_only before update or delete on object for each row execute function refuse_change();

-- `digest` and `size_bytes` are what the client promised. `stored_digest` repeats the digest once it was verified,
-- so that a READY artifact without its object cannot exist.
create table artifact (
    id uuid not null,
    project_id uuid not null,
    run_id uuid not null,
    attempt integer not null,
    path text collate "C" not null,
    state text not null default 'PENDING',
    digest bytea not null,
    stored_digest bytea generated always as (case when state = 'READY' then digest end) stored,
    size_bytes bigint not null,
    media_type text,
    failure_reason text,
    failure_message text,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    finalized_at timestamptz,
    constraint artifact_pkey primary key (id),
    constraint artifact_state_known check (state in ('PENDING', 'VALIDATING', 'READY', 'FAILED')),
    constraint artifact_path_length check (octet_length(path) between 1 and 1024),
    constraint artifact_digest_length check (length(digest) = 32),
    constraint artifact_size_counts check (size_bytes >= 0),
    constraint artifact_media_type_length check (char_length(media_type) between 1 and 250),
    constraint artifact_failure_known check (failure_reason in (
        'DIGEST_MISMATCH', 'SIZE_MISMATCH', 'MISSING', 'EXPIRED', 'ABORTED', 'POISON', 'STORAGE')),
    constraint artifact_failure_is_said check (
        (state = 'FAILED') = (failure_reason is not null) and (state = 'FAILED') = (failure_message is not null)),
    constraint artifact_finalized_has_time check ((state in ('READY', 'FAILED')) = (finalized_at is not null)),
    constraint artifact_run_fkey foreign key (run_id, project_id) references run (id, project_id),
    constraint artifact_attempt_fkey foreign key (run_id, attempt) references attempt,
    constraint artifact_object_fkey foreign key (project_id, stored_digest) references object (project_id, digest),
    constraint artifact_created_by_fkey foreign key (created_by) references account
);

create unique index artifact_live_path on artifact (run_id, path) where state <> 'FAILED';
create index artifact_of_run on artifact (run_id, path, id);
create index artifact_validating on artifact (run_id) where state = 'VALIDATING';

-- A client's permission to send the bytes of one artifact, then the worker's errand to verify them.
-- It has the id of its artifact. Without `staging_key` the client writes the content key itself.
create table upload (
    id uuid not null,
    staging_key text,
    part_size_bytes bigint,                 -- null: one PUT
    multipart_id text,                      -- the store's name for a multipart upload
    parts jsonb,                            -- ETags that the client reported, by part number
    state text not null default 'SENDING',
    attempts integer not null default 0,    -- how often a worker began and did not say how it ended
    fence bigint not null default 0,        -- of the newest claim; an older one changes nothing
    next_at timestamptz not null default now(),   -- when a worker may look; a claim moves it by its lease
    expires_at timestamptz not null,        -- when the client, or then the store, is no longer waited for
    constraint upload_pkey primary key (id),
    constraint upload_staging_key_key unique (staging_key),
    constraint upload_state_known check (state in ('SENDING', 'CHECKING', 'DONE')),
    constraint upload_part_size_counts check (part_size_bytes > 0),
    constraint upload_parts_form check (jsonb_typeof(parts) = 'object'),
    constraint upload_multipart_is_staged check (part_size_bytes is null or staging_key is not null),
    constraint upload_multipart_has_parts check (multipart_id is null or part_size_bytes is not null),
    constraint upload_artifact_fkey foreign key (id) references artifact
);

create index upload_due on upload (next_at) where state = 'CHECKING';
create index upload_open on upload (expires_at) where state = 'SENDING';

create trigger artifact_needs_open_attempt before insert on artifact
    for each row execute function require_open_attempt();

-- What an artifact is never changes, and its state only moves towards the end. After its attempt has ended, bytes that
-- were reported before may still be found good or bad, and nothing else.
create function keep_artifact() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE'
        or old.state in ('READY', 'FAILED')
        or (new.id, new.project_id, new.run_id, new.attempt, new.path, new.digest, new.size_bytes, new.media_type,
            new.created_by, new.created_at)
            is distinct from (old.id, old.project_id, old.run_id, old.attempt, old.path, old.digest, old.size_bytes,
            old.media_type, old.created_by, old.created_at)
        or (old.state, new.state) not in (
            ('PENDING', 'VALIDATING'), ('PENDING', 'FAILED'), ('VALIDATING', 'READY'), ('VALIDATING', 'FAILED'))
    then
        raise exception 'artifact % is a record and cannot be changed', old.id
            using errcode = 'check_violation', constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    if new.state = 'VALIDATING' then
        perform from attempt
        where run_id = new.run_id and number = new.attempt and finished_at is null
        for share;
        if not found then
            raise exception 'attempt % of run % has ended', new.attempt, new.run_id
                using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
        end if;
    end if;
    return new;
end $$;

create trigger artifact_is_a_record before update or delete on artifact for each row execute function keep_artifact();

-- An upload never returns to an earlier state, and an older claim never comes back.
create function keep_upload() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE'
        or old.state = 'DONE'
        or (old.state = 'CHECKING' and new.state = 'SENDING')
        or new.fence < old.fence
        or (new.id, new.staging_key, new.part_size_bytes) is distinct from (old.id, old.staging_key, old.part_size_bytes)
        or (old.multipart_id is not null and new.multipart_id is distinct from old.multipart_id)
    then
        raise exception 'upload % cannot go back', old.id
            using errcode = 'check_violation', constraint = 'record_is_append_only', table = tg_table_name;
    end if;
    return new;
end $$;

create trigger upload_only_goes_on before update or delete on upload for each row execute function keep_upload();
