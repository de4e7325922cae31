-- stats/unhandled
-- Jobs that wait of kinds for which no live worker of their queue has a handler, counted to 1,000 a lane, of 200 lanes at most.
-- Indexes: ready_order, held_order; a lane without waiting jobs is one probe.
with served as materialized (
  select split_part(s, '=', 1) as queue, k.kind
    from longshore.workers w cross join lateral unnest(w.queues) s cross join lateral unnest(w.kinds) k(kind)
   where w.stopped_at is null and w.last_seen > now() - w.lease
)
select q.name, l.kind, n.jobs
  from longshore.lanes l join longshore.queues q using (queue)
 cross join lateral (
   select (select count(*) from (select from longshore.ready r where r.lane = l.lane limit 1000) c)
        + (select count(*) from (select from longshore.held h where h.lane = l.lane limit 1000) c) as jobs) n
 where not exists (select from served s where s.queue in (q.name, '*') and s.kind in (l.kind, '*'))
   and n.jobs > 0
 limit 200
