-- workers/meet
-- Users' own workers, which pull. See sql/routines/15_leases.sql.
select name, worker from longshore.meet_pullers($1, $2, $3, $4, $5, $6)
