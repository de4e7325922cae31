-- bench/view_queues_overview
-- As text, so that each column is read.
select v::text from (select * from longshore.queues_overview limit 50) v
