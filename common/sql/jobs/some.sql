-- jobs/some
-- As lists show jobs, newest first; $1 are their ids. A handful of index probes each: see the view.
select id, kind, queue, state::text, args, priority, run_at, expires_at, attempt, max_attempts, timeout::float8, tags, meta, unique_key,
       concurrency_key, progress, checkpoint, result, error, worker, enqueued_by, request_id, created_at, started_at, finished_at, cancel_requested_at, schedule, scheduled_for, workflow_id
  from unnest($1::bigint[]) u(wanted) cross join lateral (select * from longshore.jobs i where i.id = u.wanted offset 0) v
 order by id desc
