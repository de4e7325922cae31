-- queues/pause
-- $2: paused or not. One row comes back where there is such a queue; what is so already stays as it is.
with changed as (
  update longshore.queues set paused_at = case when $2::boolean then now() end where name = $1 and (paused_at is not null) <> $2 returning name
), told as materialized (
  select longshore.tell(case when $2 then 'queue.paused' else 'queue.resumed' end, p_queue => name) from changed
)
select queue from longshore.queues left join told on true where name = $1
