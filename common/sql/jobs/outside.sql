-- jobs/outside
-- Which of these jobs stand in other queues than these? Asked in the transaction of an enqueue whose API key is limited
-- to queues: where it met a job of another queue by a unique key, all of it is rolled back.
select j.id from longshore.job_data j join longshore.lanes l using (lane) join longshore.queues q using (queue)
 where j.id = any($1::bigint[]) and q.name <> all($2::text[])
