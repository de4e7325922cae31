-- jobs/heads
-- Those of many lanes that are best, by their first job that may be claimed: some index probes a lane. Of a keyed queue
-- those count whose keys, as far as is known, have room. Whether its queue is paused or full, the claim looks.
select l.lane from unnest($1::int[]) l(lane)
 cross join lateral (
   (select r.priority, r.run_at, r.id from longshore.ready r where r.lane = l.lane order by r.lane, r.priority, r.run_at, r.id limit 1)
    union all
   (select k.priority, k.run_at, k.id from longshore.key_heads k where k.lane = l.lane order by k.lane, k.turn, k.priority, k.run_at, k.id limit 1)
    union all
   (select c.priority, c.run_at, c.id
      from longshore.lanes n join longshore.queues q on q.queue = n.queue and q.keyed join longshore.key_changes c on c.queue = n.queue
     where n.lane = l.lane order by c.queue, c.priority, c.run_at, c.id limit 1)
    order by 1, 2, 3 limit 1) head
 order by head.priority, head.run_at, head.id limit $2
