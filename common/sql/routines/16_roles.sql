-- longshore_producer may enqueue and nothing else; longshore_reader may look at everything but the hashes of API keys.
-- Where the migration's user may not create roles, it says so (a notice, logged once) and goes on.
do $do$
declare
  v_role text;
begin
  foreach v_role in array array['longshore_producer', 'longshore_reader'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      begin
        execute format('create role %I nologin', v_role);
      exception
        when duplicate_object or unique_violation then null; -- another database of this server was quicker
        when insufficient_privilege then
          raise notice 'role % does not exist and % may not create it; to have it: create role % nologin, then migrate again', v_role, current_user, v_role;
      end;
    end if;
    if exists (select from pg_roles where rolname = v_role) then
      execute format('grant usage on schema longshore to %I', v_role);
    end if;
  end loop;
  revoke all on function longshore.enqueue from public;
  if exists (select from pg_roles where rolname = 'longshore_producer') then
    grant execute on function longshore.enqueue to longshore_producer;
  end if;
  if exists (select from pg_roles where rolname = 'longshore_reader') then
    grant select on all tables in schema longshore to longshore_reader;
    -- all of a key but its hash
    revoke select on longshore.keys from longshore_reader;
    grant select (name, prefix, scopes, queues, created_at, created_by) on longshore.keys to longshore_reader;
  end if;
end $do$;
