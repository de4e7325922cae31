-- The one way out of running: every outcome of every holder, rescues included, one array element a job.
--
-- Guard: the row of running is found by (id, lease) and locked; who finds none has lost the lease and changes nothing.
-- A report that is repeated under the same lease with the same outcome is recognised and accepted again.
-- Locks: rows of running, ordered by id. Indexes: primary keys only.
-- The table of outcomes and new states is job/state.rs; a test compares the two.
-- watched: somebody waits for outcomes, so whoever reports says which jobs have ended (after the commit, on
-- longshore_ended).
-- released: rows of their own, without a lease, for the queues that got work since jobs of workflows have ended.
drop function if exists longshore.report(bigint[], bigint[], text[], json[], text[], float8[]);
create function longshore.report(p_ids bigint[], p_leases bigint[], p_outcomes text[],
  p_results json[] default '{}', p_errors text[] default '{}', p_delays float8[] default '{}')
returns table (id bigint, lease bigint, state longshore.job_state, accepted boolean, watched boolean, released text) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
declare
  v_settled int;
begin
  return query
  with held as materialized (
    select u.id, u.lease, u.outcome::longshore.outcome outcome, u.result, u.error, u.delay, h.worker, h.started_at, h.lane, h.attempt, h.cancel_requested_at, h.limited_queue, h.key
      from (select distinct on (v.id, v.lease) *
              from unnest(p_ids, p_leases, p_outcomes, p_results, p_errors, p_delays) v(id, lease, outcome, result, error, delay)
             order by v.id, v.lease) u
     cross join lateral (select * from longshore.running i where i.id = u.id and i.lease = u.lease for update offset 0) h
  ), gone as (
    delete from longshore.running where id = any(array(select held.id from held))
  ), room as (
    -- where their queue limits each key, the next claim looks at these keys first
    insert into longshore.key_changes (queue, key, priority, run_at, id)
    select held.limited_queue, held.key, -32768, '-infinity', min(held.id)
      from held join longshore.queues q on q.queue = held.limited_queue
     where held.key is not null and q.keyed group by held.limited_queue, held.key
  ), settled as materialized (
    -- job_data is looked at only where the attempt did not succeed
    select held.*, j.max_attempts,
           case
             when held.outcome = 'succeeded' then 'succeeded'
             -- it was to be cancelled: a success still counts, anything else ends it
             when held.cancel_requested_at is not null or held.outcome in ('cancelled', 'expired') then 'cancelled'
             when held.outcome = 'discarded' then 'failed'
             when held.outcome in ('snoozed', 'handed_back') then 'waits'
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
    -- finished_at by the clock: a handler that completes in a transaction of its own may have opened it before it worked. Of what has
    -- failed it is that of the transaction, by which longshore.follow_failed knows its own
    insert into longshore.finished (id, lease, started_at, finished_at, lane, worker, state, outcome, attempt, cancel_requested_at, result, error, fingerprint)
    select s.id, s.lease, s.started_at, case when s.fate = 'failed' then now() else clock_timestamp() end, s.lane, s.worker, s.fate::longshore.job_state,
           s.outcome, s.attempt, s.cancel_requested_at, s.result, s.says, case when s.fate = 'failed' then longshore.fingerprint(s.says) end
      from (select *, case when i.outcome = 'expired' then 'expired'
                           when i.outcome = 'lost' and i.fate = 'failed' and i.attempt < i.max_attempts then 'its worker died 3 times'
                           else i.error end says
              from settled i where i.fate <> 'waits') s
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
    returning j.id, j.run_at, j.lane, j.priority, j.concurrency_key as key, (s.attempt - case s.outcome when 'snoozed' then 1 else 0 end)::smallint attempt,
              case when s.outcome <> 'snoozed' then s.error end error, s.outcome <> 'snoozed' failed
  ), back as (
    select j.id, j.run_at, j.lane, j.priority, j.concurrency_key as key, (s.attempt - 1)::smallint attempt
      from settled s cross join lateral (select * from longshore.job_data i where i.id = s.id offset 0) j
     where s.fate = 'waits' and s.outcome = 'handed_back'
  ), later as (
    insert into longshore.scheduled (run_at, id, lane, priority, attempt, fingerprint, failed_at, key)
    select run_at, id, lane, priority, attempt, case when failed then longshore.fingerprint(error) end, case when failed then now() end, key
      from due where run_at > now()
  ), at_once as materialized (
    select w.*, longshore.held_under(w.lane, w.key) held_under
      from (select id, run_at, lane, priority, key, attempt from due where run_at <= now()
            union all
            select id, run_at, lane, priority, key, attempt from back) w
  ), now_ready as (
    insert into longshore.ready (id, run_at, lane, priority, attempt, key)
    select id, run_at, lane, priority, attempt, key from at_once where held_under is null
  ), now_held as (
    insert into longshore.held (id, run_at, lane, priority, attempt, key)
    select id, run_at, lane, priority, attempt, held_under from at_once where held_under is not null
  ), changed as (
    insert into longshore.key_changes (queue, key, priority, run_at, id)
    select l.queue, a.held_under, a.priority, a.run_at, a.id from at_once a join longshore.lanes l using (lane) where a.held_under is not null
  ), told as (
    insert into longshore.event_inbox (event, id, lane, attempt, error)
    select case when s.fate <> 'waits' then 'job.' || s.fate when s.outcome in ('snoozed', 'handed_back') then 'job.' || s.outcome else 'job.retryable' end,
           s.id, s.lane, s.attempt, left(s.error, 500)
      from settled s where exists (select from longshore.watch w where w.one and w.events_until > now())
  )
  select s.id, s.lease,
         case when s.fate <> 'waits' then s.fate
              when s.wait <= 0 then 'available'
              when s.outcome = 'snoozed' and s.attempt = 1 then 'scheduled'
              else 'retryable'
         end::longshore.job_state, true,
         exists (select from longshore.watch w where w.one and w.outcomes_until > now()), null::text
    from settled s;

  get diagnostics v_settled = row_count;
  if p_outcomes && array['failed', 'timed_out', 'lost', 'discarded'] and exists (select from longshore.queues q where q.on_failed is not null) then
    perform longshore.follow_failed(p_ids, p_leases);
  end if;
  if exists (select from longshore.edges) then
    return query select 0::bigint, 0::bigint, null::longshore.job_state, false, false, r from unnest(longshore.release(p_ids)) r;
  end if;
  if v_settled < cardinality(p_ids) then
    -- a fresh snapshot: which of the rest were reported before, by this lease, with this outcome?
    return query
    select u.id, u.lease, null::longshore.job_state, false, false, null::text
      from unnest(p_ids, p_leases, p_outcomes) u(id, lease, outcome)
     where not exists (select from longshore.finished f where f.id = u.id and f.lease = u.lease and f.outcome = u.outcome::longshore.outcome)
       and not exists (select from longshore.attempts a where a.id = u.id and a.lease = u.lease and a.outcome = u.outcome::longshore.outcome);
  end if;
end $$;
comment on function longshore.report is 'record outcomes: the one way out of running';
