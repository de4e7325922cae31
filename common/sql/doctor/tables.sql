-- doctor/tables
-- The tables of the schema, by dead rows. Its numbers are estimates that vacuum and analyze correct.
select s.relname::text as name, s.n_live_tup as live, s.n_dead_tup as dead, pg_table_size(s.relid) as bytes,
       greatest(s.last_autovacuum, s.last_vacuum) as last_vacuum, s.last_autovacuum,
       coalesce((select option_value::bool from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_enabled'), true) as autovacuum
  from pg_stat_user_tables s join pg_class c on c.oid = s.relid
 where s.schemaname = 'longshore'
 order by s.n_dead_tup desc, s.relname
