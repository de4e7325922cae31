-- keys/revoke
-- The row goes and nothing of the key stays: jobs remember its name themselves.
delete from longshore.keys where name = $1 returning name
