-- stats/unhandled
-- Jobs that wait of kinds for which no live worker of their queue has a handler, counted to 1,000 a lane, of 200 lanes at most.
-- From lane to lane by index, so that those without waiting jobs cost nothing. Indexes: ready_order, held_key.
with recursive served as materialized (
  select split_part(s, '=', 1) as queue, k.kind
    from longshore.workers w cross join lateral unnest(w.queues) s cross join lateral unnest(w.kinds) k(kind)
   where w.stopped_at is null and w.last_seen > now() - w.lease
), ready_at(lane) as (
  (select r.lane from longshore.ready r order by r.lane, r.priority, r.run_at, r.id limit 1)
  union all
  select n.lane
    from ready_at a cross join lateral (
      select r.lane from longshore.ready r where r.lane > a.lane order by r.lane, r.priority, r.run_at, r.id limit 1) n
), held_at(lane) as (
  (select h.lane from longshore.held h order by h.lane, h.key, h.priority, h.run_at, h.id limit 1)
  union all
  select n.lane
    from held_at a cross join lateral (
      select h.lane from longshore.held h where h.lane > a.lane order by h.lane, h.key, h.priority, h.run_at, h.id limit 1) n
)
select q.name, l.kind, n.jobs
  from (select lane from ready_at union select lane from held_at) w
  join longshore.lanes l using (lane) join longshore.queues q using (queue)
 cross join lateral (
   select (select count(*) from (select from longshore.ready r where r.lane = l.lane limit 1000) c)
        + (select count(*) from (select from longshore.held h where h.lane = l.lane limit 1000) c) as jobs) n
 where not exists (select from served s where s.queue in (q.name, '*') and s.kind in (l.kind, '*'))
 limit 200
