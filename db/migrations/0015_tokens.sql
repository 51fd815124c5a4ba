-- Tokens that people make for themselves: with a name, and an end.

alter table token
    add column name text not null default '',
    add constraint token_name_length check (char_length(name) <= 250 and octet_length(name) <= 1000),
    -- A name is given by who makes a token; the first ones, which the server makes, have neither name nor end.
    add constraint token_with_name_ends check (
        name = '' or (expires_at is not null and expires_at <= created_at + interval '366 days')
    );

-- Whoever writes: somebody can always let others in. Those who leave at the same time wait for each other.
create function require_owner() returns trigger language plpgsql as $$
begin
    perform from project where id = old.project_id for no key update;
    if not exists (select from membership where project_id = old.project_id and role = 'OWNER') then
        raise exception 'the project would have no owner'
            using errcode = 'check_violation', constraint = 'project_has_owner', table = tg_table_name;
    end if;
    return null;
end $$;

create trigger membership_leaves_an_owner after update or delete on membership for each row
    when (old.role = 'OWNER')
    execute function require_owner();
