-- The claim: ready rows become running rows under a new lease, best first, in one statement.
--
-- An arm is one index range of ready: a lane, everything after a watermark, below a priority. A claim over several
-- arms is a lazy merge (MergeAppend over index ranges, then a join by ctid that locks): it reads as many rows as it
-- takes, keeps the order (priority, run_at, id) exactly and skips rows that another claim has locked. Lanes that the
-- worker does not serve are other index ranges and are never read. claim_1, _4, _16 and _64 differ in the number of arms.
--
-- All lanes are of one queue. A paused one gives nothing: a claim that began before the pause may still end after it.
--
-- Guard: a row is deleted from ready by the transaction that writes it into running, and a worker that was declared
-- dead gets nothing. Index: ready_order.
do $do$
declare
  v_arms int;
  v_source text;
begin
  foreach v_arms in array array[1, 4, 16, 64] loop
    if v_arms = 1 then
      v_source := $q$select ctid from longshore.ready
        where lane = p_lanes[1] and (priority, run_at, id) > (p_priorities[1], p_run_ats[1], p_ids[1]) and priority < p_belows[1]
        order by lane, priority, run_at, id$q$;
    else
      select 'select r.ctid from (' || string_agg(format(
          '(select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[%1$s] and (priority, run_at, id) > (p_priorities[%1$s], p_run_ats[%1$s], p_ids[%1$s]) and priority < p_belows[%1$s] order by priority, run_at, id)',
          arm), E'\n union all ') || ' order by priority, run_at, id) x join longshore.ready r on r.ctid = x.c'
        into v_source from generate_series(1, v_arms) arm;
    end if;
    execute format($q$
create or replace function longshore.claim_%1$s(p_worker int, p_n int, p_lanes int[], p_priorities smallint[], p_run_ats timestamptz[], p_ids bigint[], p_belows int[])
returns table (id bigint, lease bigint, attempt smallint, started_at timestamptz, lane int, priority smallint, run_at timestamptz, created_at timestamptz,
  max_attempts smallint, timeout_ms int, expired boolean, request_id text, traceparent text, tags text[], meta json, args json)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $f$
#variable_conflict use_column
begin
  return query
  with c as (
    delete from longshore.ready where ctid = any(array(%2$s
      limit case when exists (select from longshore.workers w where w.worker = p_worker and w.stopped_at is null)
                  and not exists (select from longshore.lanes l join longshore.queues q using (queue) where l.lane = p_lanes[1] and q.paused_at is not null)
                 then p_n else 0 end
      for update%3$s skip locked))
    returning id, (attempt + 1)::smallint attempt, lane
  ), l as materialized (
    select nextval('longshore.lease_number') lease
  ), r as (
    insert into longshore.running (id, lease, lane, worker, attempt) select c.id, l.lease, c.lane, p_worker, c.attempt from l, c
  ), told as (
    insert into longshore.event_inbox (event, id, lane, attempt)
    select 'job.started', c.id, c.lane, c.attempt from c where exists (select from longshore.watch w where w.one and w.events_until > now())
  )
  select c.id, l.lease, c.attempt, now(), c.lane, j.priority, j.run_at, j.created_at, j.max_attempts, j.timeout_ms,
         c.attempt = 1 and coalesce(j.expires_at <= now(), false), j.request_id, j.traceparent, j.tags, j.meta, j.args
    from l, c cross join lateral (select * from longshore.job_data i where i.id = c.id offset 0) j;
end $f$ $q$, v_arms, v_source, case when v_arms = 1 then '' else ' of r' end);
    execute format($q$comment on function longshore.claim_%s is 'lease ready jobs to a worker, best first, from up to that many index ranges'$q$, v_arms);
  end loop;
end $do$;
