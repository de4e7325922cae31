-- jobs/retry
-- $2: when each is due; empty: now. standing is the job that holds its unique key: then nothing was changed. See
-- sql/routines/09_control.sql.
select id, met::text, standing, false as again from longshore.retry_jobs($1, $2)
