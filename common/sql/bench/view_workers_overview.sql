-- bench/view_workers_overview
-- As text, so that each column is read.
select v::text from (select * from longshore.workers_overview limit 50) v
