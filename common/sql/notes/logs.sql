-- notes/logs
-- What the attempts of a job logged that are kept, 20 at most, oldest first, and the job's queue with each; nulls where none did. No
-- row: there is no such job. Indexes: primary keys.
select q.name as queue, k.attempt, k.text
  from longshore.job_data j
  join longshore.lanes l using (lane)
  join longshore.queues q using (queue)
  left join longshore.logs k on k.id = j.id
 where j.id = $1
 order by k.lease
