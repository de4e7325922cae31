-- Every rule of POST /v1/jobs for the args, meta and the like: size, nesting, NUL, lone surrogates, numbers beyond
-- float8. Returns what is wrong, or null. The dear checks run only where a cheap look says they might find something.
create or replace function longshore.json_fault(p_value json, p_max_bytes int) returns text language plpgsql immutable as $$
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
end $$;
comment on function longshore.json_fault is 'what is wrong with a JSON value by Longshore''s rules; null: nothing';

-- Is this JSON number beyond the range of float8? (Too small is not: it is kept as it was written.)
create or replace function longshore.exceeds_float8(p_number text) returns boolean language plpgsql immutable as $$
declare
  m text[];
begin
  perform p_number::float8;
  return false;
exception when numeric_value_out_of_range then
  -- it is far above 1 or far below: which, the place of its first digit that is not 0 tells, and the exponent
  m := regexp_match(p_number, '^-?0*([0-9]*)(?:\.(0*)[0-9]*)?(?:[eE]([+-]?)0*([0-9]*))?$');
  return coalesce(nullif(length(m[1]), 0), -length(m[2])) + coalesce((m[3] || '0' || left(m[4], 20))::numeric, 0) > 0;
end $$;
comment on function longshore.exceeds_float8 is 'is a JSON number too large for float8?';

-- Enqueue a job in your own transaction: it is there when you commit, and gone when you roll back.
-- The same rules as POST /v1/jobs; bad input raises and names every fault. Workers find the job within their poll
-- interval, or at once after your commit with notify => true.
-- Where the job is silent, its queue's defaults count: a null priority or max_attempts, a timeout of 0 (null is none).
-- A queue that is full (max_waiting) raises with errcode LS429.
-- The job belongs to the trace that the session names: set local longshore.traceparent = '00-…'; what is no traceparent counts for none.
-- security definer: the role longshore_producer may call this and touch no table.
create or replace function longshore.enqueue(
  kind text,
  args json default '{}',
  queue text default 'default',
  priority int default null,
  run_at timestamptz default null,
  delay interval default null,
  expires_in interval default null,
  max_attempts int default null,
  timeout interval default '0',
  tags text[] default null,
  meta json default null,
  concurrency_key text default null,
  retry json default null,
  unique_key text default null,
  unique_while text default null,
  unique_for interval default null,
  on_conflict text default null,
  notify boolean default false
) returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_faults text[] := '{}';
  v_why text;
  v_id bigint;
  v_verdict text;
  v_lane int;
  -- a setting and not a parameter: whoever begins the transaction knows the trace, and a trigger that enqueues need not
  v_traceparent text := substring(current_setting('longshore.traceparent', true)
    from '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$');
begin
  -- a passed null means the default, as an absent field does over HTTP; a null timeout is "none"
  args := coalesce(args, '{}'); queue := coalesce(queue, 'default');

  if kind is null then v_faults := v_faults || 'kind: is missing'::text;
  elsif kind !~ '^[A-Za-z0-9_.:-]{1,128}$' then v_faults := v_faults || 'kind: must be 1 to 128 of A-Z a-z 0-9 _ . : -'::text; end if;
  if queue !~ '^[A-Za-z0-9_.:-]{1,128}$' then v_faults := v_faults || 'queue: must be 1 to 128 of A-Z a-z 0-9 _ . : -'::text; end if;
  v_why := longshore.json_fault(args, 1048576);
  if v_why is not null then v_faults := v_faults || ('args: ' || v_why); end if;
  if priority not between -32768 and 32767 then v_faults := v_faults || 'priority: must be -32768 to 32767'::text; end if;
  if max_attempts not between 1 and 1000 then v_faults := v_faults || 'max_attempts: must be 1 to 1000'::text; end if;
  if timeout <> interval '0' and timeout not between interval '1 s' and interval '7 d' then v_faults := v_faults || 'timeout: must be 1 s to 7 d, null for none, or 0 for the queue''s default'::text; end if;
  if run_at is not null and delay is not null then v_faults := v_faults || 'delay: give run_at or delay, not both'::text; end if;
  if not isfinite(run_at) or run_at > '9999-12-30 22:00+00' then v_faults := v_faults || 'run_at: must be a time until 9999-12-30 22:00 UTC'::text; end if;
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
    p_traceparents => case when v_traceparent is null then '{}' else array[v_traceparent] end,
    p_unique_keys => case when unique_key is null then '{}' else array[unique_key] end, p_unique_whiles => array[unique_while],
    p_unique_fors => array[extract(epoch from unique_for)::float8], p_on_conflicts => array[on_conflict],
    p_when_full => 'verdict') b;
  if v_verdict = 'conflict' then
    raise exception 'longshore.enqueue: unique key "%" of kind "%" is held by job %', unique_key, kind, v_id using errcode = 'unique_violation';
  end if;
  if v_verdict = 'full' then
    raise exception 'longshore.enqueue: queue "%" is full: as many jobs wait there as its max_waiting allows', queue using errcode = 'LS429';
  end if;
  if notify then perform pg_notify('longshore_wake', queue); end if;
  return v_id;
end $$;
comment on function longshore.enqueue is 'enqueue a job in your own transaction; the rules of POST /v1/jobs';

-- What is wrong with a retry policy; null: nothing.
create or replace function longshore.retry_fault(p_retry json) returns text language plpgsql immutable as $$
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
comment on function longshore.retry_fault is 'what is wrong with a retry policy; null: nothing';
