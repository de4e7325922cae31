-- The tables. What a job *is* stands once in job_data; where it *stands* is one narrow row in exactly one of the
-- places (ready, scheduled, running, finished). ARCHITECTURE.md tells why; the view longshore.violations is the proof.
-- Functions and views are not here: they lie in sql/routines and are replaced as a whole when they change.

create schema if not exists longshore;
comment on schema longshore is 'Longshore, a durable job server. People read the views: jobs, queues_overview, workers_overview, failures, violations.';

create table longshore.schema_version (
  one boolean primary key default true check (one),
  major int not null,
  minor int not null,
  routines text not null
);
comment on table longshore.schema_version is 'one row: which schema this is. A program exits with 3 where major is newer than its own';
comment on column longshore.schema_version.one is 'always true: there is one row';
comment on column longshore.schema_version.major is 'raised by a change that older programs cannot work with';
comment on column longshore.schema_version.minor is 'raised by every other change; programs one minor version apart work together';
comment on column longshore.schema_version.routines is 'fingerprint of the functions and views that are installed';

create type longshore.job_state as enum
  ('scheduled', 'available', 'running', 'retryable', 'blocked', 'succeeded', 'failed', 'cancelled');
comment on type longshore.job_state is 'the eight states of a job; the last three are final';
create type longshore.outcome as enum
  ('succeeded', 'failed', 'timed_out', 'lost', 'snoozed', 'handed_back', 'cancelled', 'discarded', 'expired');
comment on type longshore.outcome is 'how an attempt ended';

-- ------------------------------------------------------------------------------------------------ directory

create table longshore.queues (
  queue int generated always as identity primary key,
  name text not null unique check (name ~ '^[A-Za-z0-9_.:-]{1,128}$'),
  created_at timestamptz not null default now()
);
comment on table longshore.queues is 'one row a queue; it appears when it is first used';
comment on column longshore.queues.queue is 'short number of the queue, used by lanes';
comment on column longshore.queues.name is 'the queue as people and programs call it';
comment on column longshore.queues.created_at is 'when it was first used';

create table longshore.lanes (
  lane int generated always as identity primary key,
  queue int not null references longshore.queues,
  kind text not null check (kind ~ '^[A-Za-z0-9_.:-]{1,128}$'),
  unique (queue, kind)
);
comment on table longshore.lanes is 'a lane is one kind in one queue: the unit in which ready jobs are indexed, so that a kind nobody serves is never read by a claim';
comment on column longshore.lanes.lane is 'short number of the lane: the leading column of the ready index';
comment on column longshore.lanes.queue is 'its queue';
comment on column longshore.lanes.kind is 'its kind';

create table longshore.workers (
  worker int generated always as identity primary key,
  lease interval not null,
  since timestamptz not null default now(),
  last_seen timestamptz not null default now(),
  last_poll timestamptz,
  stopped_at timestamptz,
  name text not null unique,
  host text not null,
  version text not null,
  queues text[] not null,
  kinds text[] not null
) with (fillfactor = 20); -- a heartbeat updates last_seen alone: a HOT update within the page
comment on table longshore.workers is 'one row a start of a worker. Its heartbeat keeps all leases of the worker alive; the row outlives it, so that the history can name it';
comment on column longshore.workers.worker is 'short number, used by running, finished and attempts';
comment on column longshore.workers.lease is 'how long it may be silent before its jobs are given to others';
comment on column longshore.workers.since is 'when it started';
comment on column longshore.workers.last_seen is 'its last heartbeat';
comment on column longshore.workers.last_poll is 'when it last looked for work';
comment on column longshore.workers.stopped_at is 'when it stopped, or was declared dead; nothing is leased to it any more';
comment on column longshore.workers.name is 'its id everywhere: host:pid:start';
comment on column longshore.workers.host is 'the host (in containers: the container) it runs on';
comment on column longshore.workers.version is 'version of its program';
comment on column longshore.workers.queues is 'the queues it serves, with how many jobs of each at once; * is every other queue';
comment on column longshore.workers.kinds is 'the kinds it has a handler for';

-- ------------------------------------------------------------------------------------------------ what a job is

create sequence longshore.job_id as bigint maxvalue 9007199254740991; -- below 2^53: every language reads it exactly
comment on sequence longshore.job_id is 'ids of jobs';
create sequence longshore.lease_number as bigint;
comment on sequence longshore.lease_number is 'numbers of leases: one a claim';

