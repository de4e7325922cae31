-- workflows/retry
-- Nulls: it is not there. standing: nothing may be committed. See sql/routines/18_workflows.sql.
select retried, standing, held from longshore.retry_workflow($1)
