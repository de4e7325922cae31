-- doctor/holders
-- What keeps vacuum from removing dead rows of this database's tables: transactions and prepared ones of this database, and
-- standbys that tell what their queries need (where they have no slot; else it is the slot's). Vacuum itself holds nothing up.
select 'transaction' as sort, a.pid, null::text as name, a.usename::text as "user", a.application_name as application, a.state,
       extract(epoch from clock_timestamp() - a.xact_start)::float8 as age,
       greatest(age(a.backend_xmin), age(a.backend_xid))::bigint as xmin_age,
       left(regexp_replace(a.query, '\s+', ' ', 'g'), 100) as query
  from pg_stat_activity a
 where a.datname = current_database() and a.pid <> pg_backend_pid()
   and (a.backend_xmin is not null or a.backend_xid is not null)
   and a.backend_type not in ('autovacuum worker', 'walsender') and a.query !~* '^\s*vacuum'
union all
select 'prepared', null, p.gid, p.owner::text, null, null, extract(epoch from clock_timestamp() - p.prepared)::float8, age(p.transaction)::bigint, null
  from pg_prepared_xacts p
 where p.database = current_database()
union all
select 'standby', r.pid, coalesce(r.client_addr::text, 'local'), r.usename::text, r.application_name, r.state, null, age(r.backend_xmin)::bigint, null
  from pg_stat_replication r
 where r.backend_xmin is not null
 order by xmin_age desc nulls last
 limit 100