create table longshore.job_data (
  id bigint primary key default nextval('longshore.job_id'),
  created_at timestamptz not null default now(),
  run_at timestamptz not null,
  expires_at timestamptz,
  lane int not null,
  timeout_ms int check (timeout_ms between 1000 and 604800000),
  priority smallint not null,
  max_attempts smallint not null check (max_attempts between 1 and 32767),
  unique_key text,
  unique_while text,
  concurrency_key text,
  retry json,
  tags text[],
  meta json,
  enqueued_by text,
  request_id text,
  traceparent text,
  args json not null -- json, not jsonb: digits and key order come back as they were sent, and it is half the cost
) with (autovacuum_vacuum_insert_scale_factor = 0.5);
create index job_data_lane on longshore.job_data (lane, id);
create index job_data_unique_key on longshore.job_data (unique_key, id) where unique_key is not null;
create index job_data_concurrency_key on longshore.job_data (concurrency_key, id) where concurrency_key is not null;
comment on table longshore.job_data is 'what a job is, written once when it is enqueued. Where it stands is a row in ready, scheduled, running or finished. To look at jobs, use the view longshore.jobs';
comment on column longshore.job_data.id is 'the job''s id';
comment on column longshore.job_data.created_at is 'when it was enqueued';
comment on column longshore.job_data.run_at is 'not before; always equal to run_at of its row in ready or scheduled, so that this row is found by index';
comment on column longshore.job_data.expires_at is 'not started by then: cancelled, error "expired"';
comment on column longshore.job_data.lane is 'its queue and kind';
comment on column longshore.job_data.timeout_ms is 'how long one attempt may run, in milliseconds; null: for ever';
comment on column longshore.job_data.priority is 'lower first, within its queue';
comment on column longshore.job_data.max_attempts is 'how often it is tried at most';
comment on column longshore.job_data.unique_key is 'unique within its kind';
comment on column longshore.job_data.unique_while is 'the rule it was enqueued by: waiting, active, kept or for';
comment on column longshore.job_data.concurrency_key is 'jobs of one key share a limit of their queue';
comment on column longshore.job_data.retry is 'its backoff: {"backoff", "base", "max", "jitter"}; null: exponential from 1 s to a day, 10 % jitter';
comment on column longshore.job_data.tags is 'for searching';
comment on column longshore.job_data.meta is 'for searching and for the caller''s own notes';
comment on column longshore.job_data.enqueued_by is 'name of the API key it came with';
comment on column longshore.job_data.request_id is 'x-request-id of the request that enqueued it: grep the API''s log for it';
comment on column longshore.job_data.traceparent is 'W3C trace context of the request that enqueued it';
comment on column longshore.job_data.args is 'what the handler gets';

create table longshore.labels (
  label text not null,
  id bigint not null,
  primary key (label, id)
);
comment on table longshore.labels is 'one row a tag (t:tag) and a top-level scalar of meta (m:key=value): the filters of lists';
comment on column longshore.labels.label is 't:tag or m:key=value (the value cut at 200 characters)';
comment on column longshore.labels.id is 'the job';

create table longshore.uniques (
  kind text not null,
  key text not null,
  ids bigint[] not null,
  primary key (kind, key)
) with (fillfactor = 70);
comment on table longshore.uniques is 'jobs that may hold a unique key. Nobody clears a key when its job ends, so ending costs nothing; the next enqueue that meets the key looks, under this row''s lock, whether they still count';
comment on column longshore.uniques.kind is 'a key is unique within its kind';
comment on column longshore.uniques.key is 'the key';
comment on column longshore.uniques.ids is 'the newest job with this key, and older ones that were not finished when it came';

create table longshore.expiring (
  expires_at timestamptz not null,
  id bigint not null,
  primary key (expires_at, id)
);
comment on table longshore.expiring is 'jobs that are cancelled if they have not started by a time';
comment on column longshore.expiring.expires_at is 'that time';
comment on column longshore.expiring.id is 'the job';

-- ------------------------------------------------------------------------------------------------ where a job stands

