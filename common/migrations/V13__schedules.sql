-- Schedules: rules that enqueue. Whoever fires one holds its row's lock from looking at next_run_at to the commit that has the
-- jobs and the next due time.

create table longshore.schedules (
  name text primary key check (name ~ '^[A-Za-z0-9_.:-]{1,128}$'),
  cron text not null,
  timezone text not null,
  queue text not null,
  job json not null,
  paused boolean not null default false,
  catch_up text not null default 'last' check (catch_up in ('none', 'last', 'all')),
  overlap text not null default 'allow' check (overlap in ('allow', 'skip')),
  next_run_at timestamptz,
  last_run_at timestamptz,
  created_at timestamptz not null default now()
) with (fillfactor = 70);
create index schedules_due on longshore.schedules (next_run_at) where next_run_at is not null;
comment on table longshore.schedules is 'rules that enqueue a job at due times';
comment on column longshore.schedules.name is 'its name; jobs that it enqueued bear it';
comment on column longshore.schedules.cron is 'when it is due, on the clock of its time zone';
comment on column longshore.schedules.timezone is 'a name of the IANA database';
comment on column longshore.schedules.queue is 'the queue of its job';
comment on column longshore.schedules.job is 'the job, as in POST /v1/jobs';
comment on column longshore.schedules.paused is 'it enqueues nothing, and what it misses is not caught up';
comment on column longshore.schedules.catch_up is 'of the due times that were missed while nothing ran: none, the last, or all (a thousand at most) are enqueued';
comment on column longshore.schedules.overlap is 'skip: nothing is enqueued while a job of it is unfinished';
comment on column longshore.schedules.next_run_at is 'the next due time; null: it is paused, or never due again';
comment on column longshore.schedules.created_at is 'when it was set up first';
comment on column longshore.schedules.last_run_at is 'the last due time at which it enqueued a job';

alter table longshore.job_data add column schedule text, add column scheduled_for timestamptz;
comment on column longshore.job_data.schedule is 'the schedule that enqueued it';
comment on column longshore.job_data.scheduled_for is 'the due time for which that was';
-- Jobs of no schedule never enter this index.
create index job_data_schedule on longshore.job_data (schedule, id) where schedule is not null;
