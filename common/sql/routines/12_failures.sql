-- Failed and retryable jobs by kind and fingerprint, the group that failed last first. p_queues, p_kinds: only these, null: all.
--
-- A loose index scan: each step jumps to the next fingerprint of a lane, so that the cost follows the groups and not the jobs.
-- At most 1000 (lane, fingerprint) of each place are looked at, and 10,001 jobs of a group counted, only of groups that are
-- shown. Indexes: finished_failures, scheduled_failures. With 1,000,000 failed jobs in 810 groups: 76 ms for 50 of them,
-- 153 ms for all (2 cores, all in memory).
drop function if exists longshore.failure_groups(text[], text[], bigint);
create function longshore.failure_groups(p_queues text[] default null, p_kinds text[] default null, p_limit bigint default 50)
returns table (kind text, fingerprint bigint, failed bigint, retryable bigint, first timestamptz, last timestamptz, id bigint, queue text, error text)
language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with lane as materialized (
    select l.lane, l.kind, q.name as queue
      from longshore.lanes l join longshore.queues q using (queue)
     where (p_queues is null or q.name = any(p_queues)) and (p_kinds is null or l.kind = any(p_kinds))
  ), pair as materialized (
    (select l.lane, g.fingerprint from lane l cross join lateral (
       with recursive step(fingerprint) as (
         (select i.fingerprint from longshore.finished i where i.fingerprint is not null and i.lane = l.lane order by i.lane, i.fingerprint limit 1)
         union all
         select (select i.fingerprint from longshore.finished i
                  where i.fingerprint is not null and i.lane = l.lane and i.fingerprint > step.fingerprint order by i.lane, i.fingerprint limit 1)
           from step where step.fingerprint is not null
       ) select fingerprint from step where fingerprint is not null offset 0) g limit 1000)
    union
    (select l.lane, g.fingerprint from lane l cross join lateral (
       with recursive step(fingerprint) as (
         (select i.fingerprint from longshore.scheduled i where i.fingerprint is not null and i.lane = l.lane order by i.lane, i.fingerprint limit 1)
         union all
         select (select i.fingerprint from longshore.scheduled i
                  where i.fingerprint is not null and i.lane = l.lane and i.fingerprint > step.fingerprint order by i.lane, i.fingerprint limit 1)
           from step where step.fingerprint is not null
       ) select fingerprint from step where fingerprint is not null offset 0) g limit 1000)
  ), part as materialized (
    -- greatest and least look past nulls
    select l.kind, p.fingerprint, p.lane, least(f.first, s.first) as first, greatest(f.last, s.last) as last
      from pair p join lane l using (lane)
     cross join lateral (
       select (select i.finished_at from longshore.finished i where i.fingerprint = p.fingerprint and i.lane = p.lane order by i.lane, i.fingerprint, i.finished_at limit 1) as first,
              (select i.finished_at from longshore.finished i where i.fingerprint = p.fingerprint and i.lane = p.lane order by i.lane desc, i.fingerprint desc, i.finished_at desc limit 1) as last) f
     cross join lateral (
       select (select i.failed_at from longshore.scheduled i where i.fingerprint = p.fingerprint and i.lane = p.lane order by i.lane, i.fingerprint, i.failed_at limit 1) as first,
              (select i.failed_at from longshore.scheduled i where i.fingerprint = p.fingerprint and i.lane = p.lane order by i.lane desc, i.fingerprint desc, i.failed_at desc limit 1) as last) s
  ), shown as materialized (
    select kind, fingerprint, array_agg(lane) as lanes, min(first) as first, max(last) as last
      from part group by kind, fingerprint order by max(last) desc nulls last, kind, fingerprint limit least(p_limit, 1000)
  )
  select g.kind, g.fingerprint, f.n, s.n, g.first, g.last, e.id, e.queue, e.error
    from shown g
   cross join lateral (
     select count(*) as n from (select from unnest(g.lanes) u(lane) cross join lateral
       (select from longshore.finished i where i.fingerprint = g.fingerprint and i.lane = u.lane limit 10001) x limit 10001) c) f
   cross join lateral (
     select count(*) as n from (select from unnest(g.lanes) u(lane) cross join lateral
       (select from longshore.scheduled i where i.fingerprint = g.fingerprint and i.lane = u.lane limit 10001) x limit 10001) c) s
    -- the one that failed last
   cross join lateral (
     select x.id, l.queue, x.error
       from unnest(g.lanes) u(lane) join lane l on l.lane = u.lane
      cross join lateral (
        (select i.id, i.finished_at as at, i.error from longshore.finished i
          where i.fingerprint = g.fingerprint and i.lane = u.lane order by i.lane desc, i.fingerprint desc, i.finished_at desc, i.id desc limit 1)
        union all
        (select i.id, i.failed_at, (select a.error from longshore.attempts a where a.id = i.id and a.error is not null order by a.lease desc limit 1)
           from (select * from longshore.scheduled i
                  where i.fingerprint = g.fingerprint and i.lane = u.lane order by i.lane desc, i.fingerprint desc, i.failed_at desc, i.id desc limit 1) i)) x
      order by x.at desc, x.id desc limit 1) e
   order by g.last desc nulls last, g.kind, g.fingerprint;
end $$;
comment on function longshore.failure_groups is 'failed jobs, and those that wait for another attempt, by kind and by what their errors have in common';

-- What failed before there were fingerprints gets them, once: as long as there is none at all. The newest 10,000, which takes a
-- second or two; what failed earlier stays out of the groups. Indexes: finished_failures, scheduled_failures, finished_failed.
-- What waits for its next attempt gets its own when that fails.
update longshore.finished f set fingerprint = longshore.fingerprint(f.error)
 where not exists (select from longshore.finished x where x.fingerprint is not null)
   and not exists (select from longshore.scheduled x where x.fingerprint is not null)
   and f.id = any(array(select i.id from longshore.finished i where i.state = 'failed' order by i.id desc limit 10000));
