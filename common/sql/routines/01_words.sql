-- Small words that the other routines use.

-- The lane of a kind in a queue; made when first used. The store calls it in a transaction of its own before the
-- batch that needs it, so that two batches never wait for each other's new lanes.
create or replace function longshore.lane_of(p_queue text, p_kind text) returns int language plpgsql as $$
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
comment on function longshore.lane_of is 'the lane of a kind in a queue, made when first used';

-- Whether a queue is there: one that was deleted is while it holds a job, so that an enqueue that came at the same time is
-- never hidden. Index: job_data_lane, whatever the statistics say of a lane that was full a moment ago.
create or replace function longshore.is_there(p_queue int, p_deleted_at timestamptz) returns boolean language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
  return p_deleted_at is null or exists (
    select from longshore.lanes l cross join lateral (select from longshore.job_data d where d.lane = l.lane order by d.lane, d.id limit 1) d
     where l.queue = p_queue);
end $$;
comment on function longshore.is_there is 'whether a queue is there: not deleted, or it holds a job';

-- Seconds to wait after attempt n has failed. The one place that knows the rule:
-- exponential min(max, base * 2^(n-1)), linear min(max, base * n), fixed base; each +- jitter.
create or replace function longshore.backoff(p_retry json, p_attempt int) returns float8 language sql volatile as $$
  select (1 + (random() * 2 - 1) * coalesce((p_retry->>'jitter')::float8, 0.1))
       * case coalesce(p_retry->>'backoff', 'exponential')
           when 'fixed' then base
           when 'linear' then least(max, base * p_attempt)
           else least(max, base * 2.0 ^ least(p_attempt - 1, 60)) end
  from (select coalesce((p_retry->>'base')::float8, 1) base, coalesce((p_retry->>'max')::float8, 86400) max) x
$$;
comment on function longshore.backoff is 'seconds to wait after attempt n has failed';

-- How often in a row, last of all, the job's worker was lost. A hand-back neither counts nor breaks the row; a retry by
-- hand begins a new one.
create or replace function longshore.losses(p_id bigint) returns int language sql stable as $$
  select count(*)::int from longshore.attempts a
   where a.id = p_id and a.outcome = 'lost'
     and a.lease > coalesce((select max(b.lease) from longshore.attempts b
                              where b.id = p_id and b.outcome not in ('lost', 'handed_back')), 0)
     and a.lease > coalesce((select j.losses_after from longshore.job_data j where j.id = p_id), 0)
$$;
comment on function longshore.losses is 'losses in a row, last of all';

-- The key under which an available job waits in held: its concurrency key where its queue limits each key; in a fair queue
-- every job has one, '' where it names none. Null: it waits in ready.
create or replace function longshore.held_under(p_lane int, p_key text) returns text language sql stable as $$
  select case when q.fair then coalesce(p_key, '') else p_key end
    from longshore.lanes l join longshore.queues q using (queue) where l.lane = p_lane and q.keyed
$$;
comment on function longshore.held_under is 'the key under which an available job waits in held; null: it waits in ready';

-- Put jobs that are in no place into one: scheduled, held or ready, by their run_at and their queue's limits. The way in for all that is not the
-- first enqueue (which does the same in its own statement). p_fingerprints and p_failed_ats are for those that still wait
-- because they failed; what is ready has no use for them.
-- By the clock, not by now(): this transaction may have begun before the one that made a job, and have waited for it since.
drop function if exists longshore.place(bigint[], smallint[]);
create or replace function longshore.place(p_ids bigint[], p_attempts smallint[], p_fingerprints bigint[] default '{}', p_failed_ats timestamptz[] default '{}')
returns void language sql as $$
  with u as materialized (
    select j.id, j.run_at, j.lane, j.priority, j.concurrency_key, u.attempt, u.fingerprint, u.failed_at,
           d.due, case when d.due then longshore.held_under(j.lane, j.concurrency_key) end held_under
      from unnest(p_ids, p_attempts, p_fingerprints, p_failed_ats) u(id, attempt, fingerprint, failed_at)
     cross join lateral (select * from longshore.job_data i where i.id = u.id offset 0) j
     cross join lateral (select j.run_at <= (select clock_timestamp()) as due offset 0) d
  ), s as (
    insert into longshore.scheduled (run_at, id, lane, priority, attempt, fingerprint, failed_at, key)
    select run_at, id, lane, priority, attempt, fingerprint, failed_at, concurrency_key from u where not due
  ), h as (
    insert into longshore.held (id, run_at, lane, priority, attempt, key)
    select id, run_at, lane, priority, attempt, held_under from u where held_under is not null
  ), c as (
    insert into longshore.key_changes (queue, key, priority, run_at, id)
    select l.queue, held_under, priority, run_at, id from u join longshore.lanes l using (lane) where held_under is not null
  )
  insert into longshore.ready (id, run_at, lane, priority, attempt, key)
  select id, run_at, lane, priority, attempt, concurrency_key from u where due and held_under is null
$$;
comment on function longshore.place is 'put jobs into scheduled, held or ready';

