-- jobs/retry
-- standing is the job that holds its unique key: then nothing was changed. See sql/routines/09_control.sql.
select id, met::text, standing from longshore.retry_jobs($1)
