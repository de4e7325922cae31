-- stats/activity
-- What happened within the last minute, by queue. See sql/routines/14_activity.sql.
select queue, enqueued, started, succeeded, failed, cancelled, retried, waits, runs from longshore.activity()
