-- keys/list
-- For people: without the hashes, so that longshore_reader may ask it too.
select name, prefix, scopes, queues, created_at, created_by from longshore.keys order by name
