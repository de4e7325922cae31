-- queues/pause
-- $2: paused or not. One row comes back where there is such a queue; what is so already stays as it is.
with there as materialized (
  select queue from longshore.queues where name = $1 and longshore.is_there(queue, deleted_at)
), changed as (
  update longshore.queues q set paused_at = case when $2::boolean then now() end from there
   where q.queue = there.queue and (q.paused_at is not null) <> $2 returning q.name
), told as materialized (
  select longshore.tell(case when $2 then 'queue.paused' else 'queue.resumed' end, p_queue => name) from changed
)
select queue from there left join told on true
