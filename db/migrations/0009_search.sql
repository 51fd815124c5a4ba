-- Finding runs by what they logged: each param and tag has one entry in an index by its value, each metric has its
-- numbers in a row of its own.

create function project_of(run_id uuid) returns uuid language plpgsql stable as $$
begin
    return (select run.project_id from run where run.id = project_of.run_id);
end $$;

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

-- Who read a dataset.
create index run_input_of_dataset on run_input (dataset_id, run_id);

-- Those that a logger sees are its own.
create index run_of_user on run (project_id, created_by, created_at desc, id desc);

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

-- As little_float8, ten times as fast.
create function tallied(stats bytea, place bigint) returns double precision language plpgsql immutable as $$
declare
    start integer := place * 8;
    high integer := get_byte(stats, start + 7);
    low integer := get_byte(stats, start + 6);
    exponent integer := ((high & 127) << 4) + (low >> 4);
    fraction bigint := ((low & 15)::bigint << 48) + (get_byte(stats, start + 5)::bigint << 40)
        + (get_byte(stats, start + 4)::bigint << 32) + (get_byte(stats, start + 3)::bigint << 24)
        + (get_byte(stats, start + 2) << 16) + (get_byte(stats, start + 1) << 8) + get_byte(stats, start);
    size double precision;
begin
    if exponent = 2047 and fraction <> 0 then
        return 'NaN';
    elsif exponent = 2047 then
        size := 'Infinity';
    elsif exponent = 0 then
        size := fraction * power(2::double precision, -1074);
    else
        size := (fraction + (1::bigint << 52)) * power(2::double precision, exponent - 1075);
    end if;
    return case when high >= 128 then -size else size end;
end $$;

create temporary view read as
select tally.run_id, run.project_id, each.key, tally.count,
    first_step, first_attempt, first_received_ms, first_writer_id, first_seq,
    last_step, last_attempt, last_received_ms, last_writer_id, last_seq,
    tallied(stats, each.size + place) as first,
    tallied(stats, 2 * each.size + place) as last,
    nullif(tallied(stats, 3 * each.size + place), 'NaN') as min,
    nullif(tallied(stats, 5 * each.size + place), 'NaN') as max,
    has_others
from (select *, count(*) over (partition by run_id) > 1 as has_others from tally) as tally
join run on run.id = tally.run_id
join keyset on keyset.id = tally.keyset_id
cross join lateral (
    select key, place - 1 as place, length(tally.stats) / 56 as size
    from unnest(keyset.keys) with ordinality as each (key, place)
) as each;

insert into metric (run_id, key, project_id, count, first, last, min, max)
select run_id, key, project_id, count, first, last, min, max from read where not has_others;

insert into metric (run_id, key, project_id, count, first, last, min, max)
select run_id, key, project_id, sum(count),
    (array_agg(first order by first_step, first_attempt, first_received_ms, first_writer_id, first_seq))[1],
    (array_agg(
        last order by last_step desc, last_attempt desc, last_received_ms desc, last_writer_id desc, last_seq desc
    ))[1],
    min(min), max(max)
from read
where has_others
group by run_id, key, project_id;

create index metric_by_last on metric (project_id, key, last, run_id);
create index metric_by_min on metric (project_id, key, min, run_id) where min is not null;
create index metric_by_max on metric (project_id, key, max, run_id) where max is not null;

create trigger metric_is_of_project after insert on metric referencing new table as added
    for each statement execute function require_project();

drop view read;
drop function tallied(bytea, bigint);

analyze param;
analyze tag;
analyze metric;
