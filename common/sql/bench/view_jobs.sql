-- bench/view_jobs
-- As text, so that each column is read.
select v::text from (select * from longshore.jobs order by id desc limit 50) v
