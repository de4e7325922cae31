-- Why a job is not running: each reason in one row, with what would change it. For people in psql.
--
-- Costs a few index probes, and a count of the jobs before it that stops at 1000. `queues` of a worker holds entries such
-- as emails=10 and *=50 (every other queue); one that pulls bears no numbers, and * among its kinds is any. A worker counts while its lease stands.
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
  q record;
  v_running int;
  v_tokens float8;
  v_limited boolean := false;
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
  select i.* into q from longshore.queues i where i.name = j.queue;
  if q.paused_at is not null then
    return query select 'queue_paused', format('queue "%s" is paused since %s; to go on: select longshore.resume(%L)', j.queue, q.paused_at::timestamptz(0), j.queue), null::timestamptz;
  end if;
  if j.state = 'scheduled' then
    return query select 'not_due', 'its run_at is in the future; an earlier one starts it sooner', j.run_at;
  elsif j.state = 'retryable' then
    return query select 'retry_wait', format('attempt %s of %s failed (%s); it waits before the next; to have it now: select longshore.retry(%s)', j.attempt, j.max_attempts, left(j.error, 200), j.id), j.run_at;
  end if;
  if j.state = 'blocked' then
    return query
    select 'blocked', format('it waits for %s of the jobs that it comes after%s', count(*), coalesce(
             ': ' || string_agg(format('"%s" (job %s, %s)', e.task, e.id, e.state), ', ' order by e.nth) filter (where e.named and e.nth <= 5)
             || case when count(*) > count(*) filter (where e.named and e.nth <= 5) then ' and others' else '' end, ', in other queues')), null::timestamptz
      from (select i.task, i.id, i.state, n.named, row_number() over (partition by n.named order by i.id) nth
              from longshore.edges w
             cross join lateral (select * from longshore.jobs o where o.id = w.parent offset 0) i
             cross join lateral (select only_queues is null or i.queue = any(only_queues) as named) n
             where w.child = j.id) e;
  end if;
  if j.state = 'available' and q.limited then
    if q.max_running is not null then
      select count(*) into v_running from longshore.running r where r.limited_queue = q.queue;
      if v_running >= q.max_running then
        v_limited := true;
        return query select 'queue_full', format('%s jobs of queue "%s" run, and its max_running is %s; it starts when one of them ends, or when that is raised',
          v_running, j.queue, q.max_running), null::timestamptz;
      end if;
    end if;
    if q.max_running_per_key is not null and j.concurrency_key is not null then
      select count(*) into v_running from longshore.running r where r.limited_queue = q.queue and r.key = j.concurrency_key;
      if v_running >= q.max_running_per_key then
        v_limited := true;
        return query select 'key_full', format('%s jobs with concurrency key "%s" run, and the max_running_per_key of queue "%s" is %s; it starts when one of them ends, or when that is raised',
          v_running, j.concurrency_key, j.queue, q.max_running_per_key), null::timestamptz;
      end if;
    end if;
    if q.rate_limit is not null then
      select least(q.rate_limit, b.tokens + extract(epoch from now() - b.tokens_at) * q.rate_limit / extract(epoch from q.rate_per)) into v_tokens
        from longshore.buckets b where b.queue = q.queue;
      if v_tokens < 1 then
        v_limited := true;
        return query select 'rate', format('queue "%s" starts %s jobs in %s s, and has started as many', j.queue, q.rate_limit, extract(epoch from q.rate_per)::float8),
          now() + (1 - v_tokens) * q.rate_per / q.rate_limit;
      end if;
    end if;
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
  elsif j.kind <> all(v_kinds) and '*' <> all(v_kinds) then
    return query select 'no_handler', format('no live worker has a handler for kind "%s"; they have: %s; start one that has it', j.kind, array_to_string(v_kinds, ', ')), null::timestamptz;
  elsif j.state = 'available' then
    -- those that a worker would take first: of its queue, of kinds that somebody knows
    select least(1000, count(*)) into v_ahead from (
      (select from longshore.lanes l
        join longshore.ready r on r.lane = l.lane and (r.priority, r.run_at, r.id) < (j.priority, j.run_at, j.id)
       where l.queue = q.queue and (l.kind = any(v_kinds) or '*' = any(v_kinds)) limit 1000)
      union all
      -- of a key, those of the same key: others are held back for themselves
      (select from longshore.lanes l
        join longshore.held h on h.lane = l.lane and h.key = j.concurrency_key and (h.priority, h.run_at, h.id) < (j.priority, j.run_at, j.id)
       where l.queue = q.queue and (l.kind = any(v_kinds) or '*' = any(v_kinds)) limit 1000)) ahead;
    if v_limited and v_ahead = 0 then return; end if;
    return query select 'behind', case
        when v_ahead = 0 then 'it is the next of its queue, and starts when a worker has a free slot'
        when v_ahead = 1 then '1 job of its queue comes first; more workers or more slots (LONGSHORE_WORKER__QUEUES) start it sooner'
        else format('%s%s jobs of its queue come first; more workers or more slots (LONGSHORE_WORKER__QUEUES) start it sooner',
          case when v_ahead = 1000 then 'at least ' else '' end, v_ahead) end, null::timestamptz;
  end if;
end $f$;
comment on function longshore.explain is 'why a job is not running, a reason a row, with what would change it';
