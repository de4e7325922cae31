-- jobs/with_work
-- Of these lanes ($1, ascending) those that have a job which may be claimed. Of a keyed queue those count whose keys, as far as is
-- known, have room. Whether its queue is paused or full, the claim looks.
--
-- From lane to lane by index: from one that has a job to the next that is asked for (width_bucket searches $1 by halves), and on to the
-- first from there that has a job. So it takes as many probes as lanes have work, or as are asked for, whichever are fewer.
-- Indexes: ready_order, key_heads_order, key_changes_order.
with recursive ready_at(lane, next) as (
  select 0, ($1::int[])[1]
  union all
  select r.lane, ($1::int[])[width_bucket(r.lane, $1::int[]) + 1]
    from ready_at a cross join lateral (
      select i.lane from longshore.ready i where i.lane >= a.next order by i.lane, i.priority, i.run_at, i.id limit 1) r
), heads_at(lane, next) as (
  select 0, ($1::int[])[1]
  union all
  select k.lane, ($1::int[])[width_bucket(k.lane, $1::int[]) + 1]
    from heads_at a cross join lateral (
      select i.lane from longshore.key_heads i where i.lane >= a.next order by i.lane, i.turn, i.priority, i.run_at, i.id limit 1) k
), changes_at(queue) as (
  select 0
  union all
  select c.queue
    from changes_at a cross join lateral (
      select i.queue from longshore.key_changes i where i.queue > a.queue order by i.queue, i.priority, i.run_at, i.id limit 1) c
), found as (
  select lane from ready_at
  union
  select lane from heads_at
  union
  select l.lane from changes_at join longshore.queues q using (queue) join longshore.lanes l using (queue) where q.keyed
)
select f.lane from found f where f.lane = ($1::int[])[width_bucket(f.lane, $1::int[])]
