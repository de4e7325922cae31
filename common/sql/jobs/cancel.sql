-- jobs/cancel
-- met is the state the job was met in, null where there is none; again: it runs, and was asked for already. See sql/routines/09_control.sql.
select id, met::text, null::bigint as standing, again from longshore.cancel_jobs($1)
