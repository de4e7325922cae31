-- jobs/extend_leases
-- See sql/routines/15_leases.sql.
select id, lease, stands, cancel_requested from longshore.extend_leases($1, $2, $3, $4, $5, $6)
