-- What people and programs do to a job that is there: cancel, retry, change, delete. Sets of jobs, in the order of their
-- ids, each by the same compare-and-set; the calls of one job are sets of one.
--
-- Every function answers with the state that it met the job in (null: there is no such job). What a call does in which
-- state stands in job/state.rs, `JobState::on`; a test compares the two in every state. A job that moves from place to place
-- while it is looked for is met in one of the next rounds: each round waits for whoever moves it.
-- Locks: workflows by number; jobs that run by id; unique keys by (kind, key); jobs that are blocked by id; those that are finished by id;
-- all others by id. A report takes what runs, keys and what is blocked in the same order.

drop function if exists longshore.cancel_jobs(bigint[]), longshore.retry_jobs(bigint[]), longshore.retry_jobs(bigint[], timestamptz[]),
  longshore.delete_jobs(bigint[]),
  longshore.change_job(bigint, smallint, timestamptz, json, smallint, json, json), longshore.cancel(bigint), longshore.retry(bigint);

-- Jobs that waited have ended: they wait for nobody any more, and others not for them.
create or replace function longshore.end_waits(p_ids bigint[], p_gone boolean default false) returns void language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
  if cardinality(p_ids) > 0 and exists (select from longshore.edges) then
    delete from longshore.edges e where e.child = any(p_ids);
    perform longshore.release(p_ids, p_gone);
  end if;
end $$;
comment on function longshore.end_waits is 'jobs that waited have ended: close their edges';

-- Locks, of some jobs, those that run, those that are blocked and those that are finished, each by id, as reports do; returns which.
-- p_behind: also what is blocked behind them, since whoever ends a job takes that, too.
create or replace function longshore.lock_jobs(p_ids bigint[], p_behind boolean) returns bigint[] language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
  v_locked bigint[];
begin
  v_locked := array(select x.id from longshore.running x where x.id = any(p_ids) order by x.id for no key update);
  if exists (select from longshore.edges) then
    v_locked := v_locked || array(
      select b.id from longshore.blocked b
       where b.id = any(array(
         with recursive d(id) as (
           select * from unnest(p_ids) union select e.child from d join longshore.edges e on e.parent = d.id where p_behind
         ) select d.id from d))
       order by b.id for no key update);
  end if;
  return v_locked || array(select f.id from longshore.finished f where f.id = any(p_ids) order by f.id for no key update);
end $$;
comment on function longshore.lock_jobs is 'lock jobs that do not wait for their time, in the order in which reports do';

-- Where a job stands that does not wait; null: it has just moved, or is not there.
create or replace function longshore.met_at_rest(p_id bigint) returns longshore.job_state language sql stable as $$
  select coalesce((select 'running'::longshore.job_state from longshore.running x where x.id = p_id),
                  (select f.state from longshore.finished f where f.id = p_id))
$$;
comment on function longshore.met_at_rest is 'the state of a job that runs or is finished';

-- After so many rounds somebody is playing: the caller tries again.
create or replace function longshore.give_up(p_id bigint) returns void language plpgsql as $$
begin
  raise exception 'longshore: job % moves faster than it can be met; try again', p_id using errcode = 'serialization_failure';
end $$;
comment on function longshore.give_up is 'refuse to chase a job any longer';

-- again: it runs, and was asked for already; nothing has changed.
create function longshore.cancel_jobs(p_ids bigint[]) returns table (id bigint, met longshore.job_state, again boolean) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
  v_place record;
  v_round int;
  v_ended bigint[] := '{}';
begin
  perform longshore.lock_jobs(p_ids, true);
  for id in select distinct i from unnest(p_ids) i order by i loop
    v_round := 0;
    again := false;
    loop
      v_place := longshore.unplace(id);
      met := v_place.met;
      if met is not null then
        with f as (
          -- with the error of its last attempt, as every finished job has
          insert into longshore.finished (id, lane, state, attempt, error)
          select j.id, j.lane, 'cancelled', v_place.attempt,
                 case when v_place.attempt > 0 then
                   (select a.error from longshore.attempts a where a.id = j.id and a.error is not null order by a.lease desc limit 1) end
            from longshore.job_data j where j.id = cancel_jobs.id
          returning lane
        )
        insert into longshore.tally (lane, state, n) select f.lane, 'cancelled', 1 from f;
        perform longshore.tell('job.cancelled', id, (select f.lane from longshore.finished f where f.id = cancel_jobs.id), v_place.attempt);
        v_ended := v_ended || id;
        exit;
      end if;
      update longshore.running x set cancel_requested_at = now() where x.id = cancel_jobs.id and x.cancel_requested_at is null;
      again := not found;
      if found or exists (select from longshore.running x where x.id = cancel_jobs.id) then
        met := 'running';
        exit;
      end if;
      again := false;
      met := (select f.state from longshore.finished f where f.id = cancel_jobs.id);
      exit when met is not null or not exists (select from longshore.job_data j where j.id = cancel_jobs.id);
      v_round := v_round + 1;
      if v_round = 50 then perform longshore.give_up(id); end if;
    end loop;
    return next;
  end loop;
  perform longshore.end_waits(v_ended);
