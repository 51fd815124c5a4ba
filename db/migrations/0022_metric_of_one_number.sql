-- A metric whose least, greatest and last values are the same, as one that was logged once, has one number: one entry by
-- value is enough for it. Others have an entry for each of the three. A last value that is not finite equals neither.
drop index metric_by_last;
drop index metric_by_min;
drop index metric_by_max;

create index metric_of_one_number on metric (project_id, key, last, run_id) where min = last and max = last;
create index metric_by_last on metric (project_id, key, last, run_id)
    where min <> last or max <> last or min is null;
create index metric_by_min on metric (project_id, key, min, run_id) where min <> last or max <> last;
create index metric_by_max on metric (project_id, key, max, run_id) where min <> last or max <> last;
