-- queues/list
-- Waiting jobs are counted to 10,000 a lane; above that the planner's estimate of the whole table, divided by the
-- lanes, says how many more, and `estimated` says so. Finished ones are exact: the tally. Running ones are few.
-- Indexes: ready_order, scheduled_lane.
select q.name,
       coalesce(sum(l.available), 0)::bigint, coalesce(sum(l.running), 0)::bigint, coalesce(sum(l.scheduled), 0)::bigint, coalesce(sum(l.retryable), 0)::bigint,
       coalesce(sum(l.succeeded), 0)::bigint, coalesce(sum(l.failed), 0)::bigint, coalesce(sum(l.cancelled), 0)::bigint,
       coalesce(bool_or(l.estimated), false),
       extract(epoch from now() - min(l.oldest))::float8,
       (select count(*) from longshore.workers w
         where w.stopped_at is null and w.last_seen > now() - w.lease
           and exists (select from unnest(w.queues) s where split_part(s, '=', 1) in (q.name, '*'))),
       q.paused_at is not null, q.max_waiting, q.default_priority, q.default_max_attempts, q.default_timeout_ms, q.default_retry,
       extract(epoch from q.keep_succeeded)::float8, extract(epoch from q.keep_cancelled)::float8, extract(epoch from q.keep_failed)::float8, q.on_failed
  from longshore.queues q
  left join lateral (
    select case when r.n > 10000 then greatest(r.n, (select c.reltuples::bigint from pg_class c where c.oid = 'longshore.ready'::regclass)) else r.n end as available,
           r.n > 10000 or s.n > 10000 as estimated, r.oldest,
           (select count(*) from longshore.running x where x.lane = l.lane) as running,
           s.scheduled, s.retryable, t.succeeded, t.failed, t.cancelled
      from longshore.lanes l
     cross join lateral (
       select count(*) n, min(run_at) oldest from (
         select r.run_at from longshore.ready r where r.lane = l.lane order by r.lane, r.priority, r.run_at limit 10001) c) r
     cross join lateral (
       select count(*) n, count(*) filter (where attempt = 0) scheduled, count(*) filter (where attempt > 0) retryable from (
         select s.attempt from longshore.scheduled s where s.lane = l.lane limit 10001) c) s
     cross join lateral (
       select sum(n) filter (where state = 'succeeded') succeeded, sum(n) filter (where state = 'failed') failed, sum(n) filter (where state = 'cancelled') cancelled
         from longshore.tally where tally.lane = l.lane) t
     where l.queue = q.queue
  ) l on true
 where ($1::text is null or q.name = $1) and longshore.is_there(q.queue, q.deleted_at)
 group by q.queue order by q.name