end $$;
comment on function longshore.cancel_jobs is 'cancel jobs that wait, ask for the cancellation of those that run';

-- Who holds the unique key of a finished job, so that it cannot be retried: another one that is not finished; where both are
-- unique only while they wait, one that waits. (uniques.ids holds all with this key that are not finished, however many ended
-- ones have it.) Null: nobody.
create or replace function longshore.key_holder(p_id bigint, p_kind text, p_key text, p_while text) returns bigint language sql stable as $$
  select max(o.id)
    from longshore.uniques k cross join unnest(k.ids) c(id) join longshore.job_data o on o.id = c.id
   where k.kind = p_kind and k.key = p_key and o.id <> p_id
     and not exists (select from longshore.finished i where i.id = o.id)
     and (o.unique_while is distinct from 'waiting' or p_while is distinct from 'waiting'
          or not exists (select from longshore.running x where x.id = o.id))
$$;
comment on function longshore.key_holder is 'the job that holds the unique key of a finished one';

-- p_run_ats: when each is due; empty: now. standing: the job that holds its unique key, which is why it was left as it is.
create function longshore.retry_jobs(p_ids bigint[], p_run_ats timestamptz[] default '{}')
returns table (id bigint, met longshore.job_state, standing bigint) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
  j record;
  f record;
  v_attempt smallint;
  v_run_at timestamptz;
  v_round int;
  v_waits int;
  v_again bigint[] := '{}';
  v_workflows bigint[];
  v_pins bigint[]; -- of workflows: they, what they come after, and what is blocked behind them
