-- doctor/overdue
-- Running jobs that are beyond their timeout, the longest first. running is small: it holds live attempts only.
select r.id, l.kind, q.name as queue, coalesce(w.name, '') as worker, extract(epoch from now() - r.started_at)::float8 as running,
       j.timeout_ms / 1000.0::float8 as timeout, count(*) over () as jobs
  from longshore.running r
  join longshore.job_data j on j.id = r.id
  join longshore.lanes l on l.lane = r.lane
  join longshore.queues q on q.queue = l.queue
  left join longshore.workers w on w.worker = r.worker
 where now() - r.started_at > j.timeout_ms * interval '1 ms' + interval '2 min'
 order by r.started_at
 limit 5
