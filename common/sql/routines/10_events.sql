-- Events: who writes them, and who reads. The hot statements (enqueue_batch, claim, report) write theirs by themselves, where
-- watch.events_until says that somebody wants them; everything else calls tell.

create or replace function longshore.tell(p_event text, p_id bigint default null, p_lane int default null, p_attempt smallint default null,
  p_error text default null, p_queue text default null) returns void language sql as $$
  insert into longshore.event_inbox (event, id, lane, attempt, error, queue)
  select p_event, p_id, p_lane, p_attempt, left(p_error, 500), p_queue
   where exists (select from longshore.watch w where w.one and w.events_until > now())
$$;
comment on function longshore.tell is 'note an event, where somebody watches';

-- Somebody reads: from now on statements say what they do, for ten minutes at least. Rarely a write: each leaves a version of the
-- row that every statement has to pass. What happened before is not known: a gap.
create or replace function longshore.watch_events() returns void language plpgsql as $$
declare
  v_until timestamptz := (select w.events_until from longshore.watch w where w.one);
begin
  if v_until > now() + interval '10 min' then return; end if;
  update longshore.watch w set events_until = now() + interval '15 min' where w.one;
  if v_until < now() then
    insert into longshore.event_inbox (event) values ('gap');
  end if;
end $$;
comment on function longshore.watch_events is 'let statements say what they do, since somebody reads';

-- Number what is committed, at most p_n, and forget what is old. Any number of processes may do so at once: the lock is held
-- until the commit, so that nobody sees a number before those below it. Returns how many.
-- Indexes: primary keys. (An old snapshot keeps dead rows in front of them: then reading events costs more, and nothing else.)
create or replace function longshore.collect_events(p_n int) returns int language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
  v_moved int;
begin
  perform from longshore.event_inbox order by seq limit 1;
  if not found then return 0; end if;
  perform pg_advisory_xact_lock(7814986); -- any number, the same in all programs
  with m as (
    delete from longshore.event_inbox where seq = any(array(select i.seq from longshore.event_inbox i order by i.seq limit p_n)) returning *
  ), o as materialized (
    select m.*, l.kind, coalesce(m.queue, q.name) as named
      from m left join longshore.lanes l on l.lane = m.lane left join longshore.queues q on q.queue = l.queue order by m.seq
  )
  insert into longshore.events (pos, at, id, attempt, event, queue, kind, progress, error)
  select nextval('longshore.event_pos'), o.at, o.id, o.attempt, o.event, o.named, o.kind, o.progress, o.error from o;
  get diagnostics v_moved = row_count;
  delete from longshore.events where pos = any(array(
    select f.pos from (select e.pos, e.at from longshore.events e order by e.pos limit 2 * p_n) f
     where f.at < now() - interval '5 min' or f.pos <= (select max(e.pos) from longshore.events e) - 100000));
  return v_moved;
end $$;
comment on function longshore.collect_events is 'number the events that are committed';
