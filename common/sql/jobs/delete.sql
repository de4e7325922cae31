-- jobs/delete
-- See sql/routines/09_control.sql.
select id, met::text, null::bigint as standing, false as again from longshore.delete_jobs($1)
