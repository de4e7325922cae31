-- The one way in. HTTP (one job or a batch), the function longshore.enqueue and everything else that makes jobs come
-- here, with one array a field; '{}' where no job uses the field. All or nothing, one statement for plain jobs.
--
-- verdict: enqueued | duplicate (on_conflict return) | replaced | conflict (reject) | full (its queue's max_waiting). None
-- of them raises, so that one bad row never fails its neighbours; the caller decides.
-- Silent, so that the queue's defaults count: a null priority, max_attempts or retry, a timeout of 0 (null is none). The
-- effective values come back beside the id.
-- p_when_full: what becomes of jobs above max_waiting: 'verdict' tells it, 'take' takes them; 'raise' is for programs of
-- schema 1.1, which do not know the verdict.
-- p_workflow: jobs of a workflow come with their ids, ascending, and with the ids of those they come after; where there are any, they
-- are blocked until those have ended.
-- ord: the index (from 1) of a job that was not enqueued; null for those that were: the sequence numbers them in the
-- order of the arrays, so sorted by id they fill the other indexes.
-- Locks: rows of uniques, ordered by (kind, key); then the jobs that are replaced, by id.
drop function if exists longshore.enqueue_batch(int[], json[], smallint[], smallint[], int[], timestamptz[], float8[], float8[], text[], json[], json[], json[],
  text[], text[], text[], text[], text[], float8[], text[]);
drop function if exists longshore.enqueue_batch(int[], json[], smallint[], smallint[], int[], timestamptz[], float8[], float8[], text[], json[], json[], json[],
  text[], text[], text[], text[], text[], float8[], text[], text);
create or replace function longshore.enqueue_batch(
  p_lanes int[], p_args json[], p_priorities smallint[], p_max_attempts smallint[], p_timeouts_ms int[],
  p_run_ats timestamptz[] default '{}', p_delays float8[] default '{}', p_expires_in float8[] default '{}',
  p_concurrency_keys text[] default '{}', p_retries json[] default '{}', p_tags json[] default '{}', p_metas json[] default '{}',
  p_enqueued_by text[] default '{}', p_request_ids text[] default '{}', p_traceparents text[] default '{}',
  p_unique_keys text[] default '{}', p_unique_whiles text[] default '{}', p_unique_fors float8[] default '{}', p_on_conflicts text[] default '{}',
  p_when_full text default 'raise', p_workflow bigint default null, p_ids bigint[] default '{}', p_tasks text[] default '{}', p_afters text[] default '{}', p_if_faileds text[] default '{}'
) returns table (ord int, id bigint, verdict text, run_at timestamptz, created_at timestamptz, expires_at timestamptz, priority smallint, max_attempts smallint, timeout_ms int)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
declare
  v_ids bigint[] := p_ids;      -- ids of this batch, needed beforehand where keys are to be taken
  v_standing bigint[] := '{}';  -- the standing job that each one met, if any
  v_whiles text[] := '{}';
  v_full boolean[] := '{}';     -- which ones are above their queue's limit, if any is
  v_special boolean;
  v_keyed boolean;
  v_per_key int[] := '{}';      -- lanes of queues that limit each key
  v_fair int[] := '{}';         -- lanes of fair queues
  r record;
begin
  -- nearly always empty indexes
  select exists (select from longshore.queues q where q.special), exists (select from longshore.queues q where q.keyed) into v_special, v_keyed;
  if v_keyed then
    select array(select l.lane from longshore.queues q join longshore.lanes l using (queue) where q.keyed and not q.fair and l.lane = any(p_lanes)),
           array(select l.lane from longshore.queues q join longshore.lanes l using (queue) where q.keyed and q.fair and l.lane = any(p_lanes))
      into v_per_key, v_fair;
  end if;
  if v_special then
    select d.priorities, d.max_attempts, d.timeouts_ms, d.retries into p_priorities, p_max_attempts, p_timeouts_ms, p_retries
      from longshore.with_defaults(p_lanes, p_priorities, p_max_attempts, p_timeouts_ms, p_retries) d;
  end if;
  if v_special and p_when_full <> 'take' then
    select t.ids, t.standing, t.whiles, t.above into v_ids, v_standing, v_whiles, v_full
      from longshore.take_room(p_lanes, p_unique_keys, p_unique_whiles, p_unique_fors, p_ids) t;
    if p_when_full = 'raise' and cardinality(v_full) > 0 then
      raise exception 'longshore: a queue is full: as many jobs wait there as its max_waiting allows' using errcode = 'LS429';
    end if;
  elsif cardinality(p_unique_keys) > 0 then
    select t.ids, t.standing, t.whiles into v_ids, v_standing, v_whiles
      from longshore.take_keys(p_lanes, p_unique_keys, p_unique_whiles, p_unique_fors, p_ids) t;
  end if;

  return query
  with j as (
    insert into longshore.job_data (id, run_at, expires_at, lane, timeout_ms, priority, max_attempts, unique_key, unique_while,
                                    concurrency_key, retry, tags, meta, enqueued_by, request_id, traceparent, args, workflow_id, task, after, if_failed)
    select coalesce(u.id, nextval('longshore.job_id')),
           case when u.delay is not null then now() + make_interval(secs => u.delay) else greatest(u.run_at, now()) end,
           now() + make_interval(secs => u.expires_in), u.lane, case when u.timeout_ms is distinct from 0 then u.timeout_ms else 300000 end,
           coalesce(u.priority, 0::smallint), coalesce(u.max_attempts, 25::smallint), u.unique_key, u.unique_while,
           u.concurrency_key, u.retry, case when u.tags is not null then array(select json_array_elements_text(u.tags)) end, u.meta,
           u.enqueued_by, u.request_id, u.traceparent, u.args, p_workflow, u.task, u.after::bigint[], u.if_failed
      from unnest(p_lanes, p_args, p_priorities, p_max_attempts, p_timeouts_ms, p_run_ats, p_delays, p_expires_in, p_concurrency_keys, p_retries, p_tags, p_metas,
                  p_enqueued_by, p_request_ids, p_traceparents, p_unique_keys, v_whiles, v_ids, v_standing, v_full, p_tasks, p_afters, p_if_faileds)
        u(lane, args, priority, max_attempts, timeout_ms, run_at, delay, expires_in, concurrency_key, retry, tags, meta,
          enqueued_by, request_id, traceparent, unique_key, unique_while, id, standing, above, task, after, if_failed)
     where u.standing is null and u.above is not true
    returning job_data.id, job_data.run_at, job_data.created_at, job_data.expires_at, job_data.lane, job_data.priority, job_data.tags, job_data.meta,
              job_data.max_attempts, job_data.timeout_ms, job_data.concurrency_key as key, job_data.after
  ), r as (
    insert into longshore.ready (id, run_at, lane, priority, key) select j.id, j.run_at, j.lane, j.priority, j.key from j
     where j.run_at <= now() and j.after is null and not (v_keyed and (j.lane = any(v_fair) or j.key is not null and j.lane = any(v_per_key)))
  ), s as (
    insert into longshore.scheduled (run_at, id, lane, priority, key) select j.run_at, j.id, j.lane, j.priority, j.key from j where j.run_at > now() and j.after is null
  ), h as (
    insert into longshore.held (id, run_at, lane, priority, key)
    select j.id, j.run_at, j.lane, j.priority, coalesce(j.key, '') from j
     where v_keyed and j.run_at <= now() and j.after is null and (j.lane = any(v_fair) or j.key is not null and j.lane = any(v_per_key))
    returning held.lane, held.key, held.priority, held.run_at, held.id
  ), c as (
    -- of each key the best one: a note is a look at the key
    insert into longshore.key_changes (queue, key, priority, run_at, id)
    select distinct on (i.queue, h.key) i.queue, h.key, h.priority, h.run_at, h.id
      from h cross join lateral (select l.queue from longshore.lanes l where l.lane = h.lane offset 0) i
     where v_keyed order by i.queue, h.key, h.priority, h.run_at, h.id
  ), b as (
    insert into longshore.blocked (id, lane, waits) select j.id, j.lane, cardinality(j.after) from j where p_workflow is not null and j.after is not null
  ), w as (
    insert into longshore.edges (parent, child) select p.id, j.id from j cross join unnest(j.after) p(id) where p_workflow is not null and j.after is not null
  ), e as (
    insert into longshore.expiring (expires_at, id) select j.expires_at, j.id from j where j.expires_at is not null
  ), l as (
    insert into longshore.labels (label, id)
    select x.label, j.id from j cross join lateral longshore.labels_of(j.tags, j.meta) x(label)
     where j.tags is not null or j.meta is not null
  ), told as (
    insert into longshore.event_inbox (event, id, lane, attempt)
    select 'job.enqueued', j.id, j.lane, 0 from j where exists (select from longshore.watch w where w.one and w.events_until > now()) order by j.id
  )
  select null::int, j.id, 'enqueued', j.run_at, j.created_at, j.expires_at, j.priority, j.max_attempts, j.timeout_ms from j;

  if cardinality(v_full) > 0 then
    return query select u.ord::int, 0::bigint, 'full', null::timestamptz, null::timestamptz, null::timestamptz, null::smallint, null::smallint, null::int
      from unnest(v_full) with ordinality u(above, ord) where u.above;
  end if;

  if cardinality(v_standing) > 0 then
    for r in
      select u.ord::int ord, u.standing, coalesce(u.on_conflict, 'return') on_conflict, u.run_at,
             u.delay, u.args, u.priority, u.tags, u.meta
        from unnest(v_standing, p_on_conflicts, p_run_ats, p_delays, p_args, p_priorities, p_tags, p_metas)
             with ordinality u(standing, on_conflict, run_at, delay, args, priority, tags, meta, ord)
       where u.standing is not null and v_full[u.ord::int] is not true order by u.standing, u.ord
    loop
      return query select r.ord, r.standing,
        case r.on_conflict
          when 'reject' then 'conflict'
          when 'replace' then case when longshore.replace_waiting(r.standing,
              case when r.delay is not null then now() + make_interval(secs => r.delay) else greatest(r.run_at, now()) end,
              r.args, r.priority, r.tags, r.meta) then 'replaced' else 'duplicate' end
          else 'duplicate' end,
        null::timestamptz, null::timestamptz, null::timestamptz, null::smallint, null::smallint, null::int;
    end loop;
  end if;
end $$;
comment on function longshore.enqueue_batch is 'the one way in: arrays, one element a job. For your own SQL use longshore.enqueue';

-- Who takes which key? Gives each job of the batch its id and, where another job holds its key, that job's id.
-- The new job's own rule decides (contract, section 5): while a standing job waits | also runs (active) | is kept at
-- all (kept), or for a time after the standing job's creation; with both, either suffices.
drop function if exists longshore.take_keys(int[], text[], text[], float8[]);
create or replace function longshore.take_keys(p_lanes int[], p_keys text[], p_whiles text[], p_fors float8[], p_ids bigint[] default '{}')
returns table (ids bigint[], standing bigint[], whiles text[]) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
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
  -- A snapshot that stays may be older than the end of such a row (forget_keys), and would show both: then this is a serialization failure.
  if current_setting('transaction_isolation') <> 'read committed' then
    perform from unnest(p_lanes, p_keys) n(lane, key) join longshore.lanes l on l.lane = n.lane
      join longshore.uniques k on k.kind = l.kind and k.key = n.key for update of k;
  end if;

  -- 2. One after the other, each under a fresh snapshot, so that the second of two equal keys in a batch meets the first.
  ids := '{}'; standing := '{}'; whiles := '{}';
  for u in
    select n.ord, n.key, l.kind, n.secs, coalesce(n.rule, case when n.secs is null then 'active' end) rule
      from unnest(p_lanes, p_keys, p_whiles, p_fors) with ordinality n(lane, key, rule, secs, ord)
     cross join lateral (select kind from longshore.lanes i where i.lane = n.lane offset 0) l
     order by n.ord
  loop
    v_id := coalesce(p_ids[u.ord], nextval('longshore.job_id'));
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
      -- By these rules finished jobs count too, of which the key's row knows but the newest, and that one may be deleted by
      -- now. Rows are compared so that job_data_unique_key gives the order.
      if u.rule = 'kept' or u.secs is not null then
        v_holder := greatest(v_holder, (
          select n.id
            from (select j.id, j.created_at from longshore.job_data j
                   where j.unique_key is not null and (j.unique_key, j.id) > (u.key, 0) and (j.unique_key, j.id) <= (u.key, 9007199254740991)
                     and exists (select from longshore.lanes l where l.lane = j.lane and l.kind = u.kind)
                   order by j.unique_key desc, j.id desc limit 1) n
           where u.rule = 'kept' or n.created_at > now() - make_interval(secs => u.secs)));
      end if;
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
comment on function longshore.take_keys is 'decide which of the new jobs meet a standing job with their unique key';

-- Forgets the rows of keys whose jobs are all forgotten. Whoever needs one that is going waits for its lock, and makes it anew; none
-- that somebody holds is waited for. To be called last: who waits for such a row must not be waited for.
create or replace function longshore.forget_keys(p_kinds text[], p_keys text[]) returns void language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
declare
  v_kinds text[];
  v_keys text[];
begin
  -- the second look needs a snapshot that is newer than the locks: so it meets every job that was enqueued before them
  if current_setting('transaction_isolation') <> 'read committed' then return; end if;
  with locked as materialized (
    select u.kind, u.key from unnest(p_kinds, p_keys) n(kind, key) join longshore.uniques u on u.kind = n.kind and u.key = n.key
     order by u.kind, u.key for update of u skip locked
  )
  select array_agg(kind), array_agg(key) into v_kinds, v_keys from locked;
  delete from longshore.uniques u using unnest(v_kinds, v_keys) n(kind, key)
   where u.kind = n.kind and u.key = n.key and not exists (select from unnest(u.ids) c(id) join longshore.job_data j on j.id = c.id);
end $$;
comment on function longshore.forget_keys is 'forget unique keys whose jobs are all forgotten';

-- on_conflict replace: overwrite a job that waits. False: it does not wait (any more), nothing was changed. One that moves from place to
-- place is looked for again.
create or replace function longshore.replace_waiting(p_id bigint, p_run_at timestamptz, p_args json, p_priority smallint, p_tags json, p_meta json)
returns boolean language plpgsql as $$
declare
  v_place record;
  v_round int := 0;
begin
  loop
    v_place := longshore.unplace(p_id);
    exit when v_place.met is not null;
    if longshore.met_at_rest(p_id) is not null or not exists (select from longshore.job_data j where j.id = p_id) then return false; end if;
    v_round := v_round + 1;
    if v_round = 50 then perform longshore.give_up(p_id); end if;
  end loop;
  delete from longshore.labels l using longshore.job_data j, longshore.labels_of(j.tags, j.meta) x(label)
   where j.id = p_id and l.label = x.label and l.id = p_id;
  update longshore.job_data j
     set run_at = p_run_at, args = p_args, priority = coalesce(p_priority, 0::smallint), meta = p_meta,
         tags = case when p_tags is not null then array(select json_array_elements_text(p_tags)) end
   where j.id = p_id;
  insert into longshore.labels (label, id)
  select x.label, p_id from longshore.job_data j, longshore.labels_of(j.tags, j.meta) x(label) where j.id = p_id;
  if v_place.met = 'blocked' then
    perform longshore.place_as_it_was(p_id, v_place.attempt, v_place.met, null, null);
  else
    perform longshore.place(array[p_id], array[v_place.attempt]);
  end if;
  perform longshore.tell('job.changed', p_id, (select j.lane from longshore.job_data j where j.id = p_id), v_place.attempt);
  return true;
end $$;
comment on function longshore.replace_waiting is 'overwrite a job that waits';
