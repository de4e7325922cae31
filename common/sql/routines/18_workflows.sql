-- Workflows: a job that comes after others stands in `blocked` until the transactions that end those have deleted its edges.
--
-- Locks: whoever ends jobs locks the rows of `blocked` that wait for them, by id, after its own rows of `running`. Two
-- transactions that end two parents of one job meet there: the second counts when the first is committed.

-- The jobs p_ids have ended in this transaction: those that wait for them wait for one less, are placed where that was the last,
-- and are cancelled where what they wait for did not succeed and they are not to run all the same; then so are those that wait for
-- them. p_gone: they are about to be forgotten, and count as cancelled. Returns the queues that got work.
create or replace function longshore.release(p_ids bigint[], p_gone boolean default false) returns text[] language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
declare
  v_ended bigint[];
  v_bad bigint[];
  v_doomed bigint[];
  v_causes bigint[];
  v_freed bigint[];
  v_attempts smallint[];
  v_queues text[];
begin
  -- of whom something waits
  select array_agg(u.id), array_agg(u.id) filter (where p_gone or f.state <> 'succeeded') into v_ended, v_bad
    from (select distinct i as id from unnest(p_ids) i) u left join longshore.finished f on f.id = u.id
   where (p_gone or f.id is not null) and exists (select from longshore.edges e where e.parent = u.id);
  if v_ended is null then return '{}'; end if;

  for round in 1..2 loop -- the second time under the locks that the first has taken
    with recursive d(id, cause) as (
      select e.child, min(e.parent) from longshore.edges e join longshore.job_data j on j.id = e.child
       where e.parent = any(v_bad) and j.if_failed is null group by e.child
      union
      select e.child, d.cause from d join longshore.edges e on e.parent = d.id join longshore.job_data j on j.id = e.child where j.if_failed is null
    )
    select array_agg(x.id), array_agg(x.cause) into v_doomed, v_causes from (select d.id, min(d.cause) cause from d group by d.id) x;
    if round = 1 then
      perform from longshore.blocked b
        where b.id in (select e.child from longshore.edges e where e.parent = any(v_ended || v_doomed) union select * from unnest(v_doomed)) order by b.id for update;
    end if;
  end loop;

  with gone as (
    delete from longshore.blocked b using unnest(v_doomed, v_causes) d(id, cause) where b.id = d.id returning b.id, b.lane, b.attempt, d.cause
  ), over as (
    insert into longshore.finished (id, lane, state, attempt, error, because)
    select g.id, g.lane, 'cancelled', g.attempt,
           format('it comes after job %s%s, which %s', g.cause, coalesce(' ("' || c.task || '")', ''),
                  case when p_gone then 'was deleted' else coalesce('is ' || f.state, 'did not succeed') end), g.cause
      from gone g left join longshore.job_data c on c.id = g.cause left join longshore.finished f on f.id = g.cause
    returning id, lane, attempt, error
  ), counted as (
    insert into longshore.tally (lane, state, n) select o.lane, 'cancelled', count(*) from over o group by o.lane
  ), told as (
    insert into longshore.event_inbox (event, id, lane, attempt, error)
    select 'job.cancelled', o.id, o.lane, o.attempt, left(o.error, 500) from over o where exists (select from longshore.watch w where w.one and w.events_until > now())
  )
  delete from longshore.edges e where e.child = any(v_doomed);

  with closed as (
    delete from longshore.edges e where e.parent = any(v_ended || v_doomed) returning e.child
  ), n as materialized (
    select c.child, count(*)::int n from closed c group by c.child
  ), fewer as (
    update longshore.blocked b set waits = b.waits - n.n from n where b.id = n.child and b.waits > n.n
  ), freed as (
    delete from longshore.blocked b using n where b.id = n.child and b.waits <= n.n returning b.id, b.attempt
  )
  select array_agg(f.id), array_agg(f.attempt) into v_freed, v_attempts from freed f;
  if v_freed is null then return '{}'; end if;
  perform longshore.place(v_freed, v_attempts);
  select array_agg(distinct q.name) into v_queues
    from unnest(v_freed) u(id) join longshore.job_data j using (id) join longshore.lanes l on l.lane = j.lane join longshore.queues q on q.queue = l.queue;
  return v_queues;
