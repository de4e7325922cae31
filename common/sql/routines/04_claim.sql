-- The claim: ready rows become running rows under a new lease, best first, in one statement.
--
-- An arm is one index range of ready: a lane, everything after a watermark, below a priority. A claim over several
-- arms is a lazy merge (MergeAppend over index ranges, then a join by ctid that locks): it reads as many rows as it
-- takes, keeps the order (priority, run_at, id) exactly and skips rows that another claim has locked. Lanes that the
-- worker does not serve are other index ranges and are never read. claim_1, _4, _16 and _64 differ in the number of arms.
--
-- All lanes are of one queue. A paused one gives nothing: a claim that began before the pause may still end after it. One
-- with limits gives nothing at first either; then longshore.room_for locks it, says for how many there is room (17_limits.sql),
-- and the statement runs again. So queues without limits pay nothing.
--
-- p_lease_s: how long the lease lasts unless it is extended; null: as long as the worker's heartbeats. losses: how many
-- attempts in a row were lost before this one; who has lost two may only now be asked for, so it costs the others nothing.
-- again_s: its queue has limits; after so many seconds there may be room for more (0: when one of its jobs ends). Null: it has none.
--
-- parents: the results of those that it comes after in its workflow.
--
-- Guard: a row is deleted from ready by the transaction that writes it into running, and a worker that was declared
-- dead gets nothing. Locks: the row of a limited queue, then rows of ready. Index: ready_order.
do $do$
declare
  v_arms int;
  v_source text;
  v_may constant text := '(v_chosen is null or id = any(v_chosen) or key is null and not v_fair)';
begin
  foreach v_arms in array array[1, 4, 16, 64] loop
    if v_arms = 1 then
      v_source := $q$select ctid from longshore.ready
        where lane = p_lanes[1] and (priority, run_at, id) > (p_priorities[1], p_run_ats[1], p_ids[1]) and priority < p_belows[1] and $q$ || v_may || $q$
        order by lane, priority, run_at, id$q$;
    else
      select 'select r.ctid from (' || string_agg(format(
          '(select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[%1$s] and (priority, run_at, id) > (p_priorities[%1$s], p_run_ats[%1$s], p_ids[%1$s]) and priority < p_belows[%1$s] and ' || v_may || ' order by priority, run_at, id)',
          arm), E'\n union all ') || ' order by priority, run_at, id) x join longshore.ready r on r.ctid = x.c'
        into v_source from generate_series(1, v_arms) arm;
    end if;
    execute format('drop function if exists longshore.claim_%s(int, int, int[], smallint[], timestamptz[], bigint[], int[])', v_arms);
    execute format('drop function if exists longshore.claim_%s(int, int, int[], smallint[], timestamptz[], bigint[], int[], float8)', v_arms);
    execute format($q$
create function longshore.claim_%1$s(p_worker int, p_n int, p_lanes int[], p_priorities smallint[], p_run_ats timestamptz[], p_ids bigint[], p_belows int[],
  p_lease_s float8 default null)
returns table (id bigint, lease bigint, attempt smallint, started_at timestamptz, lane int, priority smallint, run_at timestamptz, created_at timestamptz,
  max_attempts smallint, timeout_ms int, expired boolean, request_id text, traceparent text, tags text[], meta json, args json, losses int, again_s float8, parents json)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $f$
#variable_conflict use_column
declare
  v_n int := p_n;
  v_limited int;    -- the queue, once there is room in it
  v_chosen bigint[];  -- of jobs with a key, those that may run now; null: all
  v_fair boolean;
  v_again float8;
  v_tokens float8;
  v_reckoned_at timestamptz;
  v_took int;
begin
  loop
    return query
    with c as (
      delete from longshore.ready where ctid = any(array(%2$s
        limit case when exists (select from longshore.workers w where w.worker = p_worker and w.stopped_at is null)
                    and not exists (select from longshore.lanes l join longshore.queues q using (queue)
                                     where l.lane = p_lanes[1] and (q.paused_at is not null or q.limited and v_limited is null))
                   then v_n else 0 end
        for update%3$s skip locked))
      returning id, (attempt + 1)::smallint attempt, lane, key
    ), l as materialized (
      -- the clock, after this statement's snapshot: who comes after others starts later than the last of those has ended
      select nextval('longshore.lease_number') lease, clock_timestamp() started_at
    ), r as (
      insert into longshore.running (id, lease, lane, worker, attempt, started_at, lease_until, key, limited_queue)
      select c.id, l.lease, c.lane, p_worker, c.attempt, l.started_at, l.started_at + make_interval(secs => p_lease_s), c.key, v_limited from l, c
    ), told as (
      insert into longshore.event_inbox (event, id, lane, attempt)
      select 'job.started', c.id, c.lane, c.attempt from c where exists (select from longshore.watch w where w.one and w.events_until > now())
    )
    select c.id, l.lease, c.attempt, l.started_at, c.lane, j.priority, j.run_at, j.created_at, j.max_attempts, j.timeout_ms,
           c.attempt = 1 and coalesce(j.expires_at <= now(), false), j.request_id, j.traceparent, j.tags, j.meta, j.args,
           case when c.attempt > 2 then longshore.losses(c.id) else 0 end, v_again, case when j.after is not null then longshore.parents_of(j.after) end
      from l, c cross join lateral (select * from longshore.job_data i where i.id = c.id offset 0) j;
    exit when found and v_limited is null;
    if v_limited is not null then
      get diagnostics v_took = row_count;
      perform longshore.started(v_limited, v_took, v_tokens, v_reckoned_at, v_chosen, v_fair);
      exit;
    end if;
    select o.queue, o.n, o.chosen, o.fair, o.again_s, o.tokens, o.reckoned_at
      into v_limited, v_n, v_chosen, v_fair, v_again, v_tokens, v_reckoned_at from longshore.room_for(p_n, p_lanes) o;
    exit when v_limited is null or v_n <= 0;
    if v_chosen is not null then
      -- they stand anywhere in their lanes
      p_lanes := array(select case when row_number() over (partition by u.lane order by u.arm) = 1 then u.lane end
                         from unnest(p_lanes) with ordinality u(lane, arm) order by u.arm);
      p_priorities := array_fill((-32768)::smallint, array[cardinality(p_lanes)]); p_run_ats := array_fill('-infinity'::timestamptz, array[cardinality(p_lanes)]);
      p_ids := array_fill(0::bigint, array[cardinality(p_lanes)]); p_belows := array_fill(40000, array[cardinality(p_lanes)]);
    end if;
  end loop;
end $f$ $q$, v_arms, v_source, case when v_arms = 1 then '' else ' of r' end);
    execute format($q$comment on function longshore.claim_%s is 'lease ready jobs to a worker, best first, from up to that many index ranges'$q$, v_arms);
  end loop;
end $do$;
