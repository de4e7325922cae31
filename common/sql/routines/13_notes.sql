-- What a job's holder tells while it runs: progress, checkpoint, and more of its log.

-- The end of a log that is kept: 64 KiB, cut between characters, and saying so. The same rule as `notes::tail` in Rust.
create or replace function longshore.log_tail(p_text text) returns text language plpgsql immutable as $$
declare
  c_max constant int := 65536;
  c_cut constant text := E'… (cut: of each attempt the last 64 KiB are kept)\n';
  v_bytes bytea;
  v_from int;
begin
  if octet_length(p_text) <= c_max then return p_text; end if;
  v_bytes := convert_to(p_text, 'UTF8');
  v_from := octet_length(v_bytes) - (c_max - octet_length(c_cut));
  while get_byte(v_bytes, v_from) & 192 = 128 loop v_from := v_from + 1; end loop;
  return c_cut || convert_from(substr(v_bytes, v_from + 1), 'UTF8');
end $$;
comment on function longshore.log_tail is 'the last 64 KiB of a log';

-- One array element a lease; a null leaves what is there, a log is added to what is there. Told twice in one call, the last
-- value counts, and both logs do. A job that only logs has a row of notes, too: so a prune looks for both by one probe a job.
--
-- Guard: the row of running, found by (id, lease) and locked against the report that would delete it: so nothing of an old
-- holder comes in once another attempt may have begun. Who finds none has lost the lease (stands is false), and nothing is
-- written. A cancellation that is asked for meanwhile is not held up.
-- Locks: rows of running by id, then of notes and logs by id; it waits a second for each at most, since whoever holds up this
-- function holds up the reports of these jobs. Indexes: primary keys only.
create or replace function longshore.note(p_ids bigint[], p_leases bigint[],
  p_progresses json[] default '{}', p_checkpoints json[] default '{}', p_logs text[] default '{}')
returns table (id bigint, lease bigint, stands boolean, cancel_requested boolean) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off set lock_timeout = '1s'
as $$
#variable_conflict use_column
begin
  return query
  with told as materialized (
    select u.*, h.lane, h.attempt, h.cancel_requested_at
      from (select v.id, v.lease,
                   (array_agg(v.progress order by v.n desc) filter (where v.progress is not null))[1] progress,
                   (array_agg(v.checkpoint order by v.n desc) filter (where v.checkpoint is not null))[1] checkpoint,
                   string_agg(v.log, '' order by v.n) log
              from unnest(p_ids, p_leases, p_progresses, p_checkpoints, p_logs) with ordinality v(id, lease, progress, checkpoint, log, n)
             group by v.id, v.lease order by v.id, v.lease) u
      left join lateral (select * from longshore.running i where i.id = u.id and i.lease = u.lease for key share offset 0) h on true
  ), noted as (
    insert into longshore.notes as k (id, progress, checkpoint)
    select t.id, t.progress, t.checkpoint from told t
     where t.attempt is not null and (t.progress is not null or t.checkpoint is not null or t.log <> '')
    on conflict (id) do update set progress = coalesce(excluded.progress, k.progress), checkpoint = coalesce(excluded.checkpoint, k.checkpoint)
     where excluded.progress is not null or excluded.checkpoint is not null
  ), logged as (
    insert into longshore.logs as k (id, lease, attempt, text)
    select t.id, t.lease, t.attempt, longshore.log_tail(t.log) from told t where t.attempt is not null and t.log <> ''
    on conflict (id, lease) do update set text = longshore.log_tail(k.text || excluded.text)
  ), heard as (
    insert into longshore.event_inbox (event, id, lane, attempt, progress)
    select 'job.progress', t.id, t.lane, t.attempt, t.progress from told t
     where t.attempt is not null and t.progress is not null and exists (select from longshore.watch w where w.one and w.events_until > now())
  ), bounded as (
    -- a job may be snoozed for ever: of the leases that logged, 19 and this one are kept
    delete from longshore.logs k using told t
     where t.attempt is not null and t.log <> '' and k.id = t.id
       and k.lease < (select i.lease from longshore.logs i where i.id = t.id and i.lease < t.lease order by i.lease desc offset 18 limit 1)
  )
  select t.id, t.lease, t.attempt is not null, t.cancel_requested_at is not null from told t;
end $$;
comment on function longshore.note is 'keep what holders of leases tell of their jobs: progress, checkpoint, log';
