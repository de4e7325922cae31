-- queues/put
-- Makes a queue, or replaces its settings; $2: paused or not, null: as it is. Whether it was made comes back: a deleted one
-- that holds no job was not there. Where limits change, the next claims look at each key anew.
with before as materialized (
  select longshore.is_there(queue, deleted_at) there from longshore.queues where name = $1
), put as (
insert into longshore.queues as q (name, paused_at, default_priority, default_max_attempts, default_timeout_ms, default_retry, max_waiting,
                                   keep_succeeded, keep_cancelled, keep_failed, on_failed, max_running, max_running_per_key, rate_limit, rate_per, fair,
                                   limits_changed_at, settle_limits_at)
values ($1, case when $2::boolean then now() end, $3, $4, $5, $6, $7, make_interval(secs => $8), make_interval(secs => $9), make_interval(secs => $10), $11, $12, $13, $14, make_interval(secs => $15), $16,
        now(), case when $12::int is not null or $13::int is not null or $14::int is not null or $16::boolean then now() end)
on conflict (name) do update
   set paused_at = case when $2 then coalesce(q.paused_at, now()) when $2 is null then q.paused_at end,
       default_priority = excluded.default_priority, default_max_attempts = excluded.default_max_attempts,
       default_timeout_ms = excluded.default_timeout_ms, default_retry = excluded.default_retry,
       max_waiting = excluded.max_waiting, waiting = null, waiting_at = null,
       keep_succeeded = excluded.keep_succeeded, keep_cancelled = excluded.keep_cancelled, keep_failed = excluded.keep_failed,
       on_failed = excluded.on_failed, deleted_at = null,
       max_running = excluded.max_running, max_running_per_key = excluded.max_running_per_key, rate_limit = excluded.rate_limit,
       rate_per = excluded.rate_per, fair = excluded.fair,
       limits_changed_at = case when (q.max_running, q.max_running_per_key, q.rate_limit, q.rate_per, q.fair) is distinct from
                                     (excluded.max_running, excluded.max_running_per_key, excluded.rate_limit, excluded.rate_per, excluded.fair)
                                then excluded.limits_changed_at else q.limits_changed_at end,
       settle_limits_at = case when (q.max_running, q.max_running_per_key, q.rate_limit, q.rate_per, q.fair) is distinct from
                                  (excluded.max_running, excluded.max_running_per_key, excluded.rate_limit, excluded.rate_per, excluded.fair)
                             then excluded.settle_limits_at else q.settle_limits_at end
returning coalesce((select not there from before), q.xmax = 0) as made, q.queue, q.keyed and q.limits_changed_at = now() as keys_change
), told as materialized (
  select longshore.tell('queue.changed', p_queue => $1) from put
), looked as materialized (
  select longshore.look_at_held(queue) from put where keys_change
), bucket as (
  -- a rate that is new begins with a full bucket; one that was changed keeps what it has
  delete from longshore.buckets b using longshore.queues q where b.queue = q.queue and q.name = $1 and $14::int is null
)
select made from put left join told on true left join looked on true
