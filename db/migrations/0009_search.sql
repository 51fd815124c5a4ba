-- Finding runs by what they logged: each param and tag has one entry in an index by its value, each metric has its
-- numbers in a row of its own.

create function project_of(run_id uuid) returns uuid language sql stable
return (select run.project_id from run where run.id = project_of.run_id);

-- Rewrites the tables, which leaves nothing behind; an update would leave every row twice.
alter table param add column project_id uuid;
alter table param alter project_id type uuid using project_of(run_id), alter project_id set not null;
alter table tag add column project_id uuid;
alter table tag alter project_id type uuid using project_of(run_id), alter project_id set not null;

drop function project_of(uuid);

-- Every value is in one of these. Texts sort by code point, the long ones by their beginning, as an entry has no more
-- room. A param that is null has no value.
create index param_by_number on param (project_id, key collate "C", number, run_id) where number is not null;
create index param_by_text on param (project_id, key collate "C", text collate "C", run_id)
    where number is null and type <> 'NULL' and char_length(text) <= 100;
create index param_by_long_text on param (project_id, key collate "C", left(text, 100) collate "C", run_id)
    where number is null and type <> 'NULL' and char_length(text) > 100;
create index tag_by_text on tag (project_id, key collate "C", value collate "C", run_id)
    where char_length(value) <= 100;
create index tag_by_long_text on tag (project_id, key collate "C", left(value, 100) collate "C", run_id)
    where char_length(value) > 100;

-- In the order of ids: where order has nothing else to go by, and runs that lack what they are ordered by.
create index run_by_id on run (project_id, id);

-- Whoever writes: a param or a tag says the project of its run.
create function require_open_attempts_and_project() returns trigger language plpgsql as $$
declare
    written record;
begin
    for written in select distinct run_id, attempt, project_id from added order by run_id, attempt loop
        perform from attempt
        where run_id = written.run_id and number = written.attempt and finished_at is null
        for share;
        if not found then
            raise exception 'attempt % of run % has ended', written.attempt, written.run_id
                using errcode = 'check_violation', constraint = 'run_is_open', table = tg_table_name;
        end if;
        if not exists (select from run where id = written.run_id and project_id = written.project_id) then
            raise exception 'run % is in another project', written.run_id
                using errcode = 'check_violation', constraint = 'record_is_of_project', table = tg_table_name;
        end if;
    end loop;
    return null;
end $$;

drop trigger param_needs_open_attempt on param;
create trigger param_needs_open_attempt after insert on param referencing new table as added
    for each statement execute function require_open_attempts_and_project();

create function require_project() returns trigger language plpgsql as $$
declare
    written record;
begin
    for written in select distinct run_id, project_id from added loop
        if not exists (select from run where id = written.run_id and project_id = written.project_id) then
            raise exception 'run % is in another project', written.run_id
                using errcode = 'check_violation', constraint = 'record_is_of_project', table = tg_table_name;
        end if;
    end loop;
    return null;
end $$;

create trigger tag_is_of_project after insert on tag referencing new table as added
    for each statement execute function require_project();

drop trigger tag_keeps_its_name on tag;
create trigger tag_keeps_its_name before update on tag for each row
    when ((new.run_id, new.key, new.project_id) is distinct from (old.run_id, old.key, old.project_id))
    execute function refuse_change();

-- What the tallies of a run say of each key, over all its keysets: written together with them, for finding runs.
create table metric (
    run_id uuid not null,
    key text collate "C" not null,
    project_id uuid not null,
    count bigint not null,
    first double precision not null,
    last double precision not null,
    min double precision,                   -- of the finite values
    max double precision,
    constraint metric_pkey primary key (run_id, key),
    constraint metric_extremes_are_finite check (
        (min is null) = (max is null) and min > '-Infinity' and max < 'Infinity' and min <= max
    )
);

create trigger metric_is_of_project after insert on metric referencing new table as added
    for each statement execute function require_project();

create index metric_by_last on metric (project_id, key, last, run_id);
create index metric_by_min on metric (project_id, key, min, run_id) where min is not null;
create index metric_by_max on metric (project_id, key, max, run_id) where max is not null;

with stored as (
    select tally.*, key, place - 1 as place, length(tally.stats) / 56 as size
    from tally
    join keyset on keyset.id = tally.keyset_id
    cross join unnest(keyset.keys) with ordinality as each (key, place)
), read as (
    select run_id, key, count,
        (first_step, first_attempt, first_received_ms, first_writer_id, first_seq) as first_place,
        (last_step, last_attempt, last_received_ms, last_writer_id, last_seq) as last_place,
        little_float8(stats, ((size + place) * 8)::integer) as first,
        little_float8(stats, ((2 * size + place) * 8)::integer) as last,
        nullif(little_float8(stats, ((3 * size + place) * 8)::integer), 'NaN') as min,
        nullif(little_float8(stats, ((5 * size + place) * 8)::integer), 'NaN') as max
    from stored
)
insert into metric (run_id, key, project_id, count, first, last, min, max)
select read.run_id, read.key, run.project_id, sum(read.count),
    (array_agg(read.first order by read.first_place))[1], (array_agg(read.last order by read.last_place desc))[1],
    min(read.min), max(read.max)
from read
join run on run.id = read.run_id
group by read.run_id, read.key, run.project_id;

analyze param;
analyze tag;
analyze metric;
