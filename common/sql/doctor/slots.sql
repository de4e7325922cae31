-- doctor/slots
-- Replication slots, which hold dead rows (xmin; catalog_xmin: those of the catalogs alone) and the write-ahead log.
select slot_name::text as name, slot_type as type, active, age(xmin)::bigint as xmin_age, age(catalog_xmin)::bigint as catalog_xmin_age,
       pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn)::bigint as retained,
       coalesce(wal_status = 'lost', false) as lost
  from pg_replication_slots
 where not temporary
 order by retained desc nulls last
 limit 100
