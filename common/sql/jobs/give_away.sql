-- jobs/give_away
-- See sql/routines/15_leases.sql.
select longshore.give_away($1, $2)
