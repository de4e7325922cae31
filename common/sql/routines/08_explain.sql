-- Why a job is not running: each reason in one row, with what would change it. For people in psql.
--
-- Costs a few index probes, and a count of the jobs before it that stops at 1000. `queues` of a worker holds entries such
-- as emails=10 and *=50 (every other queue); a worker counts while its lease stands.
-- only_queues: whoever asks may see these alone, and no other is named; null: all.
drop function if exists longshore.explain(bigint);
create or replace function longshore.explain(job bigint, only_queues text[] default null)
returns table (reason text, detail text, until timestamptz)
language plpgsql stable
as $f$
#variable_conflict use_column
declare
  j record;
  v_serving text[]; -- what live workers serve
  v_named text[];   -- that part of it which may be named
  v_kinds text[];   -- what those know that serve this job's queue
  v_ahead int;
  v_paused timestamptz;
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
  select q.paused_at into v_paused from longshore.queues q where q.name = j.queue;
  if v_paused is not null then
    return query select 'queue_paused', format('queue "%s" is paused since %s; to go on: select longshore.resume(%L)', j.queue, v_paused::timestamptz(0), j.queue), null::timestamptz;
  end if;
  if j.state = 'scheduled' then
    return query select 'not_due', 'its run_at is in the future; an earlier one starts it sooner', j.run_at;
  elsif j.state = 'retryable' then
    return query select 'retry_wait', format('attempt %s of %s failed (%s); it waits before the next; to have it now: select longshore.retry(%s)', j.attempt, j.max_attempts, left(j.error, 200), j.id), j.run_at;
  end if;
  select array_agg(distinct s order by s), array_agg(distinct s order by s) filter (where only_queues is null or split_part(s, '=', 1) = any(only_queues))
    into v_serving, v_named
    from longshore.workers w, unnest(w.queues) s where w.stopped_at is null and w.last_seen > now() - w.lease;
  select array_agg(distinct k order by k) into v_kinds
    from longshore.workers w, unnest(w.kinds) k
   where w.stopped_at is null and w.last_seen > now() - w.lease
     and exists (select from unnest(w.queues) s where split_part(s, '=', 1) in (j.queue, '*'));
  if v_serving is null then
    return query select 'no_worker', 'there is no live worker: start one', null::timestamptz;
  elsif v_kinds is null then
    return query select 'no_worker', format('no live worker serves queue "%s"; live workers serve%s; name it in LONGSHORE_WORKER__QUEUES of one',
      j.queue, coalesce(': ' || array_to_string(v_named, ', '), ' others')), null::timestamptz;
  elsif j.kind <> all(v_kinds) then
    return query select 'no_handler', format('no live worker has a handler for kind "%s"; they have: %s; start one that has it', j.kind, array_to_string(v_kinds, ', ')), null::timestamptz;
  elsif j.state = 'available' then
    -- those that a worker would take first: of its queue, of kinds that somebody knows
    select count(*) into v_ahead from (
      select from longshore.lanes l join longshore.lanes own on own.lane = j.lane and own.queue = l.queue
        join longshore.ready r on r.lane = l.lane and (r.priority, r.run_at, r.id) < (j.priority, j.run_at, j.id)
       where l.kind = any(v_kinds) limit 1000) ahead;
    return query select 'behind', case
        when v_ahead = 0 then 'it is the next of its queue, and starts when a worker has a free slot'
        when v_ahead = 1 then '1 job of its queue comes first; more workers or more slots (LONGSHORE_WORKER__QUEUES) start it sooner'
        else format('%s%s jobs of its queue come first; more workers or more slots (LONGSHORE_WORKER__QUEUES) start it sooner',
          case when v_ahead = 1000 then 'at least ' else '' end, v_ahead) end, null::timestamptz;
  end if;
end $f$;
comment on function longshore.explain is 'why a job is not running, a reason a row, with what would change it';
