-- Who may do what: accounts, projects (the unit of access and storage), memberships and tokens.

create table instance (
    is_only boolean primary key default true,
    cursor_key bytea not null,
    created_at timestamptz not null default now(),
    constraint instance_is_only check (is_only),
    constraint instance_cursor_key_length check (length(cursor_key) = 32)
);

insert into instance (cursor_key)
select sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

create table account (
    id uuid not null,
    name text not null,
    is_admin boolean not null default false,
    created_at timestamptz not null default now(),
    disabled_at timestamptz,
    constraint account_pkey primary key (id),
    constraint account_name_key unique (name),
    constraint account_name_length check (char_length(name) between 1 and 250)
);

create table project (
    id uuid not null,
    name text not null,
    description text not null default '',
    created_by uuid not null,
    created_at timestamptz not null default now(),
    constraint project_pkey primary key (id),
    constraint project_name_key unique (name),
    -- A project's name stands in addresses and scripts: plain letters only, so that no two look alike.
    constraint project_name_form check (name ~ '^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$'),
    constraint project_description_length check (char_length(description) <= 10000),
    constraint project_created_by_fkey foreign key (created_by) references account
);

create table membership (
    project_id uuid not null,
    account_id uuid not null,
    role text not null,
    granted_at timestamptz not null default now(),
    constraint membership_pkey primary key (account_id, project_id),
    constraint membership_role_known check (role in ('VIEWER', 'LOGGER', 'EDITOR', 'OWNER')),
    constraint membership_project_fkey foreign key (project_id) references project,
    constraint membership_account_fkey foreign key (account_id) references account
);

-- `rs_<id>_<secret>`: only the SHA-256 of the secret is kept. A token may be narrower than its account:
-- one project, or a role that caps the account's own.
create table token (
    id text not null,
    account_id uuid not null,
    secret_sha256 bytea not null,
    project_id uuid,
    role text,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint token_pkey primary key (id),
    constraint token_id_form check (id ~ '^[0-9a-f]{16}$'),
    constraint token_secret_length check (length(secret_sha256) = 32),
    constraint token_role_known check (role in ('VIEWER', 'LOGGER', 'EDITOR', 'OWNER')),
    constraint token_account_fkey foreign key (account_id) references account,
    constraint token_project_fkey foreign key (project_id) references project
);

create index token_account on token (account_id);

-- Whether a reader sees something of `project` that `owner` made: all of it in the projects of `readable`,
-- and in the projects of `own` only what `account` made itself (the role LOGGER).
create function is_visible(project uuid, owner uuid, readable uuid[], own uuid[], account uuid) returns boolean
language sql immutable parallel safe
return project = any (readable) or (project = any (own) and owner = account);
