-- jobs/cancel
-- met is the state the job was met in, null where there is none. See sql/routines/09_control.sql.
select id, met::text, null::bigint as standing from longshore.cancel_jobs($1)
