-- doctor/waiting
-- Jobs that wait though they are due: of kinds that no live worker of their queue knows, and in paused queues. Counted to 1,000 a
-- lane, of 200 lanes at most; the age is that of the oldest of these.
-- Indexes: ready_order, held_order; a lane without waiting jobs is one probe.
with served as materialized (
  select split_part(s, '=', 1) as queue, k.kind
    from longshore.workers w cross join lateral unnest(w.queues) s cross join lateral unnest(w.kinds) k(kind)
   where w.stopped_at is null and w.last_seen > now() - w.lease
)
select q.name as queue, l.kind, q.paused_at is not null as paused, n.jobs, extract(epoch from now() - n.oldest)::float8 as age
  from longshore.lanes l join longshore.queues q using (queue)
 cross join lateral (
   select count(*) as jobs, min(run_at) as oldest
     from ((select r.run_at from longshore.ready r where r.lane = l.lane order by r.priority, r.run_at limit 1000)
           union all (select h.run_at from longshore.held h where h.lane = l.lane limit 1000)) c) n
 where n.jobs > 0 and (q.paused_at is not null or not exists (select from served s where s.queue in (q.name, '*') and s.kind in (l.kind, '*')))
 order by n.oldest
 limit 200
