-- bench/violations
-- Reads everything.
select id, what from longshore.violations limit $1