end $$;
comment on function longshore.release is 'jobs have ended: let those go that wait for them';

-- What a job gets of those it comes after: {"name": result}, null of one that did not succeed. Results come as they were stored.
-- Of a few parents all are read at once, and nearly always that is it; of many, first how large they are together.
-- Called for each job that a claim takes, under the claim's settings: its plans are kept, as one function in SQL could not.
create or replace function longshore.parents_of(p_after bigint[]) returns json language plpgsql stable
as $$
declare
  v_text text;
  v_bytes bigint;
begin
  if cardinality(p_after) <= 8 then
    select '{' || string_agg(to_json(j.task)::text || ': ' || coalesce(f.result::text, 'null'), ', ' order by u.n) || '}', sum(octet_length(f.result::text))
      into v_text, v_bytes
      from unnest(p_after) with ordinality u(id, n)
     cross join lateral (select i.id, i.task from longshore.job_data i where i.id = u.id offset 0) j
      left join lateral (select i.result from longshore.finished i where i.id = u.id and i.state = 'succeeded' offset 0) f on true;
    if v_bytes is null or v_bytes <= 4194304 then return v_text::json; end if;
  end if;
  return (
    select '{' || string_agg(to_json(p.task)::text || ': ' ||
              case when p.result is null then 'null'
                   when p.bytes > 4194304 then json_build_object('omitted', 'the results of all it comes after are more than 4 MiB together; this one is that of job ' || p.id,
                                                                 'bytes', octet_length(p.result))::text
                   else p.result end, ', ' order by p.n) || '}'
      from (select u.n, j.id, j.task, f.result::text as result, sum(octet_length(f.result::text)) over () as bytes
              from unnest(p_after) with ordinality u(id, n)
             cross join lateral (select i.id, i.task from longshore.job_data i where i.id = u.id offset 0) j
              left join lateral (select i.result from longshore.finished i where i.id = u.id and i.state = 'succeeded' offset 0) f on true) p)::json;
end $$;
comment on function longshore.parents_of is 'the results of the jobs that a job comes after, by name';

-- Where a job stands, which does not change before this transaction ends: whoever would end it waits. Null: there is no such job.
create or replace function longshore.pin(p_id bigint) returns longshore.job_state language plpgsql as $$
declare
  v_place record;
  v_state longshore.job_state;
begin
  for round in 1..50 loop
    perform from longshore.running r where r.id = p_id for no key update;
    if found then return 'running'; end if;
    select f.state into v_state from longshore.finished f where f.id = p_id for key share;
    if found then return v_state; end if;
    perform from longshore.blocked b where b.id = p_id for no key update;
    if found then return 'blocked'; end if;
    v_place := longshore.unplace(p_id);
    if v_place.met is not null then
      perform longshore.place_as_it_was(p_id, v_place.attempt, v_place.met, v_place.fingerprint, v_place.failed_at);
      return v_place.met;
    end if;
    if not exists (select from longshore.job_data j where j.id = p_id) then return null; end if;
  end loop;
  perform longshore.give_up(p_id);
end $$;
comment on function longshore.pin is 'keep a job where it stands until this transaction ends';

-- Keeps jobs where they stand until this transaction ends. Whether all of them are there.
create or replace function longshore.pin_all(p_ids bigint[]) returns boolean language plpgsql as $$
declare
  v_id bigint;
  v_there boolean := true;
begin
  for v_id in select * from unnest(p_ids) except select * from unnest(longshore.lock_jobs(p_ids, false)) order by 1 loop
    if longshore.pin(v_id) is null then v_there := false; end if;
  end loop;
  return v_there;
end $$;
comment on function longshore.pin_all is 'keep jobs where they stand until this transaction ends';

