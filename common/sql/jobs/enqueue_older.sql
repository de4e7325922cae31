-- jobs/enqueue_older
-- As jobs/enqueue, for the schema of the version before: there, queues have no defaults and no limit.
select ord, id, verdict, run_at, created_at, expires_at
  from longshore.enqueue_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
