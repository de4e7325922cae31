-- Limits of queues: max_running, max_running_per_key, rate; and the turns of keys in a fair queue.
--
-- All is decided by the claim, under the lock of the queue's row: what runs is counted from `running`, so nothing can leak.
-- Whoever enqueues, reports or cancels takes no lock for it. The jobs of a keyed queue wait in `held`; a claim moves those it
-- may take into `ready` and takes them in the same transaction. It finds them by `key_heads`, which lists keys that have jobs
-- and room, so that a key that is full is never read. What changes a key leaves a note in `key_changes`.

-- queue: null where there is nothing to limit (or it is paused). n: how many may start. chosen: of those with a key, these; null: any.
-- again_s: in how many seconds there may be room for more; 0: when a job ends. tokens: those of the bucket at
-- reckoned_at.
-- Locks: the row of the queue, until the claim is committed. Each statement after that sees what others have committed.
create or replace function longshore.room_for(p_n int, p_lanes int[], out queue int, out n int, out chosen bigint[], out fair boolean, out again_s float8,
  out tokens float8, out reckoned_at timestamptz) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
declare
  q record;
  b record;
  v_s float8; -- in which a token comes
begin
  select i.* into q from longshore.queues i
   where i.queue = (select l.queue from longshore.lanes l where l.lane = p_lanes[1]) and i.limited and i.paused_at is null for no key update;
  if not found then return; end if;
  queue := q.queue; n := p_n; fair := q.fair; again_s := 0;
  if q.settle_limits_at <= now() then
    perform longshore.settle_limits(q.queue);
  end if;
  if q.max_running is not null then
    n := least(n, q.max_running - (select count(*) from longshore.running r where r.limited_queue = q.queue));
  end if;
  if q.rate_limit is not null then
    select * into b from longshore.buckets i where i.queue = q.queue;
    v_s := extract(epoch from q.rate_per) / q.rate_limit;
    -- one reading of the clock for both, or the time that this claim takes would be lost; never behind the last one
    reckoned_at := greatest(clock_timestamp(), b.tokens_at);
    tokens := least(q.rate_limit, coalesce(b.tokens + extract(epoch from reckoned_at - b.tokens_at) / v_s, q.rate_limit));
    if floor(tokens) < n then
      n := floor(tokens);
      again_s := (1 - (tokens - n)) * v_s;
    end if;
  end if;
  if q.keyed and n > 0 then
    chosen := longshore.let_in(q.queue, q.max_running_per_key, q.fair, n, p_lanes);
    if chosen is null then n := 0; end if;
  end if;
end $$;
comment on function longshore.room_for is 'lock a limited queue, and say how many and which of its jobs may start';

-- For a minute after the limits of a queue were changed: jobs that started before, or in claims that were under way, are marked,
-- so that they are counted. Each claim does it for five seconds, longer than any claim is under way, and then each second one.
-- Locks: rows of running that nobody else has; those are on their way out, or met by the next claim.
create or replace function longshore.settle_limits(p_queue int) returns void language plpgsql
set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
  v_lanes constant int[] := array(select l.lane from longshore.lanes l where l.queue = p_queue);
begin
  update longshore.running set limited_queue = p_queue
   where ctid = any(array(select r.ctid from longshore.running r
                           where r.limited_queue is null and r.lane = any(v_lanes) for no key update skip locked));
  update longshore.queues q
     set settle_limits_at = case when q.limits_changed_at > now() - interval '1 minute'
                                   or exists (select from longshore.running r where r.limited_queue is null and r.lane = any(v_lanes))
                                 then now() + interval '1 s' end
   where q.queue = p_queue and q.limits_changed_at < now() - interval '5 s';
end $$;
comment on function longshore.settle_limits is 'count what runs in a queue whose limits are new';

