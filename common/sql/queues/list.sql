-- queues/list
-- Waiting jobs are counted to 10,000 a queue; above that the planner's figures of the table and the lane say how many, and
-- `estimated` says so. Finished ones are exact: the tally. Running ones are few. How long the first waits: the first of each
-- priority of a lane. Indexes: ready_order, scheduled_lane.
with guess as materialized (
  select s.tablename, u.lane, u.share * c.reltuples as jobs
    from pg_stats s join pg_class c on c.oid = format('longshore.%I', s.tablename)::regclass
   cross join lateral unnest(s.most_common_vals::text::int[], s.most_common_freqs) u(lane, share)
   where s.schemaname = 'longshore' and s.tablename in ('ready', 'scheduled') and s.attname = 'lane'
), tallied as materialized (
  select lane, state, sum(n) as jobs from longshore.tally group by lane, state
)
select q.name,
       h.n + case when r.n > 10000 then greatest(r.n, r.guess) else r.n end::bigint,
       (select count(*) from longshore.lanes l join longshore.running x on x.lane = l.lane where l.queue = q.queue),
       case when s.n > 10000 then greatest(s.scheduled, s.guess * s.scheduled / s.n) else s.scheduled end::bigint,
       case when s.n > 10000 then greatest(s.retryable, s.guess * s.retryable / s.n) else s.retryable end::bigint,
       t.succeeded::bigint, t.failed::bigint, t.cancelled::bigint,
       r.n > 10000 or s.n > 10000 or h.n > 10000,
       extract(epoch from now() - o.oldest)::float8,
       (select count(*) from longshore.workers w
         where w.stopped_at is null and w.last_seen > now() - w.lease
           and exists (select from unnest(w.queues) s where split_part(s, '=', 1) in (q.name, '*'))),
       q.paused_at is not null, q.max_waiting, q.default_priority, q.default_max_attempts, q.default_timeout_ms, q.default_retry,
       extract(epoch from q.keep_succeeded)::float8, extract(epoch from q.keep_cancelled)::float8, extract(epoch from q.keep_failed)::float8, q.on_failed,
       (select count(*) from (select from longshore.lanes l join longshore.blocked b on b.lane = l.lane where l.queue = q.queue limit 10001) c),
       q.max_running, q.max_running_per_key, q.rate_limit, extract(epoch from q.rate_per)::float8, q.fair
  from longshore.queues q
 cross join lateral (
   select count(*) as n, (select sum(g.jobs) from longshore.lanes l join guess g on g.lane = l.lane and g.tablename = 'ready' where l.queue = q.queue) as guess
     from (select from longshore.lanes l cross join lateral (select from longshore.ready i where i.lane = l.lane limit 10001) i where l.queue = q.queue limit 10001) c) r
 cross join lateral (
   select count(*) as n from (select from longshore.lanes l cross join lateral (select from longshore.held i where i.lane = l.lane limit 10001) i
                               where l.queue = q.queue limit 10001) c) h
 cross join lateral (
   select count(*) as n, count(*) filter (where c.attempt = 0) as scheduled, count(*) filter (where c.attempt > 0) as retryable,
          (select sum(g.jobs) from longshore.lanes l join guess g on g.lane = l.lane and g.tablename = 'scheduled' where l.queue = q.queue) as guess
     from (select i.attempt from longshore.lanes l cross join lateral (select i.attempt from longshore.scheduled i where i.lane = l.lane limit 10001) i
            where l.queue = q.queue limit 10001) c) s
 cross join lateral (
   select min(p.run_at) as oldest
     from longshore.lanes l cross join lateral (
       with recursive first(priority, run_at) as (
         (select i.priority, i.run_at from longshore.ready i where i.lane = l.lane order by i.lane, i.priority, i.run_at limit 1)
         union all
         select n.priority, n.run_at from first f cross join lateral (
           select i.priority, i.run_at from longshore.ready i where i.lane = l.lane and i.priority > f.priority order by i.lane, i.priority, i.run_at limit 1) n
       ) select run_at from first limit 1000) p
    where l.queue = q.queue) o
 cross join lateral (
   select coalesce(sum(i.jobs) filter (where i.state = 'succeeded'), 0) as succeeded, coalesce(sum(i.jobs) filter (where i.state = 'failed'), 0) as failed,
          coalesce(sum(i.jobs) filter (where i.state = 'cancelled'), 0) as cancelled
     from longshore.lanes l join tallied i on i.lane = l.lane where l.queue = q.queue) t
 where ($1::text is null or q.name = $1) and longshore.is_there(q.queue, q.deleted_at)
 order by q.name
