-- What is set for a queue.

alter table longshore.queues add column paused_at timestamptz;
comment on column longshore.queues.paused_at is 'since when it takes jobs and starts none; null: it is not paused';
