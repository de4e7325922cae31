-- The schema of Longshore's schema version 1.1, as its program made it. Not edited: programs of the next version must
-- work with it, and bring it up.
set check_function_bodies = off; -- functions come before the tables that they read
SELECT pg_catalog.set_config('search_path', '', false);
CREATE SCHEMA longshore;
CREATE TYPE longshore.job_state AS ENUM (
    'scheduled',
    'available',
    'running',
    'retryable',
    'blocked',
    'succeeded',
    'failed',
    'cancelled'
);
CREATE TYPE longshore.outcome AS ENUM (
    'succeeded',
    'failed',
    'timed_out',
    'lost',
    'snoozed',
    'handed_back',
    'cancelled',
    'discarded',
    'expired'
);
CREATE FUNCTION longshore.backoff(p_retry json, p_attempt integer) RETURNS double precision
    LANGUAGE sql
    AS $$
  select (1 + (random() * 2 - 1) * coalesce((p_retry->>'jitter')::float8, 0.1))
       * case coalesce(p_retry->>'backoff', 'exponential')
           when 'fixed' then base
           when 'linear' then least(max, base * p_attempt)
           else least(max, base * 2.0 ^ least(p_attempt - 1, 60)) end
  from (select coalesce((p_retry->>'base')::float8, 1) base, coalesce((p_retry->>'max')::float8, 86400) max) x
$$;
CREATE FUNCTION longshore.claim_1(p_worker integer, p_n integer, p_lanes integer[], p_priorities smallint[], p_run_ats timestamp with time zone[], p_ids bigint[], p_belows integer[]) RETURNS TABLE(id bigint, lease bigint, attempt smallint, started_at timestamp with time zone, lane integer, priority smallint, run_at timestamp with time zone, created_at timestamp with time zone, max_attempts smallint, timeout_ms integer, expired boolean, request_id text, traceparent text, tags text[], meta json, args json)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  return query
  with c as (
    delete from longshore.ready where ctid = any(array(select ctid from longshore.ready
        where lane = p_lanes[1] and (priority, run_at, id) > (p_priorities[1], p_run_ats[1], p_ids[1]) and priority < p_belows[1]
        order by lane, priority, run_at, id
      limit case when exists (select from longshore.workers w where w.worker = p_worker and w.stopped_at is null) then p_n else 0 end
      for update skip locked))
    returning id, (attempt + 1)::smallint attempt, lane
  ), l as materialized (
    select nextval('longshore.lease_number') lease
  ), r as (
    insert into longshore.running (id, lease, lane, worker, attempt) select c.id, l.lease, c.lane, p_worker, c.attempt from l, c
  )
  select c.id, l.lease, c.attempt, now(), c.lane, j.priority, j.run_at, j.created_at, j.max_attempts, j.timeout_ms,
         c.attempt = 1 and coalesce(j.expires_at <= now(), false), j.request_id, j.traceparent, j.tags, j.meta, j.args
    from l, c cross join lateral (select * from longshore.job_data i where i.id = c.id offset 0) j;
end $$;
CREATE FUNCTION longshore.claim_16(p_worker integer, p_n integer, p_lanes integer[], p_priorities smallint[], p_run_ats timestamp with time zone[], p_ids bigint[], p_belows integer[]) RETURNS TABLE(id bigint, lease bigint, attempt smallint, started_at timestamp with time zone, lane integer, priority smallint, run_at timestamp with time zone, created_at timestamp with time zone, max_attempts smallint, timeout_ms integer, expired boolean, request_id text, traceparent text, tags text[], meta json, args json)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  return query
  with c as (
    delete from longshore.ready where ctid = any(array(select r.ctid from ((select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[1] and (priority, run_at, id) > (p_priorities[1], p_run_ats[1], p_ids[1]) and priority < p_belows[1] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[2] and (priority, run_at, id) > (p_priorities[2], p_run_ats[2], p_ids[2]) and priority < p_belows[2] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[3] and (priority, run_at, id) > (p_priorities[3], p_run_ats[3], p_ids[3]) and priority < p_belows[3] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[4] and (priority, run_at, id) > (p_priorities[4], p_run_ats[4], p_ids[4]) and priority < p_belows[4] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[5] and (priority, run_at, id) > (p_priorities[5], p_run_ats[5], p_ids[5]) and priority < p_belows[5] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[6] and (priority, run_at, id) > (p_priorities[6], p_run_ats[6], p_ids[6]) and priority < p_belows[6] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[7] and (priority, run_at, id) > (p_priorities[7], p_run_ats[7], p_ids[7]) and priority < p_belows[7] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[8] and (priority, run_at, id) > (p_priorities[8], p_run_ats[8], p_ids[8]) and priority < p_belows[8] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[9] and (priority, run_at, id) > (p_priorities[9], p_run_ats[9], p_ids[9]) and priority < p_belows[9] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[10] and (priority, run_at, id) > (p_priorities[10], p_run_ats[10], p_ids[10]) and priority < p_belows[10] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[11] and (priority, run_at, id) > (p_priorities[11], p_run_ats[11], p_ids[11]) and priority < p_belows[11] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[12] and (priority, run_at, id) > (p_priorities[12], p_run_ats[12], p_ids[12]) and priority < p_belows[12] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[13] and (priority, run_at, id) > (p_priorities[13], p_run_ats[13], p_ids[13]) and priority < p_belows[13] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[14] and (priority, run_at, id) > (p_priorities[14], p_run_ats[14], p_ids[14]) and priority < p_belows[14] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[15] and (priority, run_at, id) > (p_priorities[15], p_run_ats[15], p_ids[15]) and priority < p_belows[15] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[16] and (priority, run_at, id) > (p_priorities[16], p_run_ats[16], p_ids[16]) and priority < p_belows[16] order by priority, run_at, id) order by priority, run_at, id) x join longshore.ready r on r.ctid = x.c
      limit case when exists (select from longshore.workers w where w.worker = p_worker and w.stopped_at is null) then p_n else 0 end
      for update of r skip locked))
    returning id, (attempt + 1)::smallint attempt, lane
  ), l as materialized (
    select nextval('longshore.lease_number') lease
  ), r as (
    insert into longshore.running (id, lease, lane, worker, attempt) select c.id, l.lease, c.lane, p_worker, c.attempt from l, c
  )
  select c.id, l.lease, c.attempt, now(), c.lane, j.priority, j.run_at, j.created_at, j.max_attempts, j.timeout_ms,
         c.attempt = 1 and coalesce(j.expires_at <= now(), false), j.request_id, j.traceparent, j.tags, j.meta, j.args
    from l, c cross join lateral (select * from longshore.job_data i where i.id = c.id offset 0) j;
end $$;
CREATE FUNCTION longshore.claim_4(p_worker integer, p_n integer, p_lanes integer[], p_priorities smallint[], p_run_ats timestamp with time zone[], p_ids bigint[], p_belows integer[]) RETURNS TABLE(id bigint, lease bigint, attempt smallint, started_at timestamp with time zone, lane integer, priority smallint, run_at timestamp with time zone, created_at timestamp with time zone, max_attempts smallint, timeout_ms integer, expired boolean, request_id text, traceparent text, tags text[], meta json, args json)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  return query
  with c as (
    delete from longshore.ready where ctid = any(array(select r.ctid from ((select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[1] and (priority, run_at, id) > (p_priorities[1], p_run_ats[1], p_ids[1]) and priority < p_belows[1] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[2] and (priority, run_at, id) > (p_priorities[2], p_run_ats[2], p_ids[2]) and priority < p_belows[2] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[3] and (priority, run_at, id) > (p_priorities[3], p_run_ats[3], p_ids[3]) and priority < p_belows[3] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[4] and (priority, run_at, id) > (p_priorities[4], p_run_ats[4], p_ids[4]) and priority < p_belows[4] order by priority, run_at, id) order by priority, run_at, id) x join longshore.ready r on r.ctid = x.c
      limit case when exists (select from longshore.workers w where w.worker = p_worker and w.stopped_at is null) then p_n else 0 end
      for update of r skip locked))
    returning id, (attempt + 1)::smallint attempt, lane
  ), l as materialized (
    select nextval('longshore.lease_number') lease
  ), r as (
    insert into longshore.running (id, lease, lane, worker, attempt) select c.id, l.lease, c.lane, p_worker, c.attempt from l, c
  )
  select c.id, l.lease, c.attempt, now(), c.lane, j.priority, j.run_at, j.created_at, j.max_attempts, j.timeout_ms,
         c.attempt = 1 and coalesce(j.expires_at <= now(), false), j.request_id, j.traceparent, j.tags, j.meta, j.args
    from l, c cross join lateral (select * from longshore.job_data i where i.id = c.id offset 0) j;
