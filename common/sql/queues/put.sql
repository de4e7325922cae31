-- queues/put
-- Makes a queue, or replaces its settings; $2: paused or not, null: as it is. Whether it was made comes back: a deleted one
-- that holds no job was not there.
with before as materialized (
  select longshore.is_there(queue, deleted_at) there from longshore.queues where name = $1
), put as (
insert into longshore.queues as q (name, paused_at, default_priority, default_max_attempts, default_timeout_ms, default_retry, max_waiting,
                                   keep_succeeded, keep_cancelled, keep_failed, on_failed)
values ($1, case when $2::boolean then now() end, $3, $4, $5, $6, $7, make_interval(secs => $8), make_interval(secs => $9), make_interval(secs => $10), $11)
on conflict (name) do update
   set paused_at = case when $2 then coalesce(q.paused_at, now()) when $2 is null then q.paused_at end,
       default_priority = excluded.default_priority, default_max_attempts = excluded.default_max_attempts,
       default_timeout_ms = excluded.default_timeout_ms, default_retry = excluded.default_retry,
       max_waiting = excluded.max_waiting, waiting = null, waiting_at = null,
       keep_succeeded = excluded.keep_succeeded, keep_cancelled = excluded.keep_cancelled, keep_failed = excluded.keep_failed,
       on_failed = excluded.on_failed, deleted_at = null
returning coalesce((select not there from before), q.xmax = 0) as made
), told as materialized (
  select longshore.tell('queue.changed', p_queue => $1) from put
)
select made from put left join told on true
