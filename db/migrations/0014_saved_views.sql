-- Saved views: what somebody looked at, by a name. They never change, so that a link always shows the same.

create table saved_view (
    id uuid not null,
    project_id uuid not null,
    experiment_id uuid,
    name text not null,
    search text not null,                   -- of the page's address: what is shown and how
    created_by uuid not null,
    created_at timestamptz not null default now(),
    constraint saved_view_pkey primary key (id),
    constraint saved_view_name_length check (char_length(name) between 1 and 250 and octet_length(name) <= 1000),
    constraint saved_view_search_length check (octet_length(search) <= 16384),
    constraint saved_view_project_fkey foreign key (project_id) references project,
    constraint saved_view_experiment_fkey foreign key (experiment_id) references experiment,
    constraint saved_view_created_by_fkey foreign key (created_by) references account
);

create index saved_view_newest on saved_view (project_id, created_at desc, id desc);
create index saved_view_newest_of_experiment on saved_view (experiment_id, created_at desc, id desc);

create trigger saved_view_never_changes before update on saved_view for each row execute function refuse_change();