end $$;
CREATE FUNCTION longshore.claim_64(p_worker integer, p_n integer, p_lanes integer[], p_priorities smallint[], p_run_ats timestamp with time zone[], p_ids bigint[], p_belows integer[]) RETURNS TABLE(id bigint, lease bigint, attempt smallint, started_at timestamp with time zone, lane integer, priority smallint, run_at timestamp with time zone, created_at timestamp with time zone, max_attempts smallint, timeout_ms integer, expired boolean, request_id text, traceparent text, tags text[], meta json, args json)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
  return query
  with c as (
    delete from longshore.ready where ctid = any(array(select r.ctid from ((select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[1] and (priority, run_at, id) > (p_priorities[1], p_run_ats[1], p_ids[1]) and priority < p_belows[1] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[2] and (priority, run_at, id) > (p_priorities[2], p_run_ats[2], p_ids[2]) and priority < p_belows[2] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[3] and (priority, run_at, id) > (p_priorities[3], p_run_ats[3], p_ids[3]) and priority < p_belows[3] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[4] and (priority, run_at, id) > (p_priorities[4], p_run_ats[4], p_ids[4]) and priority < p_belows[4] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[5] and (priority, run_at, id) > (p_priorities[5], p_run_ats[5], p_ids[5]) and priority < p_belows[5] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[6] and (priority, run_at, id) > (p_priorities[6], p_run_ats[6], p_ids[6]) and priority < p_belows[6] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[7] and (priority, run_at, id) > (p_priorities[7], p_run_ats[7], p_ids[7]) and priority < p_belows[7] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[8] and (priority, run_at, id) > (p_priorities[8], p_run_ats[8], p_ids[8]) and priority < p_belows[8] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[9] and (priority, run_at, id) > (p_priorities[9], p_run_ats[9], p_ids[9]) and priority < p_belows[9] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[10] and (priority, run_at, id) > (p_priorities[10], p_run_ats[10], p_ids[10]) and priority < p_belows[10] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[11] and (priority, run_at, id) > (p_priorities[11], p_run_ats[11], p_ids[11]) and priority < p_belows[11] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[12] and (priority, run_at, id) > (p_priorities[12], p_run_ats[12], p_ids[12]) and priority < p_belows[12] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[13] and (priority, run_at, id) > (p_priorities[13], p_run_ats[13], p_ids[13]) and priority < p_belows[13] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[14] and (priority, run_at, id) > (p_priorities[14], p_run_ats[14], p_ids[14]) and priority < p_belows[14] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[15] and (priority, run_at, id) > (p_priorities[15], p_run_ats[15], p_ids[15]) and priority < p_belows[15] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[16] and (priority, run_at, id) > (p_priorities[16], p_run_ats[16], p_ids[16]) and priority < p_belows[16] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[17] and (priority, run_at, id) > (p_priorities[17], p_run_ats[17], p_ids[17]) and priority < p_belows[17] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[18] and (priority, run_at, id) > (p_priorities[18], p_run_ats[18], p_ids[18]) and priority < p_belows[18] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[19] and (priority, run_at, id) > (p_priorities[19], p_run_ats[19], p_ids[19]) and priority < p_belows[19] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[20] and (priority, run_at, id) > (p_priorities[20], p_run_ats[20], p_ids[20]) and priority < p_belows[20] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[21] and (priority, run_at, id) > (p_priorities[21], p_run_ats[21], p_ids[21]) and priority < p_belows[21] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[22] and (priority, run_at, id) > (p_priorities[22], p_run_ats[22], p_ids[22]) and priority < p_belows[22] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[23] and (priority, run_at, id) > (p_priorities[23], p_run_ats[23], p_ids[23]) and priority < p_belows[23] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[24] and (priority, run_at, id) > (p_priorities[24], p_run_ats[24], p_ids[24]) and priority < p_belows[24] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[25] and (priority, run_at, id) > (p_priorities[25], p_run_ats[25], p_ids[25]) and priority < p_belows[25] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[26] and (priority, run_at, id) > (p_priorities[26], p_run_ats[26], p_ids[26]) and priority < p_belows[26] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[27] and (priority, run_at, id) > (p_priorities[27], p_run_ats[27], p_ids[27]) and priority < p_belows[27] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[28] and (priority, run_at, id) > (p_priorities[28], p_run_ats[28], p_ids[28]) and priority < p_belows[28] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[29] and (priority, run_at, id) > (p_priorities[29], p_run_ats[29], p_ids[29]) and priority < p_belows[29] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[30] and (priority, run_at, id) > (p_priorities[30], p_run_ats[30], p_ids[30]) and priority < p_belows[30] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[31] and (priority, run_at, id) > (p_priorities[31], p_run_ats[31], p_ids[31]) and priority < p_belows[31] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[32] and (priority, run_at, id) > (p_priorities[32], p_run_ats[32], p_ids[32]) and priority < p_belows[32] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[33] and (priority, run_at, id) > (p_priorities[33], p_run_ats[33], p_ids[33]) and priority < p_belows[33] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[34] and (priority, run_at, id) > (p_priorities[34], p_run_ats[34], p_ids[34]) and priority < p_belows[34] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[35] and (priority, run_at, id) > (p_priorities[35], p_run_ats[35], p_ids[35]) and priority < p_belows[35] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[36] and (priority, run_at, id) > (p_priorities[36], p_run_ats[36], p_ids[36]) and priority < p_belows[36] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[37] and (priority, run_at, id) > (p_priorities[37], p_run_ats[37], p_ids[37]) and priority < p_belows[37] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[38] and (priority, run_at, id) > (p_priorities[38], p_run_ats[38], p_ids[38]) and priority < p_belows[38] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[39] and (priority, run_at, id) > (p_priorities[39], p_run_ats[39], p_ids[39]) and priority < p_belows[39] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[40] and (priority, run_at, id) > (p_priorities[40], p_run_ats[40], p_ids[40]) and priority < p_belows[40] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[41] and (priority, run_at, id) > (p_priorities[41], p_run_ats[41], p_ids[41]) and priority < p_belows[41] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[42] and (priority, run_at, id) > (p_priorities[42], p_run_ats[42], p_ids[42]) and priority < p_belows[42] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[43] and (priority, run_at, id) > (p_priorities[43], p_run_ats[43], p_ids[43]) and priority < p_belows[43] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[44] and (priority, run_at, id) > (p_priorities[44], p_run_ats[44], p_ids[44]) and priority < p_belows[44] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[45] and (priority, run_at, id) > (p_priorities[45], p_run_ats[45], p_ids[45]) and priority < p_belows[45] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[46] and (priority, run_at, id) > (p_priorities[46], p_run_ats[46], p_ids[46]) and priority < p_belows[46] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[47] and (priority, run_at, id) > (p_priorities[47], p_run_ats[47], p_ids[47]) and priority < p_belows[47] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[48] and (priority, run_at, id) > (p_priorities[48], p_run_ats[48], p_ids[48]) and priority < p_belows[48] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[49] and (priority, run_at, id) > (p_priorities[49], p_run_ats[49], p_ids[49]) and priority < p_belows[49] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[50] and (priority, run_at, id) > (p_priorities[50], p_run_ats[50], p_ids[50]) and priority < p_belows[50] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[51] and (priority, run_at, id) > (p_priorities[51], p_run_ats[51], p_ids[51]) and priority < p_belows[51] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[52] and (priority, run_at, id) > (p_priorities[52], p_run_ats[52], p_ids[52]) and priority < p_belows[52] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[53] and (priority, run_at, id) > (p_priorities[53], p_run_ats[53], p_ids[53]) and priority < p_belows[53] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[54] and (priority, run_at, id) > (p_priorities[54], p_run_ats[54], p_ids[54]) and priority < p_belows[54] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[55] and (priority, run_at, id) > (p_priorities[55], p_run_ats[55], p_ids[55]) and priority < p_belows[55] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[56] and (priority, run_at, id) > (p_priorities[56], p_run_ats[56], p_ids[56]) and priority < p_belows[56] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[57] and (priority, run_at, id) > (p_priorities[57], p_run_ats[57], p_ids[57]) and priority < p_belows[57] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[58] and (priority, run_at, id) > (p_priorities[58], p_run_ats[58], p_ids[58]) and priority < p_belows[58] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[59] and (priority, run_at, id) > (p_priorities[59], p_run_ats[59], p_ids[59]) and priority < p_belows[59] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[60] and (priority, run_at, id) > (p_priorities[60], p_run_ats[60], p_ids[60]) and priority < p_belows[60] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[61] and (priority, run_at, id) > (p_priorities[61], p_run_ats[61], p_ids[61]) and priority < p_belows[61] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[62] and (priority, run_at, id) > (p_priorities[62], p_run_ats[62], p_ids[62]) and priority < p_belows[62] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[63] and (priority, run_at, id) > (p_priorities[63], p_run_ats[63], p_ids[63]) and priority < p_belows[63] order by priority, run_at, id)
 union all (select ctid c, priority, run_at, id from longshore.ready where lane = p_lanes[64] and (priority, run_at, id) > (p_priorities[64], p_run_ats[64], p_ids[64]) and priority < p_belows[64] order by priority, run_at, id) order by priority, run_at, id) x join longshore.ready r on r.ctid = x.c
      limit case when exists (select from longshore.workers w where w.worker = p_worker and w.stopped_at is null) then p_n else 0 end
      for update of r skip locked))
    returning id, (attempt + 1)::smallint attempt, lane
  ), l as materialized (
    select nextval('longshore.lease_number') lease
  ), r as (
    insert into longshore.running (id, lease, lane, worker, attempt) select c.id, l.lease, c.lane, p_worker, c.attempt from l, c
  )
  select c.id, l.lease, c.attempt, now(), c.lane, j.priority, j.run_at, j.created_at, j.max_attempts, j.timeout_ms,
         c.attempt = 1 and coalesce(j.expires_at <= now(), false), j.request_id, j.traceparent, j.tags, j.meta, j.args
    from l, c cross join lateral (select * from longshore.job_data i where i.id = c.id offset 0) j;
