-- Leases of single jobs: held by whoever pulls jobs over HTTP, or was handed one by a worker, and kept by heartbeats of
-- their own.

alter table longshore.workers add column pulls boolean not null default false;
comment on column longshore.workers.pulls is 'a user''s own worker, which leases jobs over HTTP: its leases do not hang on this row, which only shows it';

alter table longshore.running add column lease_until timestamptz;
comment on column longshore.running.lease_until is 'when this lease ends unless its holder extends it; null: it lasts as long as its worker''s heartbeats';
-- Leases that hang on a worker never enter this index.
create index running_lease_until on longshore.running (lease_until) where lease_until is not null;