-- Moves at most p_n jobs, whose keys have room and whose kinds the claim serves, from held to ready; returns their ids. Null: it
-- was busy with putting jobs into held, and the next claim goes on.
--
-- A claim of a keyed queue looks at about as many keys as it takes jobs, and at as many notes as it needs to find them: all jobs of a key
-- may have left one each, so it goes on until it has found enough, or read a hundred thousand. In a fair queue each key in turn gives one, and goes
-- to the end of the line; where all keys are at hand, each gives its part at once.
create or replace function longshore.let_in(p_queue int, p_per_key int, p_fair boolean, p_n int, p_lanes int[]) returns bigint[] language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
declare
  v_all constant int[] := array(select l.lane from longshore.lanes l where l.queue = p_queue order by l.lane);
  v_served constant int[] := array(select distinct u.lane from unnest(p_lanes) u(lane) order by u.lane);
  v_ids bigint[] := '{}';
  v_keys text[] := '{}';    -- of the same jobs
  v_left int;
  v_lanes int[];
  v_window text[];
  v_turns bigint[];
  v_each int;
  v_some bigint[];
  v_some_keys text[];
  v_gone int;
  v_notes int := 2 * p_n + 200; -- to read at once
  v_read int := 0;     -- of these
  v_all_read int := 0;
begin
  if longshore.hold_late(v_all, p_queue, p_fair) >= 1000 then return null; end if;

  loop
    -- 1. Notes become heads. Best first: a head is never better than its note.
    with taken as (
      delete from longshore.key_changes where ctid = any(array(
        select c.ctid from longshore.key_changes c where c.queue = p_queue order by c.queue, c.priority, c.run_at, c.id limit v_notes for update skip locked))
      returning key
    ), heads as (
      insert into longshore.key_heads as k (lane, key, turn, priority, run_at, id)
      select l.lane, t.key, case when p_fair then nextval('longshore.key_turn') else 0 end, h.priority, h.run_at, h.id
        from (select distinct key from taken) t cross join unnest(v_all) l(lane)
       cross join lateral (select i.priority, i.run_at, i.id from longshore.held i where i.lane = l.lane and i.key = t.key
                            order by i.lane, i.key, i.priority, i.run_at, i.id limit 1) h
      on conflict (lane, key) do update set priority = excluded.priority, run_at = excluded.run_at, id = excluded.id
    )
    select count(*) into v_read from taken;
    v_all_read := v_all_read + v_read;

    loop
      v_left := p_n - cardinality(v_ids);
      exit when v_left <= 0;
      -- 2. The best heads of the kinds that are served.
      select array_agg(x.lane), array_agg(x.key), array_agg(x.turn) into v_lanes, v_window, v_turns
        from (select k.* from unnest(v_served) u(lane) cross join lateral (
                select i.* from longshore.key_heads i where i.lane = u.lane order by i.lane, i.turn, i.priority, i.run_at, i.id limit v_left) k
               order by k.turn, k.priority, k.run_at, k.id limit v_left) x;
      exit when v_window is null;
      v_each := case when p_fair and cardinality(v_window) = v_left then 1
                     when p_fair then ceil(v_left::float8 / (select count(distinct w) from unnest(v_window) w))
                     else v_left end;

      -- 3. Their best jobs, as many as their keys have room for.
      -- (grouped and not joined: of hundreds of keys each would be compared with each)
      with k as materialized (
        select d.key, d.lanes, d.turns, least(v_each, case when p_per_key is null or d.key = '' then v_left else
                 p_per_key - d.taken - (select count(*) from longshore.running r where r.limited_queue = p_queue and r.key = d.key) end) room
          from (select x.key, count(*) filter (where x.lane is null) taken,
                       array_agg(x.lane) filter (where x.lane is not null) lanes, array_agg(x.turn) filter (where x.lane is not null) turns
                  from (select w.lane, w.key, w.turn from unnest(v_lanes, v_window, v_turns) w(lane, key, turn)
                        union all
                        select null, u.key, null from unnest(v_keys) u(key)) x
                 group by x.key) d
         where d.lanes is not null
      ), best as (
        select h.*, w.turn, k.room, row_number() over (partition by k.key order by h.priority, h.run_at, h.id) nth
          from k cross join unnest(k.lanes, k.turns) w(lane, turn) cross join lateral (
            select i.ctid c, i.priority, i.run_at, i.id from longshore.held i where i.lane = w.lane and i.key = k.key
             order by i.lane, i.key, i.priority, i.run_at, i.id limit greatest(0, k.room)) h
      ), picked as (
        select b.c from best b where b.nth <= b.room order by case when p_fair then b.nth end, b.turn, b.priority, b.run_at, b.id limit v_left
      ), moved as (
        delete from longshore.held where ctid = any(array(
          select h.ctid from longshore.held h where h.ctid = any(array(select p.c from picked p)) for update skip locked))
        returning *
      ), r as (
        insert into longshore.ready (id, run_at, lane, priority, attempt, key) select m.id, m.run_at, m.lane, m.priority, m.attempt, m.key from moved m
      )
      select coalesce(array_agg(m.id), '{}'), coalesce(array_agg(m.key), '{}') into v_some, v_some_keys from moved m;
      v_ids := v_ids || v_some; v_keys := v_keys || v_some_keys;

      -- 4. What their heads are now: the next job, at the end of the line; none where the key is full or nothing of it waits.
      with k as materialized (
        select d.key, p_per_key is null or d.key = ''
                   or p_per_key > d.taken + (select count(*) from longshore.running r where r.limited_queue = p_queue and r.key = d.key) room
          from (select x.key, sum(x.taken) taken
                  from (select u.key, 0 taken from unnest(v_window) u(key) union all select u.key, 1 from unnest(v_keys) u(key)) x group by x.key) d
      ), n as materialized (
        select l.lane, k.key, h.priority, h.run_at, h.id
          from k cross join unnest(v_all) l(lane)
          left join lateral (select i.priority, i.run_at, i.id from longshore.held i where k.room and i.lane = l.lane and i.key = k.key
                              order by i.lane, i.key, i.priority, i.run_at, i.id limit 1) h on true
      ), gone as (
        delete from longshore.key_heads k using n where n.id is null and k.lane = n.lane and k.key = n.key returning 1
      ), turned as (
        update longshore.key_heads k
           set priority = n.priority, run_at = n.run_at, id = n.id,
               turn = case when p_fair and k.key = any(v_some_keys) then nextval('longshore.key_turn') else k.turn end
          from n where n.id is not null and k.lane = n.lane and k.key = n.key
      )
      select count(*) into v_gone from gone;
      exit when v_gone = 0 and cardinality(v_some) = 0; -- somebody is changing those jobs
    end loop;
    exit when cardinality(v_ids) >= p_n or v_read < v_notes or v_all_read >= 100000;
    v_notes := 10000;
  end loop;
  return v_ids;
