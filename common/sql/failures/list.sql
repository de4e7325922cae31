-- failures/list
-- $1: only these queues, $2: only these kinds, null: all; $3: groups at most. See sql/routines/11_failures.sql.
select kind, fingerprint, failed, retryable, first, last, id, queue, error from longshore.failure_groups($1, $2, $3)
