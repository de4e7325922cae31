-- jobs/report
-- Rows without a state are stale: their lease is not there any more, and this outcome was not recorded under it.
-- See sql/routines/05_report.sql.
-- Rows with `released` are of no job: that queue got work.
-- It waits for a lock no longer than $7 says: the arguments are reckoned before the function begins.
select id, lease, state::text, watched, released
  from longshore.report(case when set_config('lock_timeout', $7, true) is not null then $1::bigint[] end, $2, $3, $4, $5, $6)
