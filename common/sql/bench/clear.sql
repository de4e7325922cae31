-- bench/clear
-- Queues, lanes and workers stay: running programs know them by number.
truncate longshore.job_data, longshore.labels, longshore.uniques, longshore.expiring, longshore.ready, longshore.held, longshore.blocked, longshore.edges, longshore.workflows, longshore.key_changes, longshore.key_heads, longshore.scheduled, longshore.running,
         longshore.finished, longshore.attempts, longshore.notes, longshore.logs, longshore.tally
