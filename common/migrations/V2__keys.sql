-- API keys: who may call the HTTP API, and what for. A key itself is stored nowhere; what it hashes to is.

create table longshore.keys (
  name text primary key check (name ~ '^[A-Za-z0-9_.:-]{1,128}$'),
  prefix text not null unique check (prefix ~ '^[0-9a-f]{12}$'),
  hash bytea not null check (octet_length(hash) = 32),
  scopes text[] not null check (cardinality(scopes) > 0 and scopes <@ array['enqueue', 'read', 'work', 'admin']),
  queues text[] check (cardinality(queues) > 0 and array_position(queues, null) is null), -- an empty list must never come to mean "all"
  created_at timestamptz not null default now(),
  created_by text not null default session_user
);
comment on table longshore.keys is 'API keys. With a row here, the HTTP API wants one of them of every request. Deleting the row revokes the key; every API notices within 5 s';
comment on column longshore.keys.name is 'what people and logs call it; jobs that came with it bear it in enqueued_by';
comment on column longshore.keys.prefix is 'the public part of the key, by which it is found: ls_<prefix>_<secret>';
comment on column longshore.keys.hash is 'SHA-256 of the whole key. The key has 256 random bits, so that no slow hash is needed; not even longshore_reader may read it';
comment on column longshore.keys.scopes is 'what it may do: enqueue, read, work; admin includes them all';
comment on column longshore.keys.queues is 'the queues it is limited to; null: all';
comment on column longshore.keys.created_at is 'when it was created';
comment on column longshore.keys.created_by is 'the database user who created it';
