-- What must happen whoever runs. Each is idempotent, bounded, and safe in any number of processes at once.

-- Waiting jobs whose time has come move from scheduled to ready, at most p_n; returns the queues that got work.
-- Index: the primary key of scheduled. $2, the run_at of the last one promoted before, starts the scan behind rows that
-- are dead but not yet vacuumed (an old snapshot may keep them); null looks from the beginning.
create or replace function longshore.promote(p_n int, p_after timestamptz default null)
returns table (promoted int, upto timestamptz, queues text[]) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
  v_keyed constant int[] := array(select l.lane from longshore.queues q join longshore.lanes l using (queue) where q.keyed);
begin
  return query
  with s as (
    delete from longshore.scheduled where ctid = any(array(
      select i.ctid from longshore.scheduled i
       where i.run_at >= coalesce(p_after, '-infinity') and i.run_at <= now()
       order by i.run_at, i.id limit p_n for update skip locked))
    returning *
  ), r as (
    insert into longshore.ready (id, run_at, lane, priority, attempt, key)
    select s.id, s.run_at, s.lane, s.priority, s.attempt, s.key from s where not s.lane = any(v_keyed)
  ), k as materialized (
    select s.*, longshore.held_under(s.lane, s.key) held_under from s where s.lane = any(v_keyed)
  ), kr as (
    insert into longshore.ready (id, run_at, lane, priority, attempt, key)
    select k.id, k.run_at, k.lane, k.priority, k.attempt, k.key from k where k.held_under is null
  ), kh as (
    insert into longshore.held (id, run_at, lane, priority, attempt, key)
    select k.id, k.run_at, k.lane, k.priority, k.attempt, k.held_under from k where k.held_under is not null
  ), kc as (
    insert into longshore.key_changes (queue, key, priority, run_at, id)
    select l.queue, k.held_under, k.priority, k.run_at, k.id from k join longshore.lanes l using (lane) where k.held_under is not null
  )
  select count(*)::int, max(s.run_at), array(select distinct q.name from (select distinct x.lane from s x) d join longshore.lanes l using (lane) join longshore.queues q using (queue)) from s;
end $$;
comment on function longshore.promote is 'move due jobs from scheduled to ready';

-- Jobs of workers that have missed their heartbeats come back, as lost attempts, by the same report as any outcome.
-- Locks: the worker's row (a late heartbeat waits, then finds itself declared dead), then its rows of running by id.
-- A claim that was under way while its worker was declared dead is found by the next round: stopped workers are looked
-- at too, as long as they hold anything.
create or replace function longshore.rescue() returns table (worker text, silent_s float8, jobs bigint) language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
as $$
#variable_conflict use_column
declare
  w record;
  v_ids bigint[];
  v_leases bigint[];
  v_error text;
begin
  for w in
    select x.worker, x.name, x.pulls, x.stopped_at, extract(epoch from now() - x.last_seen)::float8 silent from longshore.workers x
     where x.stopped_at is null and x.last_seen < now() - x.lease
        or x.stopped_at is not null and exists (select from longshore.running r where r.worker = x.worker and r.lease_until is null)
     order by x.worker for update skip locked
  loop
    update longshore.workers x set stopped_at = now() where x.worker = w.worker and x.stopped_at is null;
    worker := w.name; silent_s := w.silent; jobs := 0;
    v_error := format('its worker %s was not heard of for %s s', w.name, round(w.silent::numeric, 1));
    loop
      select array_agg(r.id order by r.id), array_agg(r.lease order by r.id) into v_ids, v_leases
        from (select * from longshore.running y where y.worker = w.worker and y.lease_until is null order by y.id limit 1000 for update skip locked) r;
      exit when v_ids is null; -- but for those that somebody holds: the next round looks again
      -- a report of the worker itself may have been quicker
      jobs := jobs + (select count(*) filter (where p.accepted) from longshore.report(
        v_ids, v_leases, array_fill('lost'::text, array[cardinality(v_ids)]), '{}', array_fill(v_error, array[cardinality(v_ids)])) p);
    end loop;
    -- of one that pulls, leases end by themselves: that it was not heard of is no news
    if not w.pulls and (w.stopped_at is null or jobs > 0) then return next; end if;
  end loop;
end $$;
comment on function longshore.rescue is 'give back the jobs of workers that have missed their heartbeats';

-- Leases of single jobs that ended without being extended, at most p_n: a row for each that was given back. Of who pulls, the
-- attempt is lost; who was handed the job for as long as its timeout has run out of time.
-- Locks: rows of running that nobody else has (an extension that is under way goes first). Index: running_lease_until.
create or replace function longshore.rescue_leases(p_n int) returns table (id bigint, worker text, silent_s float8) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with ended as materialized (
    select r.id, r.lease, r.worker, r.lease_until from longshore.running r
     where r.lease_until < now() order by r.lease_until limit p_n for update skip locked
  ), named as materialized (
    select e.id, e.lease, w.name, w.pulls, extract(epoch from now() - e.lease_until)::float8 silent_s from ended e join longshore.workers w using (worker)
  ), arrays as (
    select array_agg(n.id) ids, array_agg(n.lease) leases, array_agg(case when n.pulls then 'lost' else 'timed_out' end) outcomes,
           array_agg(case when n.pulls then format('its worker %s did not extend its lease, which had ended %s s before', n.name, round(n.silent_s::numeric, 1))
                          else 'whoever was to report it did not, and did not extend its lease, within its timeout' end) errors
      from named n
  )
  select p.id, n.name, n.silent_s
    from arrays a cross join lateral longshore.report(a.ids, a.leases, a.outcomes, '{}', a.errors) p join named n on n.id = p.id
   where a.ids is not null and p.accepted;