end $$;
comment on function longshore.let_in is 'move jobs whose keys have room from held to ready';

-- Jobs that stand in ready though their queue is keyed: enqueued by a transaction that began before its limits were set. At most
-- 1,000 a call; returns how many.
create or replace function longshore.hold_late(p_lanes int[], p_queue int, p_fair boolean) returns int language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
declare
  v_late tid[];
  v_held int;
begin
  if p_fair then
    v_late := array(select r.ctid from unnest(p_lanes) l(lane) cross join lateral (
      select i.ctid from longshore.ready i where i.lane = l.lane order by i.lane, i.priority, i.run_at, i.id limit 1000 for update skip locked) r limit 1000);
  else
    v_late := array(select r.ctid from unnest(p_lanes) l(lane) cross join lateral (
      select i.ctid from longshore.ready i where i.lane = l.lane and i.key is not null limit 1000 for update skip locked) r limit 1000);
  end if;
  if cardinality(v_late) = 0 then return 0; end if;
  with late as (
    delete from longshore.ready where ctid = any(v_late) returning id, run_at, lane, priority, attempt, coalesce(key, '') as key
  ), h as (
    insert into longshore.held (id, run_at, lane, priority, attempt, key) select l.id, l.run_at, l.lane, l.priority, l.attempt, l.key from late l
  ), c as (
    insert into longshore.key_changes (queue, key, priority, run_at, id)
    select distinct on (l.key) p_queue, l.key, l.priority, l.run_at, l.id from late l order by l.key, l.priority, l.run_at, l.id
  )
  select count(*) into v_held from late;
  return v_held;
