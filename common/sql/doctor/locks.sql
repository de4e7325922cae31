-- doctor/locks
-- Who holds up others: whoever has locked a table of the schema against those who work with it, and whoever statements of this
-- database have been waiting for (advisory locks are left out: they are the users' own). In a chain, where one waits for another
-- who waits, only its end is told: that is the one to end. A prepared transaction has no process; its pid is null.
-- barred: a table of the schema cannot even be read, by anybody, since somebody has locked it so or waits to.
with recursive locks as materialized (
  select l.pid, l.mode, l.granted, l.locktype, l.waitstart,
         case when l.relation is not null and l.database = d.oid and c.relnamespace = to_regnamespace('longshore') then c.relname end as "table"
    from pg_locks l
    join pg_database d on d.datname = current_database()
    left join pg_class c on c.oid = l.relation
),
waits as materialized (
  select w.pid, nullif(b.pid, 0) as blocker, extract(epoch from clock_timestamp() - w.waitstart)::float8 as waited
    from locks w
    join pg_stat_activity a on a.pid = w.pid and a.datname = current_database()
   cross join lateral unnest(pg_blocking_pids(w.pid)) as b(pid)
   where not w.granted and w.locktype <> 'advisory'
),
behind as (
  select pid, blocker, waited from waits
   union
  select b.pid, w.blocker, b.waited from behind b join waits w on w.pid = b.blocker
),
blockers as (
  select b.blocker as pid, null::text as "table", b.pid as waiter, b.waited from behind b
   where not exists (select from waits w where w.pid = b.blocker)
   union all
  select l.pid, l."table", null, null from locks l
   where l.granted and l."table" is not null and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
)
select b.pid, max(a.usename)::text as "user", max(a.application_name) as application, max(a.state) as state,
       max(extract(epoch from clock_timestamp() - a.xact_start))::float8 as age,
       max(left(regexp_replace(a.query, '\s+', ' ', 'g'), 100)) as query,
       string_agg(distinct b."table"::text, ', ') as tables, count(distinct b.waiter) as waiting, coalesce(max(b.waited), 0)::float8 as waited,
       exists (select from locks l where l."table" is not null and l.mode = 'AccessExclusiveLock') as barred
  from blockers b
  left join pg_stat_activity a on a.pid = b.pid
 where b.pid is distinct from pg_backend_pid()
   and (b.waiter is not null or a.backend_type is distinct from 'autovacuum worker') -- which gives way where anybody waits
 group by b.pid
 order by waiting desc, age desc nulls last
 limit 100
