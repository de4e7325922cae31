-- queues/purge
-- At most $2 jobs, each found by the index job_data_lane; see sql/routines/11_queues.sql.
select longshore.purge_queue($1, $2)
