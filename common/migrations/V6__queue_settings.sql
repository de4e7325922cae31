-- What is set for a queue: defaults of its jobs, a limit of waiting ones, how long finished ones are kept, what follows a
-- failed one. What a queue is not told stands here as the contract's default, so that no statement knows it twice.

alter table longshore.queues
  add column deleted_at timestamptz,
  add column default_priority smallint not null default 0,
  add column default_max_attempts smallint not null default 25 check (default_max_attempts between 1 and 1000),
  add column default_timeout_ms int default 300000 check (default_timeout_ms between 1000 and 604800000),
  add column default_retry json,
  add column max_waiting int check (max_waiting >= 0),
  add column waiting int,
  add column waiting_at timestamptz,
  add column keep_succeeded interval default '24 hours' check (keep_succeeded >= interval '0'),
  add column keep_cancelled interval default '168 hours' check (keep_cancelled >= interval '0'),
  add column keep_failed interval default '720 hours' check (keep_failed >= interval '0'),
  add column on_failed json,
  add column special boolean generated always as
    (default_priority <> 0 or default_max_attempts <> 25 or default_timeout_ms is distinct from 300000 or default_retry is not null
     or max_waiting is not null) stored;
comment on column longshore.queues.deleted_at is 'since when it is deleted: hidden while it holds no job. The row stays, since every process remembers its lanes; null: it is there';
comment on column longshore.queues.default_priority is 'priority of a job that names none';
comment on column longshore.queues.default_max_attempts is 'max_attempts of a job that names none';
comment on column longshore.queues.default_timeout_ms is 'timeout of a job that names none, in milliseconds; null: for ever';
comment on column longshore.queues.default_retry is 'backoff of a job that names none: {"backoff", "base", "max", "jitter"}; null: exponential from 1 s to a day, 10 % jitter';
comment on column longshore.queues.max_waiting is 'how many of its jobs may wait (available, scheduled, retryable): more are refused; null: any number';
comment on column longshore.queues.waiting is 'how many waited at waiting_at, counted to one above max_waiting; kept only where max_waiting is above 10,000';
comment on column longshore.queues.waiting_at is 'when waiting was counted';
comment on column longshore.queues.keep_succeeded is 'how long a succeeded job is kept after it finished; null: for ever';
comment on column longshore.queues.keep_cancelled is 'how long a cancelled job is kept after it finished; null: for ever';
comment on column longshore.queues.keep_failed is 'how long a failed job is kept after it finished; null: for ever';
comment on column longshore.queues.on_failed is 'the job that is enqueued in the transaction that fails one of this queue, as in POST /v1/jobs, durations in seconds; null: none';
comment on column longshore.queues.special is 'whether an enqueue has to look at this row: it has defaults of its own or a limit';
-- Empty where no queue has any: what an enqueue and a failed job pay for these settings then is one probe of an empty index.
create index queues_special on longshore.queues (queue) where special;
create index queues_on_failed on longshore.queues (queue) where on_failed is not null;

-- Retention is by queue: the oldest finished jobs of a lane and state are found by index, whatever was set when they finished.
create index finished_lane on longshore.finished (lane, state, finished_at);
drop index longshore.finished_age;
-- How many of a queue wait for their time is counted by index.
create index scheduled_lane on longshore.scheduled (lane);
