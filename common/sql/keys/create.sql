-- keys/create
-- No row comes back where the name is taken: the key of that name stays as it is.
insert into longshore.keys (name, prefix, hash, scopes, queues) values ($1, $2, $3, $4, $5)
on conflict (name) do nothing
returning created_at, created_by