begin
  v_workflows := array(select distinct d.workflow_id from longshore.job_data d where d.id = any(p_ids) and d.workflow_id is not null);
  if cardinality(v_workflows) > 0 then
    -- nobody else retries or adds jobs meanwhile
    perform from longshore.workflows w where w.workflow = any(v_workflows) order by w.workflow for update;
    v_pins := array(
      select * from unnest(p_ids)
       union
      select p.id from longshore.job_data d cross join unnest(d.after) p(id)
       where d.id = any(p_ids) and not exists (select from longshore.finished i where i.id = p.id)
       union
      select b.id from longshore.job_data c join longshore.blocked b on b.id = c.id cross join unnest(c.after) p(id)
       where c.workflow_id = any(v_workflows) and (p.id in (select * from unnest(p_ids))) is true); -- hashed, as below
    perform from longshore.running x where x.id = any(v_pins) order by x.id for no key update;
  end if;

  -- as an enqueue does: all keys first, in one order over all transactions
  insert into longshore.uniques as k (kind, key, ids)
  select distinct l.kind, d.unique_key, '{}'::bigint[]
    from unnest(p_ids) i(id) join longshore.job_data d on d.id = i.id join longshore.lanes l on l.lane = d.lane
   where d.unique_key is not null order by l.kind, d.unique_key
  on conflict (kind, key) do update set ids = k.ids where false;

  -- who would end one of these waits for this transaction, and then meets the edges that it makes
  if cardinality(v_workflows) > 0 then perform longshore.pin_all(v_pins); end if;

  for id, v_run_at in select i, min(at) from unnest(p_ids, p_run_ats) u(i, at) group by i order by i loop
    v_round := 0;
    loop
      met := null; standing := null; v_attempt := null;
      select d.run_at, d.unique_key, d.unique_while, d.expires_at, l.kind into j
        from longshore.job_data d join longshore.lanes l on l.lane = d.lane where d.id = retry_jobs.id;
      exit when not found;
      select * into f from longshore.finished i where i.id = retry_jobs.id for update;
      if found then
        met := f.state;
        if j.unique_key is not null then
          standing := longshore.key_holder(id, j.kind, j.unique_key, j.unique_while);
          exit when standing is not null;
          update longshore.uniques k set ids = k.ids || retry_jobs.id where k.kind = j.kind and k.key = j.unique_key and retry_jobs.id <> all(k.ids);
        end if;
        delete from longshore.finished i where i.id = retry_jobs.id;
        insert into longshore.tally (lane, state, n) values (f.lane, f.state, -1);
        if f.lease is not null then
          insert into longshore.attempts (id, lease, started_at, finished_at, worker, outcome, attempt, error)
          values (f.id, f.lease, f.started_at, f.finished_at, f.worker, f.outcome, f.attempt, f.error);
        end if;
        v_attempt := f.attempt;
      else
        delete from longshore.scheduled s where s.run_at = j.run_at and s.id = retry_jobs.id and s.attempt > 0 returning s.attempt into v_attempt;
        met := case when found then 'retryable'::longshore.job_state
                    when exists (select from longshore.scheduled s where s.run_at = j.run_at and s.id = retry_jobs.id) then 'scheduled'
                    when exists (select from longshore.job_data d join longshore.ready r on r.lane = d.lane and r.priority = d.priority
                                    and r.run_at = d.run_at and r.id = d.id where d.id = retry_jobs.id) then 'available'
                    when exists (select from longshore.blocked b where b.id = retry_jobs.id) then 'blocked'
                    when exists (select from longshore.job_data d join longshore.held h on h.lane = d.lane and h.key = coalesce(d.concurrency_key, '')
                                    and h.priority = d.priority and h.run_at = d.run_at and h.id = d.id where d.id = retry_jobs.id) then 'available'
                    else longshore.met_at_rest(id) end;
      end if;
      if v_attempt is not null then
        -- whoever retries by hand wants it to run: it does not expire any more
        delete from longshore.expiring e where e.expires_at = j.expires_at and e.id = retry_jobs.id;
        update longshore.job_data d
           set run_at = coalesce(v_run_at, now()), expires_at = null, max_attempts = greatest(d.max_attempts, v_attempt + 1),
               losses_after = (select max(a.lease) from longshore.attempts a where a.id = retry_jobs.id)
         where d.id = retry_jobs.id;
        -- parents were retried before, since their ids are lower
        select count(*) into v_waits from longshore.job_data d cross join unnest(d.after) p(id)
         where d.id = retry_jobs.id and exists (select from longshore.job_data i where i.id = p.id) and not exists (select from longshore.finished i where i.id = p.id);
        if v_waits > 0 then
          insert into longshore.edges (parent, child)
          select p.id, d.id from longshore.job_data d cross join unnest(d.after) p(id)
           where d.id = retry_jobs.id and exists (select from longshore.job_data i where i.id = p.id) and not exists (select from longshore.finished i where i.id = p.id);
          insert into longshore.blocked (id, lane, waits, attempt) select d.id, d.lane, v_waits, v_attempt from longshore.job_data d where d.id = retry_jobs.id;
        else
          perform longshore.place(array[id], array[v_attempt]);
        end if;
        v_again := v_again || id;
        perform longshore.tell('job.retried', id, (select d.lane from longshore.job_data d where d.id = retry_jobs.id), v_attempt);
      end if;
      -- a finished one that was met at rest has finished just now: once more
      exit when v_attempt is not null or met in ('scheduled', 'available', 'running', 'blocked');
      v_round := v_round + 1;
      if v_round = 50 then perform longshore.give_up(id); end if;
    end loop;
    return next;
  end loop;
  -- of their workflows, what waits for others still waits for them again
  if exists (select from longshore.job_data d where d.id = any(v_again) and d.workflow_id is not null) then
    update longshore.workflows w set over_at = null
     where w.over_at is not null and w.workflow in (select d.workflow_id from longshore.job_data d where d.id = any(v_again));
    with new as (
      insert into longshore.edges (parent, child)
      select p.id, b.id
        from (select distinct d.workflow_id from longshore.job_data d where d.id = any(v_again) and d.workflow_id is not null) f
        join longshore.job_data c on c.workflow_id = f.workflow_id join longshore.blocked b on b.id = c.id cross join unnest(c.after) p(id)
       where (p.id in (select * from unnest(v_again))) is true -- hashed: as a join it may become a loop in a loop
      on conflict do nothing
      returning child
    )
    update longshore.blocked b set waits = b.waits + n.n from (select child, count(*)::int n from new group by child) n where b.id = n.child;
  end if;
end $$;
comment on function longshore.retry_jobs is 'let finished and retryable jobs run again, with one more attempt';

create function longshore.delete_jobs(p_ids bigint[]) returns table (id bigint, met longshore.job_state) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
  v_lane int;
  v_round int;
  v_key text;
  v_kind text;
  v_kinds text[] := '{}';
  v_keys text[] := '{}';
