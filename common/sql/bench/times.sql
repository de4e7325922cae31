-- bench/times
-- Reads everything that is finished.
select id, started_at, finished_at from longshore.finished where started_at is not null
