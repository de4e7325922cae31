-- jobs/change
-- attempt: what it has had; where that is not below $5, nothing was changed. See sql/routines/09_control.sql.
select met::text, attempt from longshore.change_job($1, $2, $3, $4, $5, $6, $7)