end $$;
comment on function longshore.rescue_leases is 'give back jobs whose own lease has ended';

-- Jobs that have not started in time are cancelled, error "expired". One that runs or has run stays as it is; one that moves from place to
-- place is looked for again. Returns how many were looked at, p_n where there may be more.
-- Locks: rows of expiring, without waiting for others; then the jobs by id, as calls of many jobs do.
create or replace function longshore.expire(p_n int) returns int language plpgsql as $$
declare
  e record;
  v_ids bigint[];
  v_attempt smallint;
  v_round int;
  v_taken int;
  v_expired bigint[] := '{}';
begin
  with d as (
    delete from longshore.expiring where ctid = any(array(
      select i.ctid from longshore.expiring i where i.expires_at <= now() order by i.expires_at, i.id limit p_n for update skip locked))
    returning id
  )
  select count(*), array_agg(d.id order by d.id) filter (where not exists (select from longshore.finished f where f.id = d.id)
                                                           and not exists (select from longshore.running x where x.id = d.id))
    into v_taken, v_ids from d;
  perform longshore.lock_jobs(v_ids, true);
  for e in select i as id from unnest(v_ids) i loop
    v_round := 0;
    loop
      v_attempt := null;
      exit when exists (select from longshore.attempts a where a.id = e.id and a.outcome not in ('snoozed', 'handed_back'));
      v_attempt := (longshore.unplace(e.id)).attempt;
      exit when v_attempt is not null or longshore.met_at_rest(e.id) is not null
             or not exists (select from longshore.job_data j where j.id = e.id);
      v_round := v_round + 1;
      if v_round = 50 then perform longshore.give_up(e.id); end if;
    end loop;
    continue when v_attempt is null;
    insert into longshore.finished (id, lane, state, attempt, error)
    select j.id, j.lane, 'cancelled', v_attempt, 'expired' from longshore.job_data j where j.id = e.id;
    insert into longshore.tally (lane, state, n) select j.lane, 'cancelled', 1 from longshore.job_data j where j.id = e.id;
    perform longshore.tell('job.cancelled', e.id, (select j.lane from longshore.job_data j where j.id = e.id), v_attempt, 'expired');
    v_expired := v_expired || e.id;
  end loop;
  perform longshore.end_waits(v_expired);
  return v_taken;
end $$;
comment on function longshore.expire is 'cancel jobs that have not started in time';

-- Finished jobs that are older than their queue keeps them are forgotten, oldest of a lane and state first, at most p_n.
-- What a queue keeps is read now, so that a changed setting counts for what is finished already. Index: finished_lane. By one
-- process at a time, however many there are, so that its share of the server is that of one; 0: another is at it.
create or replace function longshore.prune_finished(p_n int, p_states longshore.job_state[] default '{succeeded,failed,cancelled}') returns int language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
  v_pruned int;
  v_kinds text[];
  v_keys text[];
begin
  if not pg_try_advisory_xact_lock(7814987) then return 0; end if; -- any number, the same in all programs
  with f as (
    delete from longshore.finished where ctid = any(array(
      select i.ctid
        from longshore.lanes l join longshore.queues q using (queue)
       cross join lateral (values ('succeeded'::longshore.job_state, q.keep_succeeded), ('failed', q.keep_failed), ('cancelled', q.keep_cancelled)) k(state, age)
       cross join lateral (
         select o.ctid from longshore.finished o where o.lane = l.lane and o.state = k.state and o.finished_at < now() - k.age
            -- others of its workflow may want its result
            and not exists (select from longshore.job_data j join longshore.workflows w on w.workflow = j.workflow_id and w.over_at is null where j.id = o.id)
          order by o.lane, o.state, o.finished_at limit p_n for update skip locked) i
       where k.state = any(p_states) limit p_n))
    returning id, lane, state
  ), j as (
    delete from longshore.job_data where id = any(array(select id from f)) returning id, lane, unique_key, tags, meta, expires_at
  ), l as (
    delete from longshore.labels where (label, id) in
      (select x.label, j.id from j cross join lateral longshore.labels_of(j.tags, j.meta) x(label) where j.tags is not null or j.meta is not null)
  ), e as (
    delete from longshore.expiring where (expires_at, id) in (select j.expires_at, j.id from j where j.expires_at is not null)
  ), a as (
    delete from longshore.attempts where id = any(array(select id from f))
  ), n as (
    delete from longshore.notes where id = any(array(select id from f)) returning id
  ), o as (
    delete from longshore.logs where id = any(array(select id from n))
  ), t as (
    insert into longshore.tally (lane, state, n) select lane, state, -count(*) from f group by lane, state
  )
  select (select count(*) from f), array_agg(l.kind), array_agg(k.unique_key) into v_pruned, v_kinds, v_keys
    from (select distinct lane, unique_key from j where unique_key is not null) k join longshore.lanes l using (lane);
  if v_keys is not null then
    perform longshore.forget_keys(v_kinds, v_keys);
  end if;
  return v_pruned;
end $$;
comment on function longshore.prune_finished is 'forget finished jobs that are older than their queue keeps them';

-- For programs of schema 1.1, which bring an age of their own: what the queue keeps counts.
create or replace function longshore.prune(p_state longshore.job_state, p_age interval, p_n int) returns int language sql as $$
  select longshore.prune_finished(p_n, array[p_state])
$$;
comment on function longshore.prune is 'forget finished jobs of one state; the age is no longer looked at: each queue has its own';

-- Rows of tally become one a lane and state again; at most 10,000 a call.
create or replace function longshore.fold_tally() returns int language plpgsql as $$
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
comment on function longshore.fold_tally is 'fold the rows of tally';
