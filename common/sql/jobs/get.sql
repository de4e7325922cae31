-- jobs/get
-- A handful of index probes, by whole keys: see the view.
select id, kind, queue, state::text, args, priority, run_at, expires_at, attempt, max_attempts, timeout::float8, tags, meta, unique_key,
       concurrency_key, progress, checkpoint, result, error, worker, enqueued_by, request_id, created_at, started_at, finished_at, cancel_requested_at, schedule, scheduled_for, workflow_id
  from longshore.jobs where id = $1
