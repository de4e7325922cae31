-- Limits of queues: how many of its jobs run, how many of one concurrency key, how many start in a time; and turns of keys.
--
-- Whoever claims from a limited queue locks its row. Nobody else waits for that, and claims from other queues never look.

alter table longshore.queues
  add column max_running int check (max_running >= 1),
  add column max_running_per_key int check (max_running_per_key >= 1),
  add column rate_limit int check (rate_limit >= 1),
  add column rate_per interval check (rate_per > interval '0'),
  add column fair boolean not null default false,
  add column limits_changed_at timestamptz,
  add column settle_limits_at timestamptz,
  add column limited boolean generated always as
    (max_running is not null or max_running_per_key is not null or rate_limit is not null or fair) stored,
  add column keyed boolean generated always as (max_running_per_key is not null or fair) stored,
  add constraint rate_is_whole check ((rate_limit is null) = (rate_per is null));
comment on column longshore.queues.max_running is 'how many of its jobs may run at once; null: any number';
comment on column longshore.queues.max_running_per_key is 'how many of its jobs with one concurrency key may run at once; null: any number';
comment on column longshore.queues.rate_limit is 'how many of its jobs may start in rate_per, a token bucket; null: any number';
comment on column longshore.queues.rate_per is 'in which time as many tokens come as rate_limit says';
comment on column longshore.queues.fair is 'whether its concurrency keys take turns';
comment on column longshore.queues.limits_changed_at is 'when its limits were last changed: more jobs may run than they allow that started before';
comment on column longshore.queues.settle_limits_at is 'when a claim looks again for running jobs that do not bear limited_queue; null: all do, as a minute after its limits were changed';
comment on column longshore.queues.limited is 'whether its claims lock this row, and ask longshore.room_for what there is room for';
comment on column longshore.queues.keyed is 'whether its jobs with a concurrency key (where it is fair, all) wait in held until a claim takes them';
-- Empty where no queue has such limits: then an enqueue pays one probe of an empty index.
create index queues_keyed on longshore.queues (queue) where keyed;

create table longshore.buckets (
  queue int primary key,
  tokens float8 not null,
  tokens_at timestamptz not null
) with (fillfactor = 20);
comment on table longshore.buckets is 'a row a queue with a rate: its token bucket, written under the lock of the queue''s row';
comment on column longshore.buckets.queue is 'the queue';
comment on column longshore.buckets.tokens is 'how many tokens there were at tokens_at; each start takes one';
comment on column longshore.buckets.tokens_at is 'when that was reckoned';

alter table longshore.ready add column key text;
comment on column longshore.ready.key is 'copy of job_data.concurrency_key';
-- Jobs without a key never enter this index.
create index ready_keyed on longshore.ready (lane) where key is not null;
alter table longshore.scheduled add column key text;
comment on column longshore.scheduled.key is 'copy of job_data.concurrency_key';
alter table longshore.running add column key text, add column limited_queue int;
comment on column longshore.running.key is 'copy of job_data.concurrency_key';
comment on column longshore.running.limited_queue is 'its queue, where that has a limit; null: it has none, or had none when this started';
-- Jobs of queues without limits never enter this index.
create index running_limited on longshore.running (limited_queue, key) where limited_queue is not null;
update longshore.ready r set key = j.concurrency_key from longshore.job_data j where j.id = r.id and j.concurrency_key is not null;
update longshore.scheduled r set key = j.concurrency_key from longshore.job_data j where j.id = r.id and j.concurrency_key is not null;
update longshore.running r set key = j.concurrency_key from longshore.job_data j where j.id = r.id and j.concurrency_key is not null;

create table longshore.held (
  id bigint not null,
  run_at timestamptz not null,
  lane int not null,
  priority smallint not null,
  attempt smallint not null default 0,
  key text not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index held_key on longshore.held (lane, key, priority, run_at, id);
comment on table longshore.held is 'place of available jobs whose queue limits each concurrency key: a claim lets in those whose key has room';
comment on column longshore.held.id is 'the job';
comment on column longshore.held.run_at is 'copy of job_data.run_at';
comment on column longshore.held.lane is 'copy of job_data.lane';
comment on column longshore.held.priority is 'copy of job_data.priority';
comment on column longshore.held.attempt is 'attempts that have ended so far';
comment on column longshore.held.key is 'copy of job_data.concurrency_key; empty: it has none, and its queue is fair';

create table longshore.key_changes (
  queue int not null,
  key text not null,
  priority smallint not null,
  run_at timestamptz not null,
  id bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index key_changes_order on longshore.key_changes (queue, priority, run_at, id);
comment on table longshore.key_changes is 'keys of which something came or ended: whoever puts a job into held, or ends one that ran, leaves a note here and waits for nobody. The next claim of the queue reads the notes, best first';
comment on column longshore.key_changes.queue is 'the queue';
comment on column longshore.key_changes.key is 'the key';
comment on column longshore.key_changes.priority is 'that of the best job that came; of an end, the lowest number there is: room comes first';
comment on column longshore.key_changes.run_at is 'likewise';
comment on column longshore.key_changes.id is 'likewise';

create sequence longshore.key_turn as bigint;
comment on sequence longshore.key_turn is 'turns of the keys of fair queues';
create table longshore.key_heads (
  lane int not null,
  key text not null,
  turn bigint not null,
  priority smallint not null,
  run_at timestamptz not null,
  id bigint not null,
  primary key (lane, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index key_heads_order on longshore.key_heads (lane, turn, priority, run_at, id);
comment on table longshore.key_heads is 'keys that have jobs in held and, as far as is known, room: what a claim chooses from. Written by claims alone, under the lock of the queue''s row. A key that is full is not here, however many of its jobs wait';
comment on column longshore.key_heads.lane is 'the lane';
comment on column longshore.key_heads.key is 'the key';
comment on column longshore.key_heads.turn is 'when its turn is, in a fair queue; 0 in others';
comment on column longshore.key_heads.priority is 'that of its best job in held';
comment on column longshore.key_heads.run_at is 'likewise';
comment on column longshore.key_heads.id is 'likewise';
