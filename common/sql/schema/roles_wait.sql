-- schema/roles_wait
-- Is there a role of ours without its rights? Somebody made it after the migration, as the migration had asked for.
select exists (select from pg_roles where rolname in ('longshore_producer', 'longshore_reader') and not has_schema_privilege(oid, 'longshore', 'usage'))
