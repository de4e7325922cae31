-- jobs/id_at
-- Where the jobs begin that were enqueued at $1 or later. See sql/routines/14_activity.sql.
select longshore.id_at($1)
