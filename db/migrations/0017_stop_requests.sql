-- Stop requests: somebody wants an attempt to end. It stays one attempt's, so that a run that is resumed begins without.
-- Whoever logs hears of it with the answer, so a writer knows it too.

alter table attempt
    add column stop_requested_at timestamptz,
    add column stop_requested_by uuid,
    add column stop_reason text,
    add constraint attempt_stop_is_somebodys check ((stop_requested_at is null) = (stop_requested_by is null)),
    add constraint attempt_stop_has_reason check (stop_reason is null or stop_requested_at is not null),
    add constraint attempt_stop_reason_length check (octet_length(stop_reason) between 1 and 4096),
    add constraint attempt_stop_requested_by_fkey foreign key (stop_requested_by) references account;

alter table writer add column stop_requested boolean not null default false;

create trigger attempt_stop_is_kept before update on attempt for each row
    when (
        old.stop_requested_at is not null
        and (new.stop_requested_at, new.stop_requested_by, new.stop_reason)
            is distinct from (old.stop_requested_at, old.stop_requested_by, old.stop_reason)
    )
    execute function refuse_change();

-- The attempt is locked: a writer is either here already or opens later and finds the request there.
create function pass_on_stop() returns trigger language plpgsql as $$
begin
    update writer set stop_requested = true
    from (
        select id from writer
        where run_id = new.run_id and attempt = new.number and ended_at is null
        order by id
        for no key update
    ) as open
    where writer.id = open.id;
    insert into event_unread (run_id, kind, attempt) values (new.run_id, 'STOP_REQUESTED', new.number);
    return null;
end $$;

create trigger attempt_stop_is_passed_on after update on attempt for each row
    when (old.stop_requested_at is null and new.stop_requested_at is not null)
    execute function pass_on_stop();

alter table event
    drop constraint event_kind_known,
    add constraint event_kind_known check (kind in (
        'RUN_CREATED', 'ATTEMPT_STARTED', 'STATUS_CHANGED', 'STOP_REQUESTED', 'PARAMS_LOGGED', 'TAGS_CHANGED',
        'INPUTS_LOGGED', 'ARTIFACT_READY', 'ARTIFACT_FAILED'));
