-- What happened lately, found by index among any number of jobs: nothing counts while jobs are enqueued, run and end.

-- Where the jobs begin that were enqueued at p_time or later, as far as ids and times go together; null: there are no jobs. Found
-- by halves: some twenty probes of the primary key of job_data.
create or replace function longshore.id_at(p_time timestamptz) returns bigint language sql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
  with recursive step(low, high) as (
    select min(id), max(id) + 1 from longshore.job_data
    union all
    select case when p.older then s.middle + 1 else s.low end, case when p.older then s.high else s.middle end
      from (select low, high, (low + high) / 2 as middle from step where low < high) s
     cross join lateral (select i.created_at < p_time as older from longshore.job_data i where i.id >= s.middle order by i.id limit 1) p
  )
  select high from step where low = high
$$;
comment on function longshore.id_at is 'where the jobs begin that were enqueued at a time or later';

-- Lanes that have jobs, finished ones too: from one to the next by job_data_lane, so that those without cost nothing.
create or replace function longshore.lanes_in_use() returns setof int language plpgsql stable rows 100
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
  return query
  with recursive used(lane) as (
    (select i.lane from longshore.job_data i order by i.lane, i.id limit 1)
    union all
    select n.lane from used u cross join lateral (select i.lane from longshore.job_data i where i.lane > u.lane order by i.lane, i.id limit 1) n
  )
  select u.lane from used u;
end $$;
comment on function longshore.lanes_in_use is 'lanes that have jobs, finished ones too';

-- How many jobs of each lane are at p_id or above, counted to 5,000, and the oldest of them. On its own, since only so is it sure that
-- each lane is read by its own part of job_data_lane.
create or replace function longshore.enqueued_from(p_id bigint) returns table (lane int, jobs bigint, oldest bigint) language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_indexscan = off set jit = off
as $$
begin
  return query
  select l.lane, n.jobs, n.oldest
    from longshore.lanes_in_use() l(lane)
   cross join lateral (
     select count(*) as jobs, min(e.id) as oldest
       from (select i.id from longshore.job_data i where i.lane = l.lane and i.id >= p_id order by i.lane desc, i.id desc limit 5000) e) n;
end $$;
comment on function longshore.enqueued_from is 'how many jobs of each lane are at an id or above';

-- Rates of the last minute, a second, and how long jobs waited and ran, by queue.
--
-- Of each lane and state the newest that finished within the minute are read, at most 5,000: where there are more, the time that
-- those took is the one the rate is of. So it is with what was enqueued; of retried attempts, with all queues together. Waits and
-- runs are those of the newest 200 of each lane and state, in seconds. What a queue keeps for less than a minute is seen only as
-- long as it is there. All is added up as rows of one list and not joined, since every lane would be compared with every other.
-- Indexes: finished_lane, job_data_lane, attempts_recent.
create or replace function longshore.activity()
returns table (queue text, enqueued float8, started float8, succeeded float8, failed float8, cancelled float8, retried float8, waits float8[], runs float8[])
language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
declare
  v_from constant timestamptz := now() - interval '1 minute';
  v_from_id constant bigint := coalesce(longshore.id_at(v_from), 0);
begin
  return query
  with used as materialized (
    select u.lane from longshore.lanes_in_use() u(lane)
  ), ended as materialized (
    select l.lane, s.state, n.ends, n.starts, case when n.ends < 5000 then 60 else greatest(extract(epoch from now() - n.oldest), 0.001) end as seconds
      from used l cross join (values ('succeeded'::longshore.job_state), ('failed'), ('cancelled')) s(state)
     cross join lateral (
       select count(*) as ends, count(*) filter (where e.started_at > v_from) as starts, min(e.finished_at) as oldest
         from (select i.started_at, i.finished_at from longshore.finished i
                where i.lane = l.lane and i.state = s.state and i.finished_at > v_from
                order by i.lane desc, i.state desc, i.finished_at desc limit 5000) e) n
     where n.ends > 0
  ), new as materialized (
    select n.lane, n.jobs / case when n.jobs < 5000 then 60 else greatest(extract(epoch from now() - j.created_at), 0.001) end as rate
      from longshore.enqueued_from(v_from_id) n left join lateral (select i.created_at from longshore.job_data i where i.id = n.oldest offset 0) j on true
     where n.jobs > 0
  ), past as materialized (
    select a.id, a.started_at, a.finished_at, a.outcome from longshore.attempts a where a.finished_at > v_from order by a.finished_at desc limit 5000
  ), again as materialized (
    select j.lane, count(*) filter (where p.outcome in ('failed', 'timed_out', 'lost')) as retries, count(*) filter (where p.started_at > v_from) as starts,
           (select case when count(*) < 5000 then 60 else greatest(extract(epoch from now() - min(x.finished_at)), 0.001) end from past x) as seconds
      from past p cross join lateral (select i.lane from longshore.job_data i where i.id = p.id offset 0) j group by j.lane
  ), spell as materialized (
    select e.lane, extract(epoch from i.started_at - least(j.run_at, i.started_at))::float8 as wait, extract(epoch from i.finished_at - i.started_at)::float8 as run
      from ended e
     cross join lateral (select f.id, f.started_at, f.finished_at from longshore.finished f
                          where f.lane = e.lane and f.state = e.state and f.finished_at > v_from
                          order by f.lane desc, f.state desc, f.finished_at desc limit 200) i
     cross join lateral (select d.run_at from longshore.job_data d where d.id = i.id offset 0) j
     where i.started_at is not null
  ), part(lane, figure, rate, wait, run) as (
    select n.lane, 'enqueued', n.rate, null::float8, null::float8 from new n
    union all select e.lane, e.state::text, e.ends / e.seconds, null, null from ended e
    union all select e.lane, 'started', e.starts / e.seconds, null, null from ended e
    union all select a.lane, 'started', a.starts / a.seconds, null, null from again a
    union all select r.lane, 'started', count(*) / 60.0, null, null from longshore.running r where r.started_at > v_from group by r.lane
    union all select a.lane, 'retried', a.retries / a.seconds, null, null from again a
    union all select s.lane, null, null, s.wait, s.run from spell s
  ), total as materialized (
    select x.queue, coalesce(sum(x.rate) filter (where x.figure = 'enqueued'), 0)::float8 as enqueued,
           coalesce(sum(x.rate) filter (where x.figure = 'started'), 0)::float8 as started,
           coalesce(sum(x.rate) filter (where x.figure = 'succeeded'), 0)::float8 as succeeded,
           coalesce(sum(x.rate) filter (where x.figure = 'failed'), 0)::float8 as failed,
           coalesce(sum(x.rate) filter (where x.figure = 'cancelled'), 0)::float8 as cancelled,
           coalesce(sum(x.rate) filter (where x.figure = 'retried'), 0)::float8 as retried,
           coalesce(array_agg(x.wait) filter (where x.wait is not null), '{}') as waits, coalesce(array_agg(x.run) filter (where x.run is not null), '{}') as runs
      from (select l.queue, p.figure, p.rate, p.wait, p.run from part p cross join lateral (select i.queue from longshore.lanes i where i.lane = p.lane offset 0) l
             union all
            select q.queue, null, null, null, null from longshore.queues q) x
     group by x.queue
  )
  select q.name, t.enqueued, t.started, t.succeeded, t.failed, t.cancelled, t.retried, t.waits, t.runs
    from total t cross join lateral (select i.name from longshore.queues i where i.queue = t.queue offset 0) q;
end $$;
comment on function longshore.activity is 'what happened within the last minute, by queue: rates a second, waits and runs in seconds';