-- Locks a workflow for a change of what it consists of, and pins those of its jobs that new ones come after. Null: it is not there, or
-- one of the jobs is gone. over: all of its jobs are finished.
create or replace function longshore.open_workflow(p_workflow bigint, p_parents bigint[], out there boolean, out over boolean) language plpgsql
set enable_seqscan = off set jit = off
as $$
begin
  perform from longshore.workflows w where w.workflow = p_workflow for update;
  there := found;
  if not there then return; end if;
  over := not exists (select from longshore.job_data j where j.workflow_id = p_workflow and not exists (select from longshore.finished f where f.id = j.id));
  if over then return; end if;
  there := longshore.pin_all(p_parents);
end $$;
comment on function longshore.open_workflow is 'lock a workflow to which jobs are to be added';

-- Runs again what failed, and what was cancelled because of that. Those that come after one of these wait for it again. standing: a
-- job that holds a unique key one of them needs; the caller has to roll back. Where the workflow is not there: null.
create or replace function longshore.retry_workflow(p_workflow bigint, out retried int, out standing bigint, out held bigint) language plpgsql
set enable_seqscan = off set jit = off
as $$
declare
  v_failed bigint[];
  v_ids bigint[];
begin
  perform from longshore.workflows w where w.workflow = p_workflow for update;
  if not found then return; end if;
  v_failed := array(select j.id from longshore.job_data j join longshore.finished f on f.id = j.id where j.workflow_id = p_workflow and f.state = 'failed');
  v_ids := v_failed || array(select j.id from longshore.job_data j join longshore.finished f on f.id = j.id
                              where j.workflow_id = p_workflow and f.state = 'cancelled' and f.because = any(v_failed));
  select count(*) filter (where r.standing is null), min(r.standing), min(r.id) filter (where r.standing is not null) into retried, standing, held
    from longshore.retry_jobs(v_ids) r;
end $$;
comment on function longshore.retry_workflow is 'run again what failed in a workflow, and what was cancelled because of that';

-- Cancels what waits and asks for the cancellation of what runs. Null: there is no such workflow.
create or replace function longshore.cancel_workflow(p_workflow bigint, out cancelled int, out asked int) language plpgsql
set enable_seqscan = off set jit = off
as $$
begin
  perform from longshore.workflows w where w.workflow = p_workflow for update;
  if not found then return; end if;
  select count(*) filter (where c.met <> 'running' and c.met not in ('succeeded', 'failed', 'cancelled')), count(*) filter (where c.met = 'running')
    into cancelled, asked
    from longshore.cancel_jobs(array(select j.id from longshore.job_data j where j.workflow_id = p_workflow
                                        and not exists (select from longshore.finished f where f.id = j.id))) c;
end $$;
comment on function longshore.cancel_workflow is 'cancel all jobs of a workflow that are not finished';

-- Which workflows are over, so that their jobs may be forgotten; and forgets those of which no job is left. By one process at a time.
-- The last job is looked at first: it comes after the others, so that one look is nearly always enough.
create or replace function longshore.look_after_workflows(p_n int) returns int language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
declare
  v_over int;
begin
  if not pg_try_advisory_xact_lock(7814988) then return 0; end if; -- any number, the same in all programs
  update longshore.workflows set over_at = now()
   where workflow = any(array(
     select w.workflow from longshore.workflows w
      where w.over_at is null and not exists (
        select from (select j.id from longshore.job_data j where j.workflow_id = w.workflow order by j.workflow_id desc, j.id desc offset 0) j
         where not exists (select from longshore.finished f where f.id = j.id))
      limit p_n for update skip locked));
  get diagnostics v_over = row_count;
  delete from longshore.workflows
   where workflow = any(array(
     select w.workflow from longshore.workflows w
      where w.over_at < now() - interval '1 minute'
        and not exists (select from longshore.job_data j where j.workflow_id = w.workflow) limit p_n for update skip locked));
  return v_over;
end $$;
comment on function longshore.look_after_workflows is 'note which workflows are over, and forget those whose jobs are gone';
