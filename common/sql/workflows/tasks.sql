-- workflows/tasks
-- In the order in which they were made, each behind those that it comes after. Index: job_data_workflow.
select j.id, j.task, j.after, v.state::text, v.queue
  from longshore.job_data j cross join lateral (select i.state, i.queue from longshore.jobs i where i.id = j.id offset 0) v
 where j.workflow_id = $1 order by j.id