end $$;
CREATE FUNCTION longshore.enqueue(kind text, args json DEFAULT '{}'::json, queue text DEFAULT 'default'::text, priority integer DEFAULT 0, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay interval DEFAULT NULL::interval, expires_in interval DEFAULT NULL::interval, max_attempts integer DEFAULT 25, timeout interval DEFAULT '00:05:00'::interval, tags text[] DEFAULT NULL::text[], meta json DEFAULT NULL::json, concurrency_key text DEFAULT NULL::text, retry json DEFAULT NULL::json, unique_key text DEFAULT NULL::text, unique_while text DEFAULT NULL::text, unique_for interval DEFAULT NULL::interval, on_conflict text DEFAULT NULL::text, notify boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_faults text[] := '{}';
  v_why text;
  v_id bigint;
  v_verdict text;
  v_lane int;
begin
  -- a passed null means the default, as an absent field does over HTTP; a null timeout is "none"
  args := coalesce(args, '{}'); queue := coalesce(queue, 'default'); priority := coalesce(priority, 0); max_attempts := coalesce(max_attempts, 25);
  if kind is null then v_faults := v_faults || 'kind: is missing'::text;
  elsif kind !~ '^[A-Za-z0-9_.:-]{1,128}$' then v_faults := v_faults || 'kind: must be 1 to 128 of A-Z a-z 0-9 _ . : -'::text; end if;
  if queue !~ '^[A-Za-z0-9_.:-]{1,128}$' then v_faults := v_faults || 'queue: must be 1 to 128 of A-Z a-z 0-9 _ . : -'::text; end if;
  v_why := longshore.json_fault(args, 1048576);
  if v_why is not null then v_faults := v_faults || ('args: ' || v_why); end if;
  if priority not between -32768 and 32767 then v_faults := v_faults || 'priority: must be -32768 to 32767'::text; end if;
  if max_attempts not between 1 and 1000 then v_faults := v_faults || 'max_attempts: must be 1 to 1000'::text; end if;
  if timeout not between interval '1 s' and interval '7 d' then v_faults := v_faults || 'timeout: must be 1 s to 7 d, or null for none'::text; end if;
  if run_at is not null and delay is not null then v_faults := v_faults || 'delay: give run_at or delay, not both'::text; end if;
  if not isfinite(run_at) or run_at > '9999-12-31 00:00+00' then v_faults := v_faults || 'run_at: must be a time before the year 10000'::text; end if;
  if delay not between interval '0' and interval '36500 d' then v_faults := v_faults || 'delay: must be 0 to 36500 d'::text; end if;
  if expires_in is not null and expires_in not between interval '1 ms' and interval '36500 d' then v_faults := v_faults || 'expires_in: must be 1 ms to 36500 d'::text; end if;
  if cardinality(tags) > 20 then v_faults := v_faults || 'tags: at most 20 are allowed'::text; end if;
  if exists (select from unnest(tags) t where t is null or t = '' or length(t) > 64) then v_faults := v_faults || 'tags: each must have 1 to 64 characters'::text; end if;
  if meta is not null then
    if json_typeof(meta) <> 'object' then v_faults := v_faults || 'meta: must be an object'::text;
    else
      v_why := longshore.json_fault(meta, 16384);
      if v_why is not null then v_faults := v_faults || ('meta: ' || v_why); end if;
    end if;
  end if;
  if octet_length(concurrency_key) not between 1 and 255 then v_faults := v_faults || 'concurrency_key: must have 1 to 255 bytes'::text; end if;
  if retry is not null then
    v_why := longshore.retry_fault(retry);
    if v_why is not null then v_faults := v_faults || ('retry: ' || v_why); end if;
  end if;
  if octet_length(unique_key) not between 1 and 255 then v_faults := v_faults || 'unique_key: must have 1 to 255 bytes'::text; end if;
  if unique_while not in ('waiting', 'active', 'kept') then v_faults := v_faults || 'unique_while: must be waiting, active or kept'::text; end if;
  if unique_for is not null and unique_for not between interval '1 ms' and interval '36500 d' then v_faults := v_faults || 'unique_for: must be 1 ms to 36500 d'::text; end if;
  if on_conflict not in ('return', 'reject', 'replace') then v_faults := v_faults || 'on_conflict: must be return, reject or replace'::text; end if;
  if unique_key is null and (unique_while is not null or unique_for is not null or on_conflict is not null) then
    v_faults := v_faults || 'unique_key: is missing, but unique_while, unique_for or on_conflict is given'::text; end if;
  if cardinality(v_faults) > 0 then
    raise exception 'longshore.enqueue: %', array_to_string(v_faults, '; ') using errcode = 'invalid_parameter_value';
  end if;
  v_lane := longshore.lane_of(queue, kind);
  select b.id, b.verdict into strict v_id, v_verdict from longshore.enqueue_batch(
    p_lanes => array[v_lane], p_args => array[args], p_priorities => array[priority::smallint], p_max_attempts => array[max_attempts::smallint],
    p_timeouts_ms => array[(extract(epoch from timeout) * 1000)::int],
    p_run_ats => array[run_at], p_delays => array[extract(epoch from delay)::float8], p_expires_in => array[extract(epoch from expires_in)::float8],
    p_concurrency_keys => array[concurrency_key], p_retries => array[retry], p_tags => array[to_json(tags)], p_metas => array[meta],
    p_unique_keys => case when unique_key is null then '{}' else array[unique_key] end, p_unique_whiles => array[unique_while],
    p_unique_fors => array[extract(epoch from unique_for)::float8], p_on_conflicts => array[on_conflict]) b;
  if v_verdict = 'conflict' then
    raise exception 'longshore.enqueue: unique key "%" of kind "%" is held by job %', unique_key, kind, v_id using errcode = 'unique_violation';
  end if;
  if notify then perform pg_notify('longshore_wake', queue); end if;
  return v_id;
end $_$;
CREATE FUNCTION longshore.enqueue_batch(p_lanes integer[], p_args json[], p_priorities smallint[], p_max_attempts smallint[], p_timeouts_ms integer[], p_run_ats timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[], p_delays double precision[] DEFAULT '{}'::double precision[], p_expires_in double precision[] DEFAULT '{}'::double precision[], p_concurrency_keys text[] DEFAULT '{}'::text[], p_retries json[] DEFAULT '{}'::json[], p_tags json[] DEFAULT '{}'::json[], p_metas json[] DEFAULT '{}'::json[], p_enqueued_by text[] DEFAULT '{}'::text[], p_request_ids text[] DEFAULT '{}'::text[], p_traceparents text[] DEFAULT '{}'::text[], p_unique_keys text[] DEFAULT '{}'::text[], p_unique_whiles text[] DEFAULT '{}'::text[], p_unique_fors double precision[] DEFAULT '{}'::double precision[], p_on_conflicts text[] DEFAULT '{}'::text[]) RETURNS TABLE(ord integer, id bigint, verdict text, run_at timestamp with time zone, created_at timestamp with time zone, expires_at timestamp with time zone)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  v_ids bigint[] := '{}';       -- ids of this batch, needed beforehand where keys are to be taken
  v_standing bigint[] := '{}';  -- the standing job that each one met, if any
  v_whiles text[] := '{}';
  r record;
begin
  if cardinality(p_unique_keys) > 0 then
    select t.ids, t.standing, t.whiles into v_ids, v_standing, v_whiles
      from longshore.take_keys(p_lanes, p_unique_keys, p_unique_whiles, p_unique_fors) t;
  end if;
  return query
  with j as (
    insert into longshore.job_data (id, run_at, expires_at, lane, timeout_ms, priority, max_attempts, unique_key, unique_while,
                                    concurrency_key, retry, tags, meta, enqueued_by, request_id, traceparent, args)
    select coalesce(u.id, nextval('longshore.job_id')),
           case when u.delay is not null then now() + make_interval(secs => u.delay) else greatest(u.run_at, now()) end,
           now() + make_interval(secs => u.expires_in), u.lane, u.timeout_ms, coalesce(u.priority, 0::smallint), u.max_attempts, u.unique_key, u.unique_while,
           u.concurrency_key, u.retry, case when u.tags is not null then array(select json_array_elements_text(u.tags)) end, u.meta,
           u.enqueued_by, u.request_id, u.traceparent, u.args
      from unnest(p_lanes, p_args, p_priorities, p_max_attempts, p_timeouts_ms, p_run_ats, p_delays, p_expires_in, p_concurrency_keys, p_retries, p_tags, p_metas,
                  p_enqueued_by, p_request_ids, p_traceparents, p_unique_keys, v_whiles, v_ids, v_standing)
        u(lane, args, priority, max_attempts, timeout_ms, run_at, delay, expires_in, concurrency_key, retry, tags, meta,
          enqueued_by, request_id, traceparent, unique_key, unique_while, id, standing)
     where u.standing is null
    returning job_data.id, job_data.run_at, job_data.created_at, job_data.expires_at, job_data.lane, job_data.priority, job_data.tags, job_data.meta
  ), r as (
    insert into longshore.ready (id, run_at, lane, priority) select j.id, j.run_at, j.lane, j.priority from j where j.run_at <= now()
  ), s as (
    insert into longshore.scheduled (run_at, id, lane, priority) select j.run_at, j.id, j.lane, j.priority from j where j.run_at > now()
  ), e as (
    insert into longshore.expiring (expires_at, id) select j.expires_at, j.id from j where j.expires_at is not null
  ), l as (
    insert into longshore.labels (label, id)
    select x.label, j.id from j cross join lateral longshore.labels_of(j.tags, j.meta) x(label)
     where j.tags is not null or j.meta is not null
  )
  select null::int, j.id, 'enqueued', j.run_at, j.created_at, j.expires_at from j;
  if cardinality(v_standing) > 0 then
    for r in
      select u.ord::int ord, u.standing, coalesce(u.on_conflict, 'return') on_conflict, u.run_at,
             u.delay, u.args, u.priority, u.tags, u.meta
        from unnest(v_standing, p_on_conflicts, p_run_ats, p_delays, p_args, p_priorities, p_tags, p_metas)
             with ordinality u(standing, on_conflict, run_at, delay, args, priority, tags, meta, ord)
       where u.standing is not null order by u.ord
    loop
      return query select r.ord, r.standing,
        case r.on_conflict
          when 'reject' then 'conflict'
          when 'replace' then case when longshore.replace_waiting(r.standing,
              case when r.delay is not null then now() + make_interval(secs => r.delay) else greatest(r.run_at, now()) end,
              r.args, r.priority, r.tags, r.meta) then 'replaced' else 'duplicate' end
          else 'duplicate' end,
        null::timestamptz, null::timestamptz, null::timestamptz;
    end loop;
  end if;
end $$;
CREATE FUNCTION longshore.exceeds_float8(p_number text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  perform p_number::float8;
  return false;
exception when numeric_value_out_of_range then
  return p_number !~ '[eE]-';
end $$;
CREATE FUNCTION longshore.expire(p_n integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
  e record;
  v_attempt smallint;
  v_expired int := 0;
begin
  for e in
    delete from longshore.expiring where ctid = any(array(
      select i.ctid from longshore.expiring i where i.expires_at <= now() order by i.expires_at, i.id limit p_n for update skip locked))
    returning id
  loop
    continue when exists (select from longshore.attempts a where a.id = e.id and a.outcome not in ('snoozed', 'handed_back'));
    v_attempt := longshore.unplace(e.id);
    continue when v_attempt is null;
    insert into longshore.finished (id, lane, state, attempt, error)
    select j.id, j.lane, 'cancelled', v_attempt, 'expired' from longshore.job_data j where j.id = e.id;
    insert into longshore.tally (lane, state, n) select j.lane, 'cancelled', 1 from longshore.job_data j where j.id = e.id;
    v_expired := v_expired + 1;
  end loop;
  return v_expired;
end $$;
CREATE FUNCTION longshore.explain(job bigint) RETURNS TABLE(reason text, detail text, until timestamp with time zone)
    LANGUAGE plpgsql STABLE
    AS $$
#variable_conflict use_column
declare
  j record;
  v_serving text[]; -- what live workers serve
  v_kinds text[];   -- what those know that serve this job's queue
  v_ahead int;
begin
  select * into j from longshore.jobs i where i.id = explain.job;
  if not found then
    raise exception 'longshore.explain: there is no job %', explain.job using errcode = 'no_data_found',
      hint = 'finished jobs are forgotten after their queue''s retention time';
  end if;
  if j.state = 'running' then
    return query select 'running', format('it runs since %s on %s', j.started_at::timestamptz(0), j.worker), null::timestamptz;
    return;
  elsif j.finished_at is not null then
    return query select 'finished', format('it is %s since %s', j.state, j.finished_at::timestamptz(0)), null::timestamptz;
    return;
  end if;
  if j.state = 'scheduled' then
    return query select 'not_due', 'its run_at is in the future', j.run_at;
  elsif j.state = 'retryable' then
    return query select 'retry_wait', format('attempt %s of %s failed (%s); it waits before the next', j.attempt, j.max_attempts, left(j.error, 200)), j.run_at;
  end if;
  select array_agg(distinct s order by s) into v_serving
    from longshore.workers w, unnest(w.queues) s where w.stopped_at is null and w.last_seen > now() - w.lease;
  select array_agg(distinct k order by k) into v_kinds
    from longshore.workers w, unnest(w.kinds) k
   where w.stopped_at is null and w.last_seen > now() - w.lease
     and exists (select from unnest(w.queues) s where split_part(s, '=', 1) in (j.queue, '*'));
  if v_serving is null then
    return query select 'no_worker', 'there is no live worker: start one', null::timestamptz;
  elsif v_kinds is null then
    return query select 'no_worker', format('no live worker serves queue "%s"; live workers serve: %s', j.queue, array_to_string(v_serving, ', ')), null::timestamptz;
  elsif j.kind <> all(v_kinds) then
    return query select 'no_handler', format('no live worker has a handler for kind "%s"; they have: %s', j.kind, array_to_string(v_kinds, ', ')), null::timestamptz;
  elsif j.state = 'available' then
    -- those that a worker would take first: of its queue, of kinds that somebody knows
    select count(*) into v_ahead from (
      select from longshore.lanes l join longshore.lanes own on own.lane = j.lane and own.queue = l.queue
        join longshore.ready r on r.lane = l.lane and (r.priority, r.run_at, r.id) < (j.priority, j.run_at, j.id)
       where l.kind = any(v_kinds) limit 1000) ahead;
    return query select 'behind', case
        when v_ahead = 0 then 'it is the next of its queue, and starts when a worker has a free slot'
        else format('%s%s of its queue come first; more workers or more slots (LONGSHORE_WORKER__QUEUES) start it sooner',
          case when v_ahead = 1000 then 'at least ' else '' end, v_ahead || case when v_ahead = 1 then ' job' else ' jobs' end) end, null::timestamptz;
  end if;
end $$;
CREATE FUNCTION longshore.fold_tally() RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
  v_folded int;
begin
  with d as (
    delete from longshore.tally where ctid = any(array(select ctid from longshore.tally limit 10000 for update skip locked)) returning *
  ), i as (
    insert into longshore.tally (lane, state, n) select lane, state, sum(n) from d group by lane, state having sum(n) <> 0
  )
  select count(*) into v_folded from d;
  return v_folded;
end $$;
CREATE FUNCTION longshore.json_fault(p_value json, p_max_bytes integer) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
declare
  t text := p_value::text;
begin
  if octet_length(t) > p_max_bytes then
    return format('is %s bytes long; at most %s are allowed', octet_length(t), p_max_bytes);
  end if;
  if t ~ '\\u(0000|[dD][89a-fA-F])' then
    begin
      perform t::jsonb; -- only jsonb looks into escapes
    exception when others then
      return 'has a NUL character or a lone surrogate in a string';
    end;
  end if;
  if length(t) - length(translate(t, '[{', '')) > 128
     and jsonb_path_exists(t::jsonb, 'strict $.**{128 to last} ? (@.type() == "object" || @.type() == "array")') then
    return 'is nested deeper than 128 levels';
  end if;
  if t ~ '[0-9][eE]|[0-9]{200}' and exists (
       select from regexp_matches(regexp_replace(t, '"(\\.|[^"\\])*"', '""', 'g'), '-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', 'g') n(m)
        where longshore.exceeds_float8(n.m[1])) then
    return 'has a number too large for a 64-bit float';
  end if;
  return null;
end $_$;
CREATE FUNCTION longshore.labels_of(p_tags text[], p_meta json) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE
    AS $$
  select 't:' || t from unnest(p_tags) t
  union
  select 'm:' || e.key || '=' || left(e.value #>> '{}', 200) from json_each(coalesce(p_meta, '{}')) e
   where json_typeof(e.value) not in ('object', 'array', 'null') and octet_length(e.key) <= 255 -- an index row has room for 2704 bytes
$$;
CREATE FUNCTION longshore.lane_of(p_queue text, p_kind text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
  v_queue int;
  v_lane int;
begin
  select l.lane into v_lane from longshore.lanes l join longshore.queues q using (queue)
   where q.name = p_queue and l.kind = p_kind;
  if found then return v_lane; end if;
  insert into longshore.queues (name) values (p_queue) on conflict do nothing;
  select queue into strict v_queue from longshore.queues where name = p_queue;
  insert into longshore.lanes (queue, kind) values (v_queue, p_kind) on conflict do nothing;
  select lane into strict v_lane from longshore.lanes where queue = v_queue and kind = p_kind;
  return v_lane;
end $$;
CREATE FUNCTION longshore.losses(p_id bigint) RETURNS integer
    LANGUAGE sql STABLE
    AS $$
  select count(*)::int from longshore.attempts a
   where a.id = p_id and a.outcome = 'lost'
     and a.lease > coalesce((select max(b.lease) from longshore.attempts b
                              where b.id = p_id and b.outcome not in ('lost', 'handed_back')), 0)
$$;
CREATE FUNCTION longshore.place(p_ids bigint[], p_attempts smallint[]) RETURNS void
    LANGUAGE sql
    AS $$
  with u as materialized (
    select j.id, j.run_at, j.lane, j.priority, u.attempt
      from unnest(p_ids, p_attempts) u(id, attempt)
     cross join lateral (select * from longshore.job_data i where i.id = u.id offset 0) j
  ), s as (
    insert into longshore.scheduled (run_at, id, lane, priority, attempt)
    select run_at, id, lane, priority, attempt from u where run_at > now()
  )
  insert into longshore.ready (id, run_at, lane, priority, attempt)
  select id, run_at, lane, priority, attempt from u where run_at <= now()
$$;
CREATE FUNCTION longshore.promote(p_n integer, p_after timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(promoted integer, upto timestamp with time zone, queues text[])
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return query
  with s as (
    delete from longshore.scheduled where ctid = any(array(
      select i.ctid from longshore.scheduled i
       where i.run_at >= coalesce(p_after, '-infinity') and i.run_at <= now()
       order by i.run_at, i.id limit p_n for update skip locked))
    returning *
  ), r as (
    insert into longshore.ready (id, run_at, lane, priority, attempt) select s.id, s.run_at, s.lane, s.priority, s.attempt from s
  )
  select count(*)::int, max(s.run_at), array(select distinct q.name from (select distinct x.lane from s x) d join longshore.lanes l using (lane) join longshore.queues q using (queue)) from s;
end $$;
CREATE FUNCTION longshore.prune(p_state longshore.job_state, p_age interval, p_n integer) RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_pruned int;
begin
  with f as (
    delete from longshore.finished where ctid = any(array(
      select i.ctid from longshore.finished i where i.state = p_state and i.finished_at < now() - p_age
       order by i.state, i.finished_at limit p_n for update skip locked))
    returning id, lane
  ), j as (
    delete from longshore.job_data where id = any(array(select id from f)) returning id, tags, meta, expires_at
  ), l as (
    delete from longshore.labels where (label, id) in
      (select x.label, j.id from j cross join lateral longshore.labels_of(j.tags, j.meta) x(label) where j.tags is not null or j.meta is not null)
  ), e as (
    delete from longshore.expiring where (expires_at, id) in (select j.expires_at, j.id from j where j.expires_at is not null)
  ), a as (
    delete from longshore.attempts where id = any(array(select id from f))
  ), t as (
    insert into longshore.tally (lane, state, n) select lane, p_state, -count(*) from f group by lane
  )
  select count(*) into v_pruned from f;
  return v_pruned;
end $$;
CREATE FUNCTION longshore.replace_waiting(p_id bigint, p_run_at timestamp with time zone, p_args json, p_priority smallint, p_tags json, p_meta json) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
  v_attempt smallint := longshore.unplace(p_id);
begin
  if v_attempt is null then return false; end if;
  delete from longshore.labels l using longshore.job_data j, longshore.labels_of(j.tags, j.meta) x(label)
   where j.id = p_id and l.label = x.label and l.id = p_id;
  update longshore.job_data j
     set run_at = p_run_at, args = p_args, priority = coalesce(p_priority, 0::smallint), meta = p_meta,
         tags = case when p_tags is not null then array(select json_array_elements_text(p_tags)) end
   where j.id = p_id;
  insert into longshore.labels (label, id)
  select x.label, p_id from longshore.job_data j, longshore.labels_of(j.tags, j.meta) x(label) where j.id = p_id;
  perform longshore.place(array[p_id], array[v_attempt]);
  return true;
end $$;
CREATE FUNCTION longshore.report(p_ids bigint[], p_leases bigint[], p_outcomes text[], p_results json[] DEFAULT '{}'::json[], p_errors text[] DEFAULT '{}'::text[], p_delays double precision[] DEFAULT '{}'::double precision[]) RETURNS TABLE(id bigint, lease bigint, state longshore.job_state, accepted boolean)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  v_settled int;
begin
  return query
  with held as materialized (
    select u.id, u.lease, u.outcome::longshore.outcome outcome, u.result, u.error, u.delay, h.worker, h.started_at, h.lane, h.attempt
      from (select distinct on (v.id, v.lease) *
              from unnest(p_ids, p_leases, p_outcomes, p_results, p_errors, p_delays) v(id, lease, outcome, result, error, delay)
             order by v.id, v.lease) u
     cross join lateral (select * from longshore.running i where i.id = u.id and i.lease = u.lease for update offset 0) h
  ), gone as (
    delete from longshore.running where id = any(array(select held.id from held))
  ), settled as materialized (
    -- job_data is looked at only where the attempt did not succeed
    select held.*, j.max_attempts,
           case held.outcome
             when 'succeeded' then 'succeeded'
             when 'cancelled' then 'cancelled'
             when 'expired' then 'cancelled'
             when 'discarded' then 'failed'
             when 'snoozed' then 'waits'
             when 'handed_back' then 'waits'
             else case when held.attempt >= j.max_attempts
                         or held.outcome = 'lost' and longshore.losses(held.id) + 1 >= 3 then 'failed' else 'waits' end
           end fate,
           -- seconds until it is tried again; a handed back one stands where it stood. Named one by one: reckoning a backoff
           -- that nobody needs nearly doubled the cost of a success
           case
             when held.outcome = 'snoozed' then coalesce(held.delay, 0)
             when held.outcome in ('failed', 'timed_out', 'lost') then coalesce(held.delay, longshore.backoff(j.retry, held.attempt))
             else 0
           end wait
      from held
      left join lateral (select max_attempts, retry from longshore.job_data i
                          where i.id = held.id and held.outcome <> 'succeeded' offset 0) j on true
  ), over as (
    insert into longshore.finished (id, lease, started_at, lane, worker, state, outcome, attempt, result, error)
    select s.id, s.lease, s.started_at, s.lane, s.worker, s.fate::longshore.job_state, s.outcome, s.attempt, s.result,
           case when s.outcome = 'expired' then 'expired'
                when s.outcome = 'lost' and s.attempt < s.max_attempts then 'its worker died 3 times'
                else s.error end
      from settled s where s.fate <> 'waits'
    returning lane, state
  ), counted as (
    insert into longshore.tally (lane, state, n) select lane, state, count(*) from over group by lane, state
  ), remembered as (
    insert into longshore.attempts (id, lease, started_at, worker, outcome, attempt, error)
    select s.id, s.lease, s.started_at, s.worker, s.outcome, s.attempt, s.error from settled s where s.fate = 'waits'
  ), due as (
    update longshore.job_data j set run_at = now() + make_interval(secs => s.wait)
      from settled s
     where j.id = s.id and s.fate = 'waits' and s.outcome <> 'handed_back'
    returning j.id, j.run_at, j.lane, j.priority, (s.attempt - case s.outcome when 'snoozed' then 1 else 0 end)::smallint attempt
  ), back as (
    select j.id, j.run_at, j.lane, j.priority, (s.attempt - 1)::smallint attempt
      from settled s cross join lateral (select * from longshore.job_data i where i.id = s.id offset 0) j
     where s.fate = 'waits' and s.outcome = 'handed_back'
  ), later as (
    insert into longshore.scheduled (run_at, id, lane, priority, attempt)
    select run_at, id, lane, priority, attempt from due where run_at > now()
  ), now_ready as (
    insert into longshore.ready (id, run_at, lane, priority, attempt)
    select id, run_at, lane, priority, attempt from due where run_at <= now()
    union all
    select id, run_at, lane, priority, attempt from back
  )
  select s.id, s.lease,
         case when s.fate <> 'waits' then s.fate
              when s.wait <= 0 then 'available'
              when s.outcome = 'snoozed' and s.attempt = 1 then 'scheduled'
              else 'retryable'
         end::longshore.job_state, true
    from settled s;
  get diagnostics v_settled = row_count;
  if v_settled < cardinality(p_ids) then
    -- a fresh snapshot: which of the rest were reported before, by this lease, with this outcome?
    return query
    select u.id, u.lease, null::longshore.job_state, false
      from unnest(p_ids, p_leases, p_outcomes) u(id, lease, outcome)
     where not exists (select from longshore.finished f where f.id = u.id and f.lease = u.lease and f.outcome = u.outcome::longshore.outcome)
       and not exists (select from longshore.attempts a where a.id = u.id and a.lease = u.lease and a.outcome = u.outcome::longshore.outcome);
  end if;
end $$;
CREATE FUNCTION longshore.rescue() RETURNS TABLE(worker text, silent_s double precision, jobs bigint)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  w record;
  v_ids bigint[];
  v_leases bigint[];
  v_error text;
begin
  for w in
    select x.worker, x.name, x.stopped_at, extract(epoch from now() - x.last_seen)::float8 silent from longshore.workers x
     where x.stopped_at is null and x.last_seen < now() - x.lease
        or x.stopped_at is not null and exists (select from longshore.running r where r.worker = x.worker)
     order by x.worker for update skip locked
  loop
    update longshore.workers x set stopped_at = now() where x.worker = w.worker and x.stopped_at is null;
    worker := w.name; silent_s := w.silent; jobs := 0;
    v_error := format('its worker %s was not heard of for %s s', w.name, round(w.silent::numeric, 1));
    loop
      select array_agg(r.id order by r.id), array_agg(r.lease order by r.id) into v_ids, v_leases
        from (select * from longshore.running y where y.worker = w.worker limit 1000) r;
      exit when v_ids is null;
      -- a report of the worker itself may have been quicker
      jobs := jobs + (select count(*) filter (where p.accepted) from longshore.report(
        v_ids, v_leases, array_fill('lost'::text, array[cardinality(v_ids)]), '{}', array_fill(v_error, array[cardinality(v_ids)])) p);
    end loop;
    return next;
  end loop;
end $$;
CREATE FUNCTION longshore.retry_fault(p_retry json) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    AS $$
declare
  v_key text;
begin
  if json_typeof(p_retry) <> 'object' then return 'must be an object'; end if;
  select k into v_key from json_object_keys(p_retry) k where k not in ('backoff', 'base', 'max', 'jitter') limit 1;
  if found then return format('"%s" is unknown; allowed are backoff, base, max, jitter', v_key); end if;
  if coalesce(p_retry->>'backoff', 'fixed') not in ('exponential', 'linear', 'fixed') then return 'backoff must be exponential, linear or fixed'; end if;
  foreach v_key in array array['base', 'max', 'jitter'] loop
    if coalesce(json_typeof(p_retry->v_key), 'number') <> 'number' then return v_key || ' must be a number (of seconds)'; end if;
  end loop;
  if (p_retry->>'base')::numeric not between 0 and 2592000 then return 'base must be 0 to 2592000 seconds (30 d)'; end if;
  if (p_retry->>'max')::numeric not between 0 and 2592000 then return 'max must be 0 to 2592000 seconds (30 d)'; end if;
  if (p_retry->>'jitter')::numeric not between 0 and 1 then return 'jitter must be 0 to 1'; end if;
  return null;
end $$;
CREATE FUNCTION longshore.take_keys(p_lanes integer[], p_keys text[], p_whiles text[], p_fors double precision[]) RETURNS TABLE(ids bigint[], standing bigint[], whiles text[])
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  u record;
  v_candidates bigint[];
  v_holder bigint;
  v_id bigint;
  v_keep bigint[];
begin
  -- 1. Make and lock the rows of all keys, in one order over all transactions. `where false` locks and changes nothing.
  insert into longshore.uniques as k (kind, key, ids)
  select distinct l.kind, n.key, '{}'::bigint[]
    from unnest(p_lanes, p_keys) n(lane, key)
   cross join lateral (select kind from longshore.lanes i where i.lane = n.lane offset 0) l
   where n.key is not null order by l.kind, n.key
  on conflict (kind, key) do update set ids = k.ids where false;
  -- 2. One after the other, each under a fresh snapshot, so that the second of two equal keys in a batch meets the first.
  ids := '{}'; standing := '{}'; whiles := '{}';
  for u in
    select n.key, l.kind, n.secs, coalesce(n.rule, case when n.secs is null then 'active' end) rule
      from unnest(p_lanes, p_keys, p_whiles, p_fors) with ordinality n(lane, key, rule, secs, ord)
     cross join lateral (select kind from longshore.lanes i where i.lane = n.lane offset 0) l
     order by n.ord
  loop
    v_id := nextval('longshore.job_id');
    v_holder := null;
    if u.key is not null then
      select k.ids into strict v_candidates from longshore.uniques k where k.kind = u.kind and k.key = u.key;
      -- a candidate of this very batch is not stored yet: it counts as waiting
      select max(c.id) into v_holder from unnest(v_candidates) c(id)
       where c.id = any(ids)
          or exists (select from longshore.job_data j where j.id = c.id and (
               u.rule = 'kept'
               or j.created_at > now() - make_interval(secs => u.secs)
               or u.rule = 'active' and not exists (select from longshore.finished f where f.id = c.id)
               or u.rule = 'waiting' and not exists (select from longshore.finished f where f.id = c.id)
                                     and not exists (select from longshore.running x where x.id = c.id)));
      if v_holder is null then
        v_keep := array(select c.id from unnest(v_candidates) c(id)
                         where exists (select from longshore.job_data j where j.id = c.id)
                           and not exists (select from longshore.finished f where f.id = c.id));
        update longshore.uniques k set ids = v_keep || v_id where k.kind = u.kind and k.key = u.key;
      end if;
    end if;
    ids := ids || v_id;
    standing := standing || v_holder;
    whiles := whiles || case when u.key is not null then coalesce(u.rule, 'for') end;
  end loop;
  return next;
end $$;
CREATE FUNCTION longshore.unplace(p_id bigint) RETURNS smallint
    LANGUAGE plpgsql
    AS $$
declare
  j record;
  v_attempt smallint;
begin
  select lane, priority, run_at into j from longshore.job_data where id = p_id;
  if not found then return null; end if;
  delete from longshore.ready r
   where r.lane = j.lane and r.priority = j.priority and r.run_at = j.run_at and r.id = p_id
  returning attempt into v_attempt;
  if found then return v_attempt; end if;
  delete from longshore.scheduled s where s.run_at = j.run_at and s.id = p_id returning attempt into v_attempt;
  return v_attempt;
end $$;
CREATE TABLE longshore.attempts (
    id bigint NOT NULL,
    lease bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    worker integer NOT NULL,
    outcome longshore.outcome NOT NULL,
    attempt smallint NOT NULL,
    error text
);
CREATE TABLE longshore.expiring (
    expires_at timestamp with time zone NOT NULL,
    id bigint NOT NULL
);
CREATE TABLE longshore.finished (
    id bigint NOT NULL,
    lease bigint,
    started_at timestamp with time zone,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    lane integer NOT NULL,
    worker integer,
    state longshore.job_state NOT NULL,
    outcome longshore.outcome,
    attempt smallint NOT NULL,
    result json,
    error text,
    CONSTRAINT finished_check CHECK (((lease IS NULL) = (started_at IS NULL))),
    CONSTRAINT finished_state_check CHECK ((state = ANY (ARRAY['succeeded'::longshore.job_state, 'failed'::longshore.job_state, 'cancelled'::longshore.job_state])))
)
WITH (autovacuum_vacuum_insert_scale_factor='0.5');
CREATE SEQUENCE longshore.job_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    MAXVALUE 9007199254740991
    CACHE 1;
CREATE TABLE longshore.job_data (
    id bigint DEFAULT nextval('longshore.job_id'::regclass) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    run_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    lane integer NOT NULL,
    timeout_ms integer,
    priority smallint NOT NULL,
    max_attempts smallint NOT NULL,
    unique_key text,
    unique_while text,
    concurrency_key text,
    retry json,
    tags text[],
    meta json,
    enqueued_by text,
    request_id text,
    traceparent text,
    args json NOT NULL,
    CONSTRAINT job_data_max_attempts_check CHECK (((max_attempts >= 1) AND (max_attempts <= 32767))),
    CONSTRAINT job_data_timeout_ms_check CHECK (((timeout_ms >= 1000) AND (timeout_ms <= 604800000)))
)
WITH (autovacuum_vacuum_insert_scale_factor='0.5');
CREATE TABLE longshore.lanes (
    lane integer NOT NULL,
    queue integer NOT NULL,
    kind text NOT NULL,
    CONSTRAINT lanes_kind_check CHECK ((kind ~ '^[A-Za-z0-9_.:-]{1,128}$'::text))
);
CREATE TABLE longshore.queues (
    queue integer NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT queues_name_check CHECK ((name ~ '^[A-Za-z0-9_.:-]{1,128}$'::text))
);
CREATE TABLE longshore.ready (
    id bigint NOT NULL,
    run_at timestamp with time zone NOT NULL,
    lane integer NOT NULL,
    priority smallint NOT NULL,
    attempt smallint DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE longshore.running (
    id bigint NOT NULL,
    lease bigint NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    lane integer NOT NULL,
    worker integer NOT NULL,
    attempt smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000', autovacuum_vacuum_cost_delay='0', fillfactor='90');
CREATE TABLE longshore.scheduled (
    run_at timestamp with time zone NOT NULL,
    id bigint NOT NULL,
    lane integer NOT NULL,
    priority smallint NOT NULL,
    attempt smallint DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='20000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE longshore.workers (
    worker integer NOT NULL,
    lease interval NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    last_seen timestamp with time zone DEFAULT now() NOT NULL,
    last_poll timestamp with time zone,
    stopped_at timestamp with time zone,
    name text NOT NULL,
    host text NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    kinds text[] NOT NULL
)
WITH (fillfactor='20');
CREATE VIEW longshore.jobs AS
 SELECT j.id,
    l.kind,
    q.name AS queue,
        CASE
            WHEN (f.id IS NOT NULL) THEN f.state
            WHEN (x.id IS NOT NULL) THEN 'running'::longshore.job_state
            WHEN (r.id IS NOT NULL) THEN 'available'::longshore.job_state
            WHEN (s.id IS NOT NULL) THEN
            CASE
                WHEN (s.attempt = 0) THEN 'scheduled'::longshore.job_state
                ELSE 'retryable'::longshore.job_state
            END
            ELSE NULL::longshore.job_state
        END AS state,
    COALESCE(f.attempt, x.attempt, r.attempt, s.attempt) AS attempt,
    j.max_attempts,
    j.priority,
    j.run_at,
    j.created_at,
    COALESCE(x.started_at, f.started_at) AS started_at,
    f.finished_at,
    w.name AS worker,
    COALESCE(f.error, last.error) AS error,
    f.result,
    j.args,
    ((j.timeout_ms)::numeric / 1000.0) AS timeout,
    j.expires_at,
    j.tags,
    j.meta,
    j.unique_key,
    j.concurrency_key,
    j.retry,
    j.enqueued_by,
    j.request_id,
    j.traceparent,
    j.lane
   FROM ((((((((longshore.job_data j
     JOIN longshore.lanes l ON ((l.lane = j.lane)))
     JOIN longshore.queues q ON ((q.queue = l.queue)))
     LEFT JOIN longshore.finished f ON ((f.id = j.id)))
     LEFT JOIN longshore.running x ON ((x.id = j.id)))
     LEFT JOIN longshore.ready r ON (((r.lane = j.lane) AND (r.priority = j.priority) AND (r.run_at = j.run_at) AND (r.id = j.id))))
     LEFT JOIN longshore.scheduled s ON (((s.run_at = j.run_at) AND (s.id = j.id))))
     LEFT JOIN longshore.workers w ON ((w.worker = COALESCE(x.worker, f.worker))))
     LEFT JOIN LATERAL ( SELECT a.error
           FROM longshore.attempts a
          WHERE ((a.id = j.id) AND (a.error IS NOT NULL) AND (COALESCE(x.attempt, s.attempt, r.attempt, f.attempt) > 0))
          ORDER BY a.lease DESC
         LIMIT 1) last ON ((f.id IS NULL)));
CREATE VIEW longshore.failures AS
 SELECT j.id,
    j.queue,
    j.kind,
    j.state,
    ((j.attempt || '/'::text) || j.max_attempts) AS attempt,
    (COALESCE(j.finished_at, j.run_at))::timestamp(0) with time zone AS "failed or next try",
    "left"(j.error, 60) AS error
   FROM (longshore.finished f
     JOIN longshore.jobs j ON ((j.id = f.id)))
  WHERE (f.state = 'failed'::longshore.job_state)
UNION ALL
 SELECT j.id,
    j.queue,
    j.kind,
    j.state,
    ((j.attempt || '/'::text) || j.max_attempts) AS attempt,
    (j.run_at)::timestamp(0) with time zone AS "failed or next try",
    "left"(j.error, 60) AS error
   FROM (longshore.scheduled s
     JOIN longshore.jobs j ON ((j.id = s.id)))
  WHERE (s.attempt > 0);
CREATE TABLE longshore.keys (
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    queues text[],
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT keys_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT keys_name_check CHECK ((name ~ '^[A-Za-z0-9_.:-]{1,128}$'::text)),
    CONSTRAINT keys_prefix_check CHECK ((prefix ~ '^[0-9a-f]{12}$'::text)),
    CONSTRAINT keys_queues_check CHECK (((cardinality(queues) > 0) AND (array_position(queues, NULL::text) IS NULL))),
    CONSTRAINT keys_scopes_check CHECK (((cardinality(scopes) > 0) AND (scopes <@ ARRAY['enqueue'::text, 'read'::text, 'work'::text, 'admin'::text])))
);
CREATE TABLE longshore.labels (
    label text NOT NULL,
    id bigint NOT NULL
);
ALTER TABLE longshore.lanes ALTER COLUMN lane ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME longshore.lanes_lane_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE SEQUENCE longshore.lease_number
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE VIEW longshore.places AS
 SELECT ready.id,
    'available'::longshore.job_state AS state,
    ready.attempt,
    ready.lane,
    ready.priority,
    ready.run_at
   FROM longshore.ready
UNION ALL
 SELECT scheduled.id,
        CASE
            WHEN (scheduled.attempt = 0) THEN 'scheduled'::longshore.job_state
            ELSE 'retryable'::longshore.job_state
        END AS state,
    scheduled.attempt,
    scheduled.lane,
    scheduled.priority,
    scheduled.run_at
   FROM longshore.scheduled
UNION ALL
 SELECT running.id,
    'running'::longshore.job_state AS state,
    running.attempt,
    running.lane,
    NULL::smallint AS priority,
    NULL::timestamp with time zone AS run_at
   FROM longshore.running
UNION ALL
 SELECT finished.id,
    finished.state,
    finished.attempt,
    finished.lane,
    NULL::smallint AS priority,
    NULL::timestamp with time zone AS run_at
   FROM longshore.finished;
CREATE TABLE longshore.tally (
    lane integer NOT NULL,
    state longshore.job_state NOT NULL,
    n bigint NOT NULL
);
CREATE VIEW longshore.queues_overview AS
 SELECT q.name AS queue,
    l.kind,
    ( SELECT count(*) AS count
           FROM ( SELECT
                   FROM longshore.ready r
                  WHERE (r.lane = l.lane)
                 LIMIT 10001) c) AS available,
    ( SELECT count(*) AS count
           FROM longshore.running x
          WHERE (x.lane = l.lane)) AS running,
    ( SELECT count(*) AS count
           FROM longshore.scheduled s
          WHERE ((s.lane = l.lane) AND (s.attempt = 0))) AS scheduled,
    ( SELECT count(*) AS count
           FROM longshore.scheduled s
          WHERE ((s.lane = l.lane) AND (s.attempt > 0))) AS retryable,
    t.succeeded,
    t.failed,
    t.cancelled,
    ( SELECT date_trunc('milliseconds'::text, (now() - min(h.run_at))) AS date_trunc
           FROM ( SELECT r.run_at
                   FROM longshore.ready r
                  WHERE (r.lane = l.lane)
                  ORDER BY r.lane, r.priority, r.run_at
                 LIMIT 1) h) AS "oldest waits"
   FROM ((longshore.queues q
     JOIN longshore.lanes l USING (queue))
     LEFT JOIN LATERAL ( SELECT COALESCE(sum(tally.n) FILTER (WHERE (tally.state = 'succeeded'::longshore.job_state)), (0)::numeric) AS succeeded,
            COALESCE(sum(tally.n) FILTER (WHERE (tally.state = 'failed'::longshore.job_state)), (0)::numeric) AS failed,
            COALESCE(sum(tally.n) FILTER (WHERE (tally.state = 'cancelled'::longshore.job_state)), (0)::numeric) AS cancelled
           FROM longshore.tally
          WHERE (tally.lane = l.lane)) t ON (true));
ALTER TABLE longshore.queues ALTER COLUMN queue ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME longshore.queues_queue_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE longshore.schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);
CREATE TABLE longshore.schema_version (
    one boolean DEFAULT true NOT NULL,
    major integer NOT NULL,
    minor integer NOT NULL,
    routines text NOT NULL,
    CONSTRAINT schema_version_one_check CHECK (one)
);
CREATE TABLE longshore.uniques (
    kind text NOT NULL,
    key text NOT NULL,
    ids bigint[] NOT NULL
)
WITH (fillfactor='70');
CREATE VIEW longshore.violations AS
 SELECT j.id,
    'stands in no place'::text AS what
   FROM longshore.job_data j
  WHERE (NOT (EXISTS ( SELECT
           FROM longshore.places p
          WHERE (p.id = j.id))))
UNION ALL
 SELECT p.id,
    ('stands in '::text || string_agg((p.state)::text, ' and '::text)) AS what
   FROM longshore.places p
  GROUP BY p.id
 HAVING (count(*) > 1)
UNION ALL
 SELECT p.id,
    'has a place but no job_data'::text AS what
   FROM longshore.places p
  WHERE (NOT (EXISTS ( SELECT
           FROM longshore.job_data j
          WHERE (j.id = p.id))))
UNION ALL
 SELECT p.id,
    'its place has another lane, priority or run_at than job_data'::text AS what
   FROM (longshore.places p
     JOIN longshore.job_data j USING (id))
  WHERE ((p.lane <> j.lane) OR (p.priority <> j.priority) OR (p.run_at <> j.run_at))
UNION ALL
 SELECT r.id,
    'runs without a worker'::text AS what
   FROM longshore.running r
  WHERE (NOT (EXISTS ( SELECT
           FROM longshore.workers w
          WHERE (w.worker = r.worker))))
UNION ALL
 SELECT r.id,
    format('runs attempt %s of %s'::text, r.attempt, j.max_attempts) AS what
   FROM (longshore.running r
     JOIN longshore.job_data j USING (id))
  WHERE ((r.attempt < 1) OR (r.attempt > j.max_attempts))
UNION ALL
 SELECT n.id,
    format('holds unique key %s of kind %s, and so does job %s'::text, n.unique_key, l.kind, o.id) AS what
   FROM (((longshore.job_data n
     JOIN longshore.lanes l USING (lane))
     JOIN longshore.job_data o ON (((o.unique_key = n.unique_key) AND (o.id < n.id))))
     JOIN longshore.lanes m ON (((m.lane = o.lane) AND (m.kind = l.kind))))
  WHERE ((n.unique_while = 'kept'::text) OR ((n.unique_while = 'active'::text) AND (NOT (EXISTS ( SELECT
           FROM longshore.finished f
          WHERE (f.id = ANY (ARRAY[o.id, n.id])))))))
UNION ALL
 SELECT NULL::bigint AS id,
    format('tally says %s %s jobs in lane %s, there are %s'::text, COALESCE(t.n, (0)::numeric), state, lane, COALESCE(f.n, (0)::bigint)) AS what
   FROM (( SELECT finished.lane,
            finished.state,
            count(*) AS n
           FROM longshore.finished
          GROUP BY finished.lane, finished.state) f
     FULL JOIN ( SELECT tally.lane,
            tally.state,
            sum(tally.n) AS n
           FROM longshore.tally
          GROUP BY tally.lane, tally.state) t USING (lane, state))
  WHERE ((COALESCE(f.n, (0)::bigint))::numeric <> COALESCE(t.n, (0)::numeric));
CREATE VIEW longshore.workers_overview AS
 SELECT w.name AS worker,
    w.host,
    w.version,
    array_to_string(w.queues, ','::text) AS queues,
    array_to_string(w.kinds, ','::text) AS kinds,
    ( SELECT count(*) AS count
           FROM longshore.running r
          WHERE (r.worker = w.worker)) AS running,
    date_trunc('second'::text, (now() - w.since)) AS up,
    date_trunc('milliseconds'::text, (now() - w.last_seen)) AS "silent for",
    (w.last_seen > (now() - w.lease)) AS alive
   FROM longshore.workers w
  WHERE (w.stopped_at IS NULL);
ALTER TABLE longshore.workers ALTER COLUMN worker ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME longshore.workers_worker_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO longshore.schema_history VALUES (1, 'tables', '2026-11-25T07:20:19.852839595Z', '6605967564251541359');
INSERT INTO longshore.schema_history VALUES (2, 'keys', '2026-11-25T07:20:19.875204609Z', '11365932613506567108');
INSERT INTO longshore.schema_version VALUES (true, 1, 1, 'afa2b59a4b34365c');
SELECT pg_catalog.setval('longshore.job_id', 1, false);
SELECT pg_catalog.setval('longshore.lanes_lane_seq', 1, false);
SELECT pg_catalog.setval('longshore.lease_number', 1, false);
SELECT pg_catalog.setval('longshore.queues_queue_seq', 1, false);
SELECT pg_catalog.setval('longshore.workers_worker_seq', 1, false);
ALTER TABLE ONLY longshore.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (id, lease);
ALTER TABLE ONLY longshore.expiring
    ADD CONSTRAINT expiring_pkey PRIMARY KEY (expires_at, id);
ALTER TABLE ONLY longshore.finished
    ADD CONSTRAINT finished_pkey PRIMARY KEY (id);
ALTER TABLE ONLY longshore.job_data
    ADD CONSTRAINT job_data_pkey PRIMARY KEY (id);
ALTER TABLE ONLY longshore.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (name);
ALTER TABLE ONLY longshore.keys
    ADD CONSTRAINT keys_prefix_key UNIQUE (prefix);
ALTER TABLE ONLY longshore.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (label, id);
ALTER TABLE ONLY longshore.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (lane);
ALTER TABLE ONLY longshore.lanes
    ADD CONSTRAINT lanes_queue_kind_key UNIQUE (queue, kind);
ALTER TABLE ONLY longshore.queues
    ADD CONSTRAINT queues_name_key UNIQUE (name);
ALTER TABLE ONLY longshore.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (queue);
ALTER TABLE ONLY longshore.running
    ADD CONSTRAINT running_pkey PRIMARY KEY (id);
ALTER TABLE ONLY longshore.scheduled
    ADD CONSTRAINT scheduled_pkey PRIMARY KEY (run_at, id);
ALTER TABLE ONLY longshore.schema_history
    ADD CONSTRAINT schema_history_pkey PRIMARY KEY (version);
ALTER TABLE ONLY longshore.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (one);
ALTER TABLE ONLY longshore.uniques
    ADD CONSTRAINT uniques_pkey PRIMARY KEY (kind, key);
ALTER TABLE ONLY longshore.workers
    ADD CONSTRAINT workers_name_key UNIQUE (name);
ALTER TABLE ONLY longshore.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (worker);
CREATE INDEX finished_age ON longshore.finished USING btree (state, finished_at);
CREATE INDEX finished_unhappy ON longshore.finished USING btree (state, id) WHERE (state <> 'succeeded'::longshore.job_state);
CREATE INDEX job_data_concurrency_key ON longshore.job_data USING btree (concurrency_key, id) WHERE (concurrency_key IS NOT NULL);
CREATE INDEX job_data_lane ON longshore.job_data USING btree (lane, id);
CREATE INDEX job_data_unique_key ON longshore.job_data USING btree (unique_key, id) WHERE (unique_key IS NOT NULL);
CREATE INDEX ready_order ON longshore.ready USING btree (lane, priority, run_at, id);
ALTER TABLE ONLY longshore.lanes
    ADD CONSTRAINT lanes_queue_fkey FOREIGN KEY (queue) REFERENCES longshore.queues(queue);
