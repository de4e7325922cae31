-- doctor/undone
-- What the duties of every API and worker do within a second or two, and how long it has been left undone, counted to 1,000.
select 'scheduled jobs that are due' as what, count(*) as n, coalesce(extract(epoch from now() - min(run_at)), 0)::float8 as age
  from (select run_at from longshore.scheduled where run_at < now() order by run_at limit 1000) s
union all
select 'leases that have ended', count(*), coalesce(extract(epoch from now() - min(lease_until)), 0)::float8
  from (select lease_until from longshore.running where lease_until < now() order by lease_until limit 1000) r
union all
select 'schedules that are due', count(*), coalesce(extract(epoch from now() - min(next_run_at)), 0)::float8
  from (select next_run_at from longshore.schedules where next_run_at < now() order by next_run_at limit 1000) s