begin
  perform longshore.lock_jobs(p_ids, true);
  for id in select distinct i from unnest(p_ids) i order by i loop
    v_round := 0;
    loop
      met := (longshore.unplace(id)).met;
      exit when met is not null;
      delete from longshore.finished f where f.id = delete_jobs.id returning f.state, f.lane into met, v_lane;
      if found then
        insert into longshore.tally (lane, state, n) values (v_lane, met, -1);
        exit;
      end if;
      met := (select 'running' from longshore.running x where x.id = delete_jobs.id);
      exit when met is not null or not exists (select from longshore.job_data j where j.id = delete_jobs.id);
      v_round := v_round + 1;
      if v_round = 50 then perform longshore.give_up(id); end if;
    end loop;
    if met <> 'running' then
      if met not in ('succeeded', 'failed', 'cancelled') then
        perform longshore.end_waits(array[id], true);
      end if;
      perform longshore.tell('job.deleted', id, (select d.lane from longshore.job_data d where d.id = delete_jobs.id));
      select d.unique_key, l.kind into v_key, v_kind from longshore.job_data d join longshore.lanes l using (lane) where d.id = delete_jobs.id;
      if v_key is not null then
        v_keys := v_keys || v_key;
        v_kinds := v_kinds || v_kind;
      end if;
      with j as (
        delete from longshore.job_data d where d.id = delete_jobs.id returning d.id, d.tags, d.meta, d.expires_at
      ), l as (
        delete from longshore.labels where (label, id) in (select x.label, j.id from j cross join lateral longshore.labels_of(j.tags, j.meta) x(label))
      ), e as (
        -- where the duty that expires holds the row, it waits for this job, and removes the row itself
        delete from longshore.expiring where ctid = any(array(
          select i.ctid from longshore.expiring i join j on j.expires_at = i.expires_at and j.id = i.id for update of i skip locked))
      ), n as (
        delete from longshore.notes k where k.id = delete_jobs.id
      ), o as (
        delete from longshore.logs k where k.id = delete_jobs.id
      )
      delete from longshore.attempts a where a.id = delete_jobs.id;
    end if;
    return next;
  end loop;
  if cardinality(v_keys) > 0 then
    perform longshore.forget_keys(v_kinds, v_keys);
  end if;
end $$;
comment on function longshore.delete_jobs is 'forget jobs that do not run';

-- A null leaves a field as it is; '[]' and '{}' empty tags and meta. attempt: what it has had; where that is not below
-- p_max_attempts, nothing was changed.
create function longshore.change_job(p_id bigint, p_priority smallint, p_run_at timestamptz, p_args json, p_max_attempts smallint, p_tags json, p_meta json)
returns table (met longshore.job_state, attempt smallint) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
  v_place record;
  v_round int := 0;
begin
  loop
    v_place := longshore.unplace(p_id);
    met := v_place.met; attempt := v_place.attempt;
    exit when met is not null;
    met := longshore.met_at_rest(p_id);
    exit when met is not null or not exists (select from longshore.job_data j where j.id = p_id);
    v_round := v_round + 1;
    if v_round = 50 then perform longshore.give_up(p_id); end if;
  end loop;
  if attempt is not null then
    if p_max_attempts <= attempt then
      perform longshore.place_as_it_was(p_id, attempt, met, v_place.fingerprint, v_place.failed_at);
    else
      if p_tags is not null or p_meta is not null then
        delete from longshore.labels l using longshore.job_data j, longshore.labels_of(j.tags, j.meta) x(label)
         where j.id = p_id and l.label = x.label and l.id = p_id;
      end if;
      update longshore.job_data j
         set priority = coalesce(p_priority, j.priority), args = coalesce(p_args, j.args),
             run_at = case when p_run_at is null then j.run_at else greatest(p_run_at, now()) end, -- greatest(null, now()) is now()
             max_attempts = coalesce(p_max_attempts, j.max_attempts), meta = coalesce(p_meta, j.meta),
             tags = case when p_tags is not null then array(select json_array_elements_text(p_tags)) else j.tags end
       where j.id = p_id;
      if p_tags is not null or p_meta is not null then
        insert into longshore.labels (label, id)
        select x.label, p_id from longshore.job_data j, longshore.labels_of(j.tags, j.meta) x(label) where j.id = p_id;
      end if;
      if p_run_at is null or met = 'blocked' then
        perform longshore.place_as_it_was(p_id, attempt, met, v_place.fingerprint, v_place.failed_at);
      else
        perform longshore.place(array[p_id], array[attempt], array[v_place.fingerprint], array[v_place.failed_at]);
      end if;
      perform longshore.tell('job.changed', p_id, (select j.lane from longshore.job_data j where j.id = p_id), attempt);
    end if;
  end if;
  return next;
