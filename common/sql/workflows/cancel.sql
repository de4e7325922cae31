-- workflows/cancel
-- Nulls: it is not there. See sql/routines/18_workflows.sql.
select cancelled, asked from longshore.cancel_workflow($1)
