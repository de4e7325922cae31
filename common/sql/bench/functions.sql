-- bench/functions
-- Milliseconds spent in each of our functions itself, not in those that it calls; none where the server does not track them.
select f.funcname, f.self_time from pg_stat_user_functions f where f.schemaname = 'longshore'
