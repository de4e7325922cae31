-- bench/settle
-- What autovacuum would have done by and by while as many jobs came and ended.
vacuum (analyze) longshore.ready, longshore.scheduled, longshore.labels, longshore.attempts, longshore.tally