end $$;
comment on function longshore.hold_late is 'put jobs of a keyed queue that stand in ready into held';

-- After a claim of a limited queue: takes a token for each start, and puts back what was let in and not taken, since jobs without
-- a key came first.
create or replace function longshore.started(p_queue int, p_n int, p_tokens float8, p_reckoned_at timestamptz, p_chosen bigint[], p_fair boolean)
returns void language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
begin
  if p_tokens is not null then
    insert into longshore.buckets as b (queue, tokens, tokens_at) values (p_queue, p_tokens - p_n, p_reckoned_at)
    on conflict (queue) do update set tokens = excluded.tokens, tokens_at = excluded.tokens_at;
  end if;
  if cardinality(p_chosen) > 0 then
    perform longshore.hold_late(array(select l.lane from longshore.lanes l where l.queue = p_queue), p_queue, p_fair);
  end if;
end $$;
comment on function longshore.started is 'account for the jobs that a claim has taken from a limited queue';

-- Leaves a note for each key that has jobs in held: its limit is new, or jobs of it ended without a note while its queue had no such
-- limit. The keys of each lane are found by a loose index scan. Called under the lock of the queue's row, so no claim is at its heads.
create or replace function longshore.look_at_held(p_queue int) returns void language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
begin
  with recursive k(lane, key) as (
    select l.lane, h.key from longshore.lanes l
     cross join lateral (select i.key from longshore.held i where i.lane = l.lane order by i.lane, i.key limit 1) h
     where l.queue = p_queue
    union all
    select k.lane, n.key from k
     cross join lateral (select i.key from longshore.held i where i.lane = k.lane and i.key > k.key order by i.lane, i.key limit 1) n
  )
  insert into longshore.key_changes (queue, key, priority, run_at, id)
  select p_queue, d.key, -32768, '-infinity', 0 from (select distinct k.key from k) d;
end $$;
comment on function longshore.look_at_held is 'let the next claims look at all keys of a queue that have jobs in held';

-- What is left in held of queues that are keyed no more goes to ready, at most p_n jobs; returns how many, and the queues. A
-- process does this now and then, so that it is done whoever has changed the limits, and whatever was under way then.
create or replace function longshore.release_held(p_n int) returns table (released int, queues text[]) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
declare
  v_lanes int[];
begin
  with recursive lanes_held(lane) as (
    (select h.lane from longshore.held h order by h.lane limit 1)
    union all
    select n.lane from lanes_held s cross join lateral (select h.lane from longshore.held h where h.lane > s.lane order by h.lane limit 1) n
  )
  select array_agg(s.lane) into v_lanes from lanes_held s join longshore.lanes l on l.lane = s.lane join longshore.queues q on q.queue = l.queue where not q.keyed;
  released := 0; queues := '{}';
  if v_lanes is not null then
    with h as (
      delete from longshore.held where ctid = any(array(
        select i.ctid from unnest(v_lanes) l(lane) cross join lateral (
          select j.ctid from longshore.held j where j.lane = l.lane order by j.lane, j.key, j.priority, j.run_at, j.id limit p_n for update skip locked) i limit p_n))
      returning *
    ), r as (
      insert into longshore.ready (id, run_at, lane, priority, attempt, key) select h.id, h.run_at, h.lane, h.priority, h.attempt, nullif(h.key, '') from h
    )
    select count(*), array(select distinct q.name from (select distinct x.lane from h x) d join longshore.lanes l using (lane) join longshore.queues q using (queue))
      into released, queues from h;
  end if;
  return next;
end $$;
comment on function longshore.release_held is 'let go what waits in held of queues that have no limit by key any more';
