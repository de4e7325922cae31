-- notes/keep
-- What holders tell of their jobs. A row a lease; one that does not stand has lost its job, and nothing was written for it.
-- See sql/routines/11_notes.sql.
select id, lease, stands, cancel_requested from longshore.note($1, $2, $3, $4, $5)
