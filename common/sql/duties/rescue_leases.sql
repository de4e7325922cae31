-- duties/rescue_leases
-- See sql/routines/06_duties.sql.
select id, worker, silent_s from longshore.rescue_leases($1)