create table longshore.ready (
  id bigint not null,
  run_at timestamptz not null,
  lane int not null,
  priority smallint not null,
  attempt smallint not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index ready_order on longshore.ready (lane, priority, run_at, id);
comment on table longshore.ready is 'place of available jobs: due, may be claimed. A claim deletes the row and writes one in running';
comment on column longshore.ready.id is 'the job';
comment on column longshore.ready.run_at is 'copy of job_data.run_at: part of the order';
comment on column longshore.ready.lane is 'copy of job_data.lane';
comment on column longshore.ready.priority is 'copy of job_data.priority';
comment on column longshore.ready.attempt is 'attempts that have ended so far';

create table longshore.scheduled (
  run_at timestamptz not null,
  id bigint not null,
  lane int not null,
  priority smallint not null,
  attempt smallint not null default 0,
  primary key (run_at, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
comment on table longshore.scheduled is 'place of jobs that are due later: scheduled (attempt = 0) or retryable';
comment on column longshore.scheduled.run_at is 'when; copy of job_data.run_at';
comment on column longshore.scheduled.id is 'the job';
comment on column longshore.scheduled.lane is 'copy of job_data.lane';
comment on column longshore.scheduled.priority is 'copy of job_data.priority';
comment on column longshore.scheduled.attempt is 'attempts that have ended so far';

create table longshore.running (
  id bigint primary key,
  lease bigint not null,
  started_at timestamptz not null default now(),
  lane int not null,
  worker int not null,
  attempt smallint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0, fillfactor = 90);
comment on table longshore.running is 'place of running jobs. The row is the right to report: every outcome deletes it by (id, lease), and who finds it gone has lost the lease';
comment on column longshore.running.id is 'the job';
comment on column longshore.running.lease is 'number of the lease: fences every later write of its holder';
comment on column longshore.running.started_at is 'when this attempt started';
comment on column longshore.running.lane is 'copy of job_data.lane';
comment on column longshore.running.worker is 'who holds it; the lease lives as long as that worker''s heartbeat';
comment on column longshore.running.attempt is 'number of this attempt, from 1';

create table longshore.finished (
  id bigint primary key,
  lease bigint,
  started_at timestamptz,
  finished_at timestamptz not null default now(),
  lane int not null,
  worker int,
  state longshore.job_state not null check (state in ('succeeded', 'failed', 'cancelled')),
  outcome longshore.outcome,
  attempt smallint not null,
  result json,
  error text,
  check ((lease is null) = (started_at is null))
) with (autovacuum_vacuum_insert_scale_factor = 0.5);
create index finished_age on longshore.finished (state, finished_at);
create index finished_unhappy on longshore.finished (state, id) where state <> 'succeeded';
comment on table longshore.finished is 'place of finished jobs, with the last attempt and the result';
comment on column longshore.finished.id is 'the job';
comment on column longshore.finished.lease is 'the lease that ended it, so that a repeated report is recognised; null: no attempt ended it';
comment on column longshore.finished.started_at is 'when the last attempt started';
comment on column longshore.finished.finished_at is 'when it ended; retention counts from here';
comment on column longshore.finished.lane is 'copy of job_data.lane';
comment on column longshore.finished.worker is 'who ran the last attempt';
comment on column longshore.finished.state is 'succeeded, failed or cancelled';
comment on column longshore.finished.outcome is 'how the last attempt ended; null: it was cancelled while it waited';
comment on column longshore.finished.attempt is 'attempts in all';
comment on column longshore.finished.result is 'what the handler returned';
comment on column longshore.finished.error is 'why it failed or was cancelled';

-- ------------------------------------------------------------------------------------------------ what is remembered

create table longshore.attempts (
  id bigint not null,
  lease bigint not null,
  started_at timestamptz not null,
  finished_at timestamptz not null default now(),
  worker int not null,
  outcome longshore.outcome not null,
  attempt smallint not null,
  error text,
  primary key (id, lease)
);
comment on table longshore.attempts is 'attempts that ended without ending their job; the last attempt of a finished job is in finished';
comment on column longshore.attempts.id is 'the job';
comment on column longshore.attempts.lease is 'the lease it ran under';
comment on column longshore.attempts.started_at is 'when it started';
comment on column longshore.attempts.finished_at is 'when it ended';
comment on column longshore.attempts.worker is 'who ran it';
comment on column longshore.attempts.outcome is 'how it ended';
comment on column longshore.attempts.attempt is 'its number, from 1; snoozed and handed back ones are not counted, so that the number comes again';
comment on column longshore.attempts.error is 'what went wrong';

create table longshore.tally (
  lane int not null,
  state longshore.job_state not null,
  n bigint not null
);
comment on table longshore.tally is 'finished jobs by lane and state: each report adds a row, a duty folds them; sum(n) is exact';
comment on column longshore.tally.lane is 'the lane';
comment on column longshore.tally.state is 'succeeded, failed or cancelled';
comment on column longshore.tally.n is 'so many more (or, when they are pruned, fewer)';
