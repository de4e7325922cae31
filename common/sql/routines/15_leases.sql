-- Leases of single jobs, and who pulls them over HTTP. They are given by the claim (p_lease_s), ended by the report, and
-- given back by rescue_leases.

-- Makes user's own workers known, or known again: one array element a worker, queues and kinds with commas between; * is any.
-- No row comes back for a name that one of Longshore's own workers bears.
-- Locks: rows of workers by name.
create or replace function longshore.meet_pullers(p_names text[], p_hosts text[], p_versions text[], p_queues text[], p_kinds text[], p_lease_s float8)
returns table (name text, worker int) language sql as $$
  insert into longshore.workers as w (name, host, version, queues, kinds, lease, pulls, last_poll)
  select u.name, u.host, u.version, string_to_array(u.queues, ','), string_to_array(u.kinds, ','), make_interval(secs => p_lease_s), true, now()
    from unnest(p_names, p_hosts, p_versions, p_queues, p_kinds) u(name, host, version, queues, kinds)
   order by u.name
  on conflict (name) do update
     set since = case when w.stopped_at is null then w.since else now() end, stopped_at = null, last_seen = now(), last_poll = now(),
         host = excluded.host, version = excluded.version, queues = excluded.queues, kinds = excluded.kinds, lease = excluded.lease
   where w.pulls
  returning w.name, w.worker
$$;
comment on function longshore.meet_pullers is 'show workers that lease jobs over HTTP';

-- Extends leases, and keeps what their holders tell (see longshore.note): one array element a lease. A lease is never made
-- shorter; one that hangs on a worker's heartbeats stands as long as those come.
-- Guard and locks: rows of running by id, against the report and the rescue that would delete them; then those of note; then
-- those of workers that pull, by number, where they were not heard of for some seconds; none of those is waited for.
create or replace function longshore.extend_leases(p_ids bigint[], p_leases bigint[], p_s float8,
  p_progresses json[] default '{}', p_checkpoints json[] default '{}', p_logs text[] default '{}')
returns table (id bigint, lease bigint, stands boolean, cancel_requested boolean) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_workers int[];
begin
  with held as materialized (
    select h.id, h.lease, h.worker
      from (select distinct v.id, v.lease from unnest(p_ids, p_leases) v(id, lease) order by v.id, v.lease) u
     cross join lateral (select * from longshore.running i where i.id = u.id and i.lease = u.lease and i.lease_until is not null for no key update offset 0) h
  ), extended as (
    update longshore.running r set lease_until = greatest(r.lease_until, now() + make_interval(secs => p_s))
      from held where r.id = held.id and r.lease = held.lease
    returning r.worker
  )
  select array_agg(distinct e.worker) into v_workers from extended e;
  with here as materialized (
    select w.worker from longshore.workers w
     where w.worker = any(v_workers) and w.pulls and w.last_seen < now() - interval '3 s' order by w.worker for no key update skip locked
  )
  update longshore.workers w set last_seen = now(), stopped_at = null from here where w.worker = here.worker;
  return query select * from longshore.note(p_ids, p_leases, p_progresses, p_checkpoints, p_logs);
end $$;
comment on function longshore.extend_leases is 'heartbeat of leases of single jobs';

-- A worker's handler has given the job away to somebody who will report under its lease: from now on the lease lasts until the
-- attempt's timeout, an hour where it has none, and hangs on the worker no more. Repeated, it changes nothing.
-- Guard: the row of running, found by (id, lease); who finds none has lost it, or it was reported already.
create or replace function longshore.give_away(p_id bigint, p_lease bigint) returns boolean language sql as $$
  with given as (
    update longshore.running r
       set lease_until = coalesce(r.lease_until, greatest(now() + interval '5 s',
             coalesce(r.started_at + make_interval(secs => (select j.timeout_ms from longshore.job_data j where j.id = r.id) / 1000.0), now() + interval '1 h')))
     where r.id = p_id and r.lease = p_lease
    returning 1
  )
  select exists (select from given)
$$;
comment on function longshore.give_away is 'let a lease outlive its worker: somebody else reports under it';
