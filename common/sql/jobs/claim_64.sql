-- jobs/claim_64
-- Up to 64 index ranges of ready, merged in order. See sql/routines/04_claim.sql.
select id, lease, attempt, started_at, lane, priority, run_at, created_at, max_attempts, timeout_ms, expired, request_id, traceparent, tags, meta, args
  from longshore.claim_64($1, $2, $3, $4, $5, $6, $7)
