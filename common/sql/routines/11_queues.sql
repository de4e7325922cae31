-- What the settings of a queue do to its jobs: defaults, max_waiting, on_failed; and how a queue is deleted.

-- The fields in which jobs were silent, from their queues. A timeout of 0 is silent, null is none.
create or replace function longshore.with_defaults(p_lanes int[], p_priorities smallint[], p_max_attempts smallint[], p_timeouts_ms int[], p_retries json[],
  out priorities smallint[], out max_attempts smallint[], out timeouts_ms int[], out retries json[]) language sql stable
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
  select array_agg(coalesce(u.priority, q.default_priority) order by u.ord), array_agg(coalesce(u.max_attempts, q.default_max_attempts) order by u.ord),
         array_agg(case when u.timeout_ms = 0 then q.default_timeout_ms else u.timeout_ms end order by u.ord),
         array_agg(coalesce(u.retry, q.default_retry) order by u.ord)
    from unnest(p_lanes, p_priorities, p_max_attempts, p_timeouts_ms, p_retries) with ordinality u(lane, priority, max_attempts, timeout_ms, retry, ord)
    join longshore.lanes l on l.lane = u.lane join longshore.queues q on q.queue = l.queue
$$;
comment on function longshore.with_defaults is 'the fields in which new jobs were silent, from their queues';

-- How many jobs of a queue wait, counted to one above p_most. Indexes: ready_order, held_key, scheduled_lane.
create or replace function longshore.waiting_of(p_queue int, p_most int) returns int language sql stable
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
  select least(p_most + 1, count(*))::int from (
    (select from longshore.lanes l cross join lateral (select from longshore.ready r where r.lane = l.lane) r where l.queue = p_queue limit p_most + 1)
    union all
    (select from longshore.lanes l cross join lateral (select from longshore.held h where h.lane = l.lane) h where l.queue = p_queue limit p_most + 1)
    union all
    (select from longshore.lanes l cross join lateral (select from longshore.scheduled s where s.lane = l.lane) s where l.queue = p_queue limit p_most + 1)) w
$$;
comment on function longshore.waiting_of is 'how many jobs of a queue wait, counted to one above a number';

-- Which jobs of a batch are above the max_waiting of their queues; '{}' where none is. Those whose unique key is held make
-- nothing wait and count for nothing; one whose key is held by a job that is itself above the limit is above it too.
--
-- No lock: jobs that others have in flight are not counted, so the limit may be passed by as many. Up to 10,000 it is
-- counted here; a higher one is compared with what the duty counted within the last second or so.
create or replace function longshore.above_max_waiting(p_lanes int[], p_ids bigint[], p_standing bigint[]) returns boolean[] language plpgsql
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
declare
  v_above boolean[];
begin
  with u as materialized (
    select n.ord, l.queue, n.id, n.standing
      from unnest(p_lanes, p_ids, p_standing) with ordinality n(lane, id, standing, ord) join longshore.lanes l on l.lane = n.lane
  ), room as materialized (
    select q.queue, q.max_waiting - case when q.max_waiting <= 10000 then longshore.waiting_of(q.queue, q.max_waiting) else coalesce(q.waiting, 0) end free
      from longshore.queues q where q.special and q.max_waiting is not null and q.queue in (select u.queue from u)
  ), new as materialized (
    select u.ord, u.id, coalesce(row_number() over (partition by u.queue order by u.ord) > r.free, false) above
      from u left join room r on r.queue = u.queue where u.standing is null
  )
  select array_agg(coalesce(n.above, o.above, false) order by u.ord) into v_above
    from u left join new n on n.ord = u.ord left join new o on o.id = u.standing;
  return case when true = any(v_above) then v_above else '{}' end;
end $$;
comment on function longshore.above_max_waiting is 'which jobs of a batch are above the max_waiting of their queues';

-- Who takes which key, where queues have limits: as longshore.take_keys, and which jobs are above the limit. Those leave the
-- rows of uniques as they were: who held a key before holds it still.
drop function if exists longshore.take_room(int[], text[], text[], float8[]);
create or replace function longshore.take_room(p_lanes int[], p_keys text[], p_whiles text[], p_fors float8[], p_ids bigint[],
  out ids bigint[], out standing bigint[], out whiles text[], out above boolean[]) language plpgsql as $$
begin
  ids := p_ids; standing := '{}'; whiles := '{}';
  if cardinality(p_keys) = 0 then
    above := longshore.above_max_waiting(p_lanes, ids, standing);
    return;
  end if;
  begin
    select t.ids, t.standing, t.whiles into ids, standing, whiles from longshore.take_keys(p_lanes, p_keys, p_whiles, p_fors, p_ids) t;
    above := longshore.above_max_waiting(p_lanes, ids, standing);
    if cardinality(above) > 0 then raise sqlstate 'LS429'; end if; -- takes back what was written, not what was found
  exception when sqlstate 'LS429' then
    select t.ids, t.standing, t.whiles into ids, standing, whiles
      from longshore.take_keys(p_lanes, array(select case when not u.above then u.key end from unnest(p_keys, above) with ordinality u(key, above, ord) order by u.ord),
                               p_whiles, p_fors, p_ids) t;
  end;
end $$;
comment on function longshore.take_room is 'decide which of the new jobs meet a standing job, and which are above the max_waiting of their queues';

-- How many jobs wait in the queues whose max_waiting is too high to be counted at each enqueue. By one process at a time, at
-- most once a second. Returns how many queues were counted.
create or replace function longshore.count_waiting() returns int language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
  q record;
  v_counted int := 0;
