-- jobs/report
-- Rows without a state are stale: their lease is not there any more, and this outcome was not recorded under it.
-- See sql/routines/05_report.sql.
-- Rows with `released` are of no job: that queue got work.
select id, lease, state::text, watched, released from longshore.report($1, $2, $3, $4, $5, $6)