-- Take a waiting job out of its place, by its exact key: the compare-and-set of every change to a waiting job. met is the
-- state it was found in, attempt what it has had, fingerprint and failed_at of what failed; met is null where it does not wait.
drop function if exists longshore.unplace(bigint);
create function longshore.unplace(p_id bigint, out attempt smallint, out met longshore.job_state, out fingerprint bigint, out failed_at timestamptz)
language plpgsql as $$
#variable_conflict use_column
declare
  j record;
  v_attempt smallint;
  s record;
begin
  select lane, priority, run_at, coalesce(concurrency_key, '') as key into j from longshore.job_data where id = p_id;
  if not found then return; end if;
  delete from longshore.ready r
   where r.lane = j.lane and r.priority = j.priority and r.run_at = j.run_at and r.id = p_id
  returning r.attempt into v_attempt;
  if found then
    attempt := v_attempt; met := 'available';
    return;
  end if;
  delete from longshore.scheduled i where i.run_at = j.run_at and i.id = p_id returning i.attempt, i.fingerprint, i.failed_at into s;
  if found then
    attempt := s.attempt; met := case when s.attempt = 0 then 'scheduled' else 'retryable' end;
    fingerprint := s.fingerprint; failed_at := s.failed_at;
    return;
  end if;
  delete from longshore.held h
   where h.lane = j.lane and h.key = j.key and h.priority = j.priority and h.run_at = j.run_at and h.id = p_id
  returning h.attempt into v_attempt;
  if found then
    attempt := v_attempt; met := 'available';
    return;
  end if;
  -- its edges stay: whoever ends it deletes them
  delete from longshore.blocked b where b.id = p_id returning b.attempt into v_attempt;
  if found then
    attempt := v_attempt; met := 'blocked';
  end if;
end $$;
comment on function longshore.unplace is 'take a waiting job out of its place; nulls: it does not wait';

-- What a job can be found by: its tags and the top-level scalars of its meta.
create or replace function longshore.labels_of(p_tags text[], p_meta json) returns setof text language sql immutable as $$
  select 't:' || t from unnest(p_tags) t
  union
  select 'm:' || e.key || '=' || left(e.value #>> '{}', 200) from json_each(coalesce(p_meta, '{}')) e
   where json_typeof(e.value) not in ('object', 'array', 'null') and octet_length(e.key) <= 255 -- an index row has room for 2704 bytes
$$;
comment on function longshore.labels_of is 'the labels of a job: t:tag and m:key=value';

-- What errors of one cause have in common: the first 1000 characters without what differs from one to the next. The texts
-- that are left are cut once more, since a long id would push other words out of the first 1000 than a short one. md5,
-- because hashtext may change with PostgreSQL's version; collate "C", because what a letter is must not depend on the database.
-- Some 0.1 ms: plpgsql, so that it is never inlined into the report of a success.
create or replace function longshore.fingerprint(p_error text) returns bigint language plpgsql immutable parallel safe as $$
declare
  v_text text := left(coalesce(p_error, ''), 1000) collate "C";
begin
  -- IPv4 with its port, which looks like a time; then times, which look like IPv6; numbers last, of which all consist
  v_text := regexp_replace(v_text, '\m\d+\.\d+\.\d+\.\d+(:\d+)?\M', '#', 'g');
  v_text := regexp_replace(v_text, '\m\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?( ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?))?)?', '#', 'gi');
  v_text := regexp_replace(v_text, '\m((mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?(\d\d? (jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* +\d\d?)( \d{4})?\M', '#', 'gi');
  v_text := regexp_replace(v_text, '\m\d\d?:\d\d(:\d\d([.,]\d+)?)?( ?(am|pm|Z|UTC|GMT))?\M', '#', 'gi');
  -- UUIDs; addresses of memory; IPv6, in brackets with its port
  v_text := regexp_replace(v_text, '\m[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\M|\m0x[0-9a-f]+\M', '#', 'gi');
  v_text := regexp_replace(v_text, '\[[0-9a-f:.%]*:[0-9a-f:.%]*\](:\d+)?|\m[0-9a-f]{1,4}(:{1,2}[0-9a-f]{1,4}){2,7}\M', '#', 'gi');
  -- other ids: hexadecimal ones, and long ones of any letters, if they have a digit
  v_text := regexp_replace(v_text, '\m(?=[a-z]*\d)([0-9a-f]{7,}|[0-9a-z]{16,})\M', '#', 'gi');
  -- numbers, and lists of all these however long
  v_text := regexp_replace(v_text, '[+-]?\d+([.,_]\d+)*(e[+-]?\d+\M)?', '#', 'gi');
  v_text := regexp_replace(v_text, '#([,; ]+#)+', '#', 'g');
  return ('x' || left(md5(left(btrim(regexp_replace(v_text, '\s+', ' ', 'g')), 500)), 16))::bit(64)::bigint;
end $$;
comment on function longshore.fingerprint is 'what an error has in common with those of the same cause: a hash of its text without numbers, ids, addresses and times';