begin
  for q in
    select i.queue, i.max_waiting from longshore.queues i
     where i.special and i.max_waiting > 10000 and coalesce(i.waiting_at < clock_timestamp() - interval '1 s', true)
     order by i.queue for no key update skip locked
  loop
    update longshore.queues i set waiting = longshore.waiting_of(q.queue, q.max_waiting), waiting_at = clock_timestamp() where i.queue = q.queue;
    v_counted := v_counted + 1;
  end loop;
  return v_counted;
end $$;
comment on function longshore.count_waiting is 'count how many jobs wait in queues with a high max_waiting';

-- The jobs that follow those which this report has failed: finished_at is the time of this very transaction, so that a
-- repeated report makes no second one. One that was itself enqueued so is followed by none. max_waiting does not refuse it, so
-- that nothing is lost; where its unique key is held, the standing job is enough. Where somebody is just taking that key, the
-- report waits for them, as an enqueue does.
create or replace function longshore.follow_failed(p_ids bigint[], p_leases bigint[]) returns void language plpgsql as $$
declare
  r record;
  j json;
  v_args text;
begin
  for r in
    select f.id, f.attempt, f.error, l.kind, q.name queue, q.on_failed, d.traceparent
      from unnest(p_ids, p_leases) u(id, lease)
     cross join lateral (select * from longshore.finished i where i.id = u.id offset 0) f
      join longshore.lanes l on l.lane = f.lane join longshore.queues q on q.queue = l.queue
     cross join lateral (select i.enqueued_by, i.traceparent from longshore.job_data i where i.id = f.id offset 0) d
     where f.lease = u.lease and f.state = 'failed' and f.finished_at = now() and q.on_failed is not null
       and coalesce(d.enqueued_by, '') not like 'on\_failed of job %' -- no name of an API key has a space
     order by f.id
  loop
    j := r.on_failed;
    -- as text, so that its own args keep their digits and their order
    v_args := rtrim(j->>'args');
    v_args := left(v_args, -1) || case when exists (select from json_object_keys(j->'args')) then ', ' else '' end
      || '"failed": ' || json_build_object('id', r.id, 'kind', r.kind, 'queue', r.queue, 'attempt', r.attempt, 'error', r.error) || '}';
    perform longshore.enqueue_batch(
      p_lanes => array[longshore.lane_of(j->>'queue', j->>'kind')], p_args => array[v_args::json],
      p_priorities => array[(j->>'priority')::smallint], p_max_attempts => array[(j->>'max_attempts')::smallint],
      p_timeouts_ms => array[case when j->'timeout' is null then 0 else ((j->>'timeout')::float8 * 1000)::int end],
      p_run_ats => array[(j->>'run_at')::timestamptz], p_delays => array[(j->>'delay')::float8], p_expires_in => array[(j->>'expires_in')::float8],
      p_concurrency_keys => array[j->>'concurrency_key'], p_retries => array[j->'retry'], p_tags => array[j->'tags'], p_metas => array[j->'meta'],
      p_enqueued_by => array['on_failed of job ' || r.id], p_traceparents => array[r.traceparent],
      p_unique_keys => case when j->'unique' is null then '{}' else array[j->'unique'->>'key'] end, p_unique_whiles => array[j->'unique'->>'while'],
      p_unique_fors => array[(j->'unique'->>'for')::float8], p_on_conflicts => array['return'], p_when_full => 'take');
  end loop;
end $$;
comment on function longshore.follow_failed is 'enqueue what follows the jobs that a report has failed';

-- Deletes a queue that holds no job: hides it, and forgets its settings. held (counted to 10,001) and running say why it did
-- not; there: whether there was such a queue. An enqueue that comes at the same time is not waited for: its job shows the
-- queue again.
create or replace function longshore.delete_queue(p_name text, out there boolean, out held int, out running int) language plpgsql
set enable_seqscan = off set jit = off
as $$
declare
  q record;
begin
  select i.queue, i.deleted_at into q from longshore.queues i where i.name = p_name for no key update;
  there := found and longshore.is_there(q.queue, q.deleted_at);
  held := 0; running := 0;
  if not there then return; end if;
  select count(*) into held from (
    select from longshore.lanes l cross join lateral (select from longshore.job_data d where d.lane = l.lane order by d.lane, d.id) d
     where l.queue = q.queue limit 10001) h;
  if held > 0 then
    select count(*) into running from longshore.running x where x.lane in (select l.lane from longshore.lanes l where l.queue = q.queue);
    return;
  end if;
  update longshore.queues i
     set deleted_at = now(), paused_at = default, default_priority = default, default_max_attempts = default, default_timeout_ms = default,
         default_retry = default, max_waiting = default, waiting = default, waiting_at = default, keep_succeeded = default, keep_cancelled = default,
         keep_failed = default, on_failed = default, max_running = default, max_running_per_key = default, rate_limit = default, rate_per = default,
         fair = default, limits_changed_at = default, settle_limits_at = default
   where i.queue = q.queue;
  perform longshore.tell('queue.deleted', p_queue => p_name);
end $$;
comment on function longshore.delete_queue is 'delete a queue that holds no job';

-- Forgets at most p_n jobs of a queue, of whatever state but running; returns how many. Index: job_data_lane.
create or replace function longshore.purge_queue(p_name text, p_n int) returns int language plpgsql
set enable_seqscan = off set enable_sort = off set jit = off
as $$
begin
  return (select count(*) filter (where d.met <> 'running') from longshore.delete_jobs(array(
    select d.id from longshore.queues q join longshore.lanes l using (queue)
     cross join lateral (select i.id from longshore.job_data i where i.lane = l.lane and not exists (select from longshore.running x where x.id = i.id)
                          order by i.lane, i.id limit p_n) d
     where q.name = p_name limit p_n)) d);
end $$;
comment on function longshore.purge_queue is 'forget jobs of a queue that do not run';
