-- jobs/heads
-- Lanes that have a ready job, the one with the best first job first. One index probe a lane: ready_order. Whether its queue
-- is paused, the claim looks.
select l.lane from unnest($1::int[]) l(lane)
 cross join lateral (select r.priority, r.run_at, r.id from longshore.ready r where r.lane = l.lane
                      order by r.lane, r.priority, r.run_at, r.id limit 1) head
 order by head.priority, head.run_at, head.id limit $2
