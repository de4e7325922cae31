-- bench/view_failures
-- As text, so that each column is read.
select v::text from (select * from longshore.failures limit 50) v
