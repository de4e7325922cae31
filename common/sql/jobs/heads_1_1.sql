-- jobs/heads_1_1
-- The same on the schema of the version before, which knows no limits.
select l.lane from unnest($1::int[]) l(lane)
 cross join lateral (select r.priority, r.run_at, r.id from longshore.ready r where r.lane = l.lane
                      order by r.lane, r.priority, r.run_at, r.id limit 1) head
 order by head.priority, head.run_at, head.id limit $2
