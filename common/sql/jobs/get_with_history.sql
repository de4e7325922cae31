-- jobs/get_with_history
-- A job with its last 20 attempts, oldest first, in one statement: as it was at one moment. Indexes: primary keys.
select id, kind, queue, state::text, args, priority, run_at, expires_at, attempt, max_attempts, timeout::float8, tags, meta, unique_key,
       concurrency_key, progress, checkpoint, result, error, worker, enqueued_by, request_id, created_at, started_at, finished_at, cancel_requested_at, schedule, scheduled_for, workflow_id,
       (select json_agg(json_build_object('attempt', h.attempt, 'worker', h.name, 'started_at', h.started_at, 'finished_at', h.finished_at,
                                          'outcome', h.outcome, 'error', h.error) order by h.lease)
          from (select a.attempt, w.name, a.started_at, a.finished_at, a.outcome::text, a.error, a.lease
                  from (
                    (select attempt, worker, started_at, finished_at, outcome, error, lease from longshore.attempts where id = $1 order by lease desc limit 20)
                    union all
                    select attempt, worker, started_at, finished_at, outcome, error, lease from longshore.finished where id = $1 and lease is not null
                    union all
                    select attempt, worker, started_at, null, null, null, lease from longshore.running where id = $1
                  ) a left join longshore.workers w using (worker)
                 order by a.lease desc limit 20) h) as history
  from longshore.jobs where id = $1
