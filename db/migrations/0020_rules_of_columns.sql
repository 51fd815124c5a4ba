-- A rule about some columns is asked for only by a statement that sets one of them. Postgres parses the condition of
-- each other trigger for each statement, and those are long that compare all columns of a record.

-- Only its attempts, by their triggers, change the state of a run; nobody changes the rest.
drop trigger run_is_a_record on run;
create trigger run_is_a_record
    before update of id, project_id, experiment_id, parent_id, name, created_by, created_at, started_at, request_sha256,
        group_name, ancestor_ids
    on run for each row
    when (
        (new.id, new.project_id, new.experiment_id, new.parent_id, new.name, new.created_by, new.created_at,
            new.started_at, new.request_sha256, new.group_name, new.ancestor_ids)
            is distinct from (old.id, old.project_id, old.experiment_id, old.parent_id, old.name, old.created_by,
            old.created_at, old.started_at, old.request_sha256, old.group_name, old.ancestor_ids)
    )
    execute function refuse_change();
create trigger run_state_is_of_attempts before update of status, attempt, finished_at on run for each row
    when (
        pg_trigger_depth() = 0
        and (new.status, new.attempt, new.finished_at) is distinct from (old.status, old.attempt, old.finished_at)
    )
    execute function refuse_change();

drop trigger attempt_stays_ended on attempt;
create trigger attempt_stays_ended before update on attempt for each row
    when (old.finished_at is not null)
    execute function keep_ended_attempt();
create trigger attempt_is_a_record before update of run_id, number, id, started_by, started_at on attempt for each row
    when (
        (new.run_id, new.number, new.id, new.started_by, new.started_at)
            is distinct from (old.run_id, old.number, old.id, old.started_by, old.started_at)
    )
    execute function keep_ended_attempt();

drop trigger attempt_stop_is_kept on attempt;
create trigger attempt_stop_is_kept
    before update of stop_requested_at, stop_requested_by, stop_reason on attempt for each row
    when (
        old.stop_requested_at is not null
        and (new.stop_requested_at, new.stop_requested_by, new.stop_reason)
            is distinct from (old.stop_requested_at, old.stop_requested_by, old.stop_reason)
    )
    execute function refuse_change();
drop trigger attempt_stop_is_passed_on on attempt;
create trigger attempt_stop_is_passed_on after update of stop_requested_at on attempt for each row
    when (old.stop_requested_at is null and new.stop_requested_at is not null)
    execute function pass_on_stop();

-- Only its blocks move a writer and only its attempt ends it: both are triggers, so their depth is not 0.
drop trigger writer_moves_forward on writer;
create trigger writer_moves_forward before update on writer for each row
    when (pg_trigger_depth() = 0 or old.ended_at is not null or new.next_seq < old.next_seq)
    execute function refuse_change();
create trigger writer_is_a_record before update of id, run_id, attempt, opened_by, opened_at on writer for each row
    when (
        (new.id, new.run_id, new.attempt, new.opened_by, new.opened_at)
            is distinct from (old.id, old.run_id, old.attempt, old.opened_by, old.opened_at)
    )
    execute function refuse_change();
