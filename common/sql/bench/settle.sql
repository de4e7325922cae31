-- bench/settle
-- What autovacuum would have done by and by while as many jobs came and ended.
vacuum (analyze) longshore.ready, longshore.held, longshore.blocked, longshore.edges, longshore.key_changes, longshore.key_heads, longshore.scheduled, longshore.labels, longshore.attempts, longshore.tally
