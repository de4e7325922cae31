-- What happens, for whoever watches: GET /v1/events. Nothing is written here while nobody does.
--
-- Statements write into an inbox, each in its own transaction. Whoever reads moves what is committed into the log, under one
-- lock, and numbers it there: so numbers follow the order of commits, and a reader that has seen number n has missed none
-- before it. Unlogged: a crash forgets them, and their readers are told of the gap.

alter table longshore.watch add column events_until timestamptz not null default '-infinity';
comment on column longshore.watch.events_until is 'until then statements say what they do: somebody reads events, or did a few minutes ago';

create unlogged table longshore.event_inbox (
  seq bigint generated always as identity primary key,
  at timestamptz not null default now(),
  id bigint,
  lane int,
  attempt smallint,
  event text not null,
  queue text,
  progress json,
  error text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
comment on table longshore.event_inbox is 'what has happened and was not yet numbered; rows stay here for a second at most';
comment on column longshore.event_inbox.seq is 'order within a transaction, and roughly over all';
comment on column longshore.event_inbox.at is 'when';
comment on column longshore.event_inbox.id is 'the job';
comment on column longshore.event_inbox.lane is 'its lane';
comment on column longshore.event_inbox.attempt is 'its attempt';
comment on column longshore.event_inbox.event is 'what: job.enqueued, job.started, …, queue.paused, …, or gap';
comment on column longshore.event_inbox.queue is 'the queue, where it is about one';
comment on column longshore.event_inbox.progress is 'how far the job is';
comment on column longshore.event_inbox.error is 'what went wrong, its beginning';

comment on sequence longshore.event_inbox_seq_seq is 'numbers of rows in event_inbox';

create sequence longshore.event_pos as bigint;
comment on sequence longshore.event_pos is 'numbers of events';
create unlogged table longshore.events (
  pos bigint primary key,
  at timestamptz not null,
  id bigint,
  attempt smallint,
  event text not null,
  queue text,
  kind text,
  progress json,
  error text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
comment on table longshore.events is 'what has happened in the last five minutes, while somebody watched; at most the last 100,000';
comment on column longshore.events.pos is 'its number, in the order of commits: Last-Event-ID';
comment on column longshore.events.at is 'when';
comment on column longshore.events.id is 'the job';
comment on column longshore.events.attempt is 'its attempt';
comment on column longshore.events.event is 'what: job.enqueued, job.started, …, queue.paused, …, or gap';
comment on column longshore.events.queue is 'the queue';
comment on column longshore.events.kind is 'the job''s kind';
comment on column longshore.events.progress is 'how far the job is';
comment on column longshore.events.error is 'what went wrong, its beginning';
