-- workflows/enqueue
-- As jobs/enqueue, with the workflow, the ids, and of each job its name in the workflow, the ids that it comes after (as the text of
-- an array; null: none) and if_failed.
select ord, id, verdict, run_at, created_at, expires_at, priority, max_attempts, timeout_ms
  from longshore.enqueue_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 'verdict', $20, $21, $22, $23, $24)