end $$;
comment on function longshore.change_job is 'change fields of a job that waits';

-- Back to the place it was taken from. Not by its run_at: a due one that was not yet promoted is still scheduled, and its
-- promotion is what wakes a worker.
drop function if exists longshore.place_as_it_was(bigint, smallint, longshore.job_state);
create or replace function longshore.place_as_it_was(p_id bigint, p_attempt smallint, p_met longshore.job_state, p_fingerprint bigint, p_failed_at timestamptz)
returns void language sql as $$
  -- what is available is due
  select longshore.place(array[p_id], array[p_attempt]) where p_met = 'available';
  insert into longshore.blocked (id, lane, waits, attempt)
  select j.id, j.lane, (select count(*) from longshore.edges e where e.child = p_id), p_attempt from longshore.job_data j where j.id = p_id and p_met = 'blocked';
  insert into longshore.scheduled (run_at, id, lane, priority, attempt, fingerprint, failed_at, key)
  select j.run_at, j.id, j.lane, j.priority, p_attempt, p_fingerprint, p_failed_at, j.concurrency_key
    from longshore.job_data j where j.id = p_id and p_met not in ('available', 'blocked')
$$;
comment on function longshore.place_as_it_was is 'put a job back into the place it was taken from';

-- ------------------------------------------------------------------------------------------------ for people in psql

create function longshore.cancel(id bigint) returns text language plpgsql as $$
declare
  v_met longshore.job_state;
begin
  select c.met into v_met from longshore.cancel_jobs(array[cancel.id]) c;
  if v_met is null then
    raise exception 'longshore.cancel: there is no job %', cancel.id using errcode = 'no_data_found';
  elsif v_met = 'running' then
    return 'it runs: its worker is told within a second, and stops it';
  elsif v_met in ('succeeded', 'failed', 'cancelled') then
    raise exception 'longshore.cancel: job % is % already', cancel.id, v_met using errcode = 'object_not_in_prerequisite_state';
  end if;
  return 'cancelled';
end $$;
comment on function longshore.cancel is 'cancel a job: at once where it waits; where it runs, its worker stops it';

create function longshore.retry(id bigint) returns text language plpgsql as $$
declare
  r record;
begin
  select * into r from longshore.retry_jobs(array[retry.id]);
  if r.met is null then
    raise exception 'longshore.retry: there is no job %', retry.id using errcode = 'no_data_found';
  elsif r.standing is not null then
    raise exception 'longshore.retry: the unique key of job % is held by job %', retry.id, r.standing using errcode = 'unique_violation';
  elsif r.met in ('available', 'scheduled', 'running', 'blocked') then
    raise exception 'longshore.retry: job % is %; only finished and retryable jobs are retried', retry.id, r.met using errcode = 'object_not_in_prerequisite_state';
  end if;
  return (select j.state from longshore.jobs j where j.id = retry.id) || ', with one more attempt';
end $$;
comment on function longshore.retry is 'make a finished or retryable job available, with one more attempt';

-- Pausing what is paused, and resuming what runs, changes nothing.
create or replace function longshore.pause(queue text) returns text language plpgsql as $$
begin
  update longshore.queues q set paused_at = now() where q.name = pause.queue and q.paused_at is null and longshore.is_there(q.queue, q.deleted_at);
  if found then
    perform longshore.tell('queue.paused', p_queue => pause.queue);
  elsif not exists (select from longshore.queues q where q.name = pause.queue and longshore.is_there(q.queue, q.deleted_at)) then
    raise exception 'longshore.pause: there is no queue "%"', pause.queue using errcode = 'no_data_found', hint = 'a queue is there when it was first used';
  end if;
  return 'paused: it takes jobs and starts none';
end $$;
comment on function longshore.pause is 'let a queue take jobs and start none';

create or replace function longshore.resume(queue text) returns text language plpgsql as $$
begin
  update longshore.queues q set paused_at = null where q.name = resume.queue and q.paused_at is not null;
  if found then
    perform pg_notify('longshore_wake', resume.queue);
    perform longshore.tell('queue.resumed', p_queue => resume.queue);
  elsif not exists (select from longshore.queues q where q.name = resume.queue and longshore.is_there(q.queue, q.deleted_at)) then
    raise exception 'longshore.resume: there is no queue "%"', resume.queue using errcode = 'no_data_found';
  end if;
  return 'it starts jobs';
end $$;
comment on function longshore.resume is 'let a paused queue start jobs again';
