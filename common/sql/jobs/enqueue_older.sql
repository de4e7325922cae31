-- jobs/enqueue_older
-- As jobs/enqueue, for the schema of the version before: there, queues have no defaults and no limit.
-- It waits for a lock no longer than $20 says (null: as its session does): the arguments are reckoned before the function begins.
select ord, id, verdict, run_at, created_at, expires_at
  from longshore.enqueue_batch(case when set_config('lock_timeout', coalesce($20, current_setting('lock_timeout')), true) is not null then $1::int[] end,
    $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
