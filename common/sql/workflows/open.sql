-- workflows/open
-- $2: the jobs that new ones come after. See sql/routines/18_workflows.sql.
select there, over from longshore.open_workflow($1, $2)
