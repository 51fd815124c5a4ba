-- People come and go: an account is disabled, never deleted, because what it did stays. Somebody always manages the
-- instance, whoever writes; those who leave at the same time wait for each other.
create function require_admin() returns trigger language plpgsql as $$
begin
    perform from instance for no key update;
    if not exists (select from account where is_admin and disabled_at is null) then
        raise exception 'nobody would manage the instance'
            using errcode = 'check_violation', constraint = 'instance_has_admin', table = tg_table_name;
    end if;
    return null;
end $$;

create trigger account_leaves_an_admin after update on account for each row
    when (old.is_admin and old.disabled_at is null and not (new.is_admin and new.disabled_at is null))
    execute function require_admin();

-- When a token was used, to the minute: which of them can go?
alter table token add column last_used_at timestamptz;
