-- Views for people, readable in psql, and for the API: a job is put together from its parts here and nowhere else.

drop view if exists longshore.jobs, longshore.failures, longshore.queues_overview, longshore.workers_overview, longshore.violations, longshore.places;

create view longshore.places as
  select id, 'available'::longshore.job_state as state, attempt, lane, priority, run_at from longshore.ready
  union all
  select id, 'available', attempt, lane, priority, run_at from longshore.held
  union all
  select id, case when attempt = 0 then 'scheduled'::longshore.job_state else 'retryable' end, attempt, lane, priority, run_at from longshore.scheduled
  union all
  select id, 'blocked', attempt, lane, null, null from longshore.blocked
  union all
  select id, 'running', attempt, lane, null, null from longshore.running
  union all
  select id, state, attempt, lane, null, null from longshore.finished;
comment on view longshore.places is 'where each job stands: one row a place';

-- Every join is by a whole unique key, so that one job costs a few index probes, also among millions.
create view longshore.jobs as
  select j.id, l.kind, q.name as queue,
         case when f.id is not null then f.state
              when x.id is not null then 'running'::longshore.job_state
              when r.id is not null or h.id is not null then 'available'
              when b.id is not null then 'blocked'
              when s.id is not null then case when s.attempt = 0 then 'scheduled'::longshore.job_state else 'retryable' end
         end as state,
         coalesce(f.attempt, x.attempt, r.attempt, s.attempt, h.attempt, b.attempt) as attempt, j.max_attempts, j.priority,
         j.run_at, j.created_at, coalesce(x.started_at, f.started_at) as started_at, f.finished_at,
         w.name as worker, coalesce(f.error, last.error) as error, n.progress, n.checkpoint, f.result, j.args,
         j.timeout_ms / 1000.0 as timeout, j.expires_at, j.tags, j.meta, j.unique_key, j.concurrency_key,
         j.retry, j.enqueued_by, j.request_id, j.traceparent, j.lane,
         coalesce(x.cancel_requested_at, f.cancel_requested_at) as cancel_requested_at, j.schedule, j.scheduled_for, j.workflow_id, j.task
    from longshore.job_data j
    join longshore.lanes l on l.lane = j.lane
    join longshore.queues q on q.queue = l.queue
    left join longshore.finished f on f.id = j.id
    left join longshore.running x on x.id = j.id
    left join longshore.ready r on r.lane = j.lane and r.priority = j.priority and r.run_at = j.run_at and r.id = j.id
    left join longshore.scheduled s on s.run_at = j.run_at and s.id = j.id
    left join longshore.held h on h.lane = j.lane and h.key = coalesce(j.concurrency_key, '') and h.priority = j.priority and h.run_at = j.run_at and h.id = j.id
    left join longshore.blocked b on b.id = j.id and j.after is not null
    left join longshore.workers w on w.worker = coalesce(x.worker, f.worker)
    left join longshore.notes n on n.id = j.id
    left join lateral (
      select a.error from longshore.attempts a
       where a.id = j.id and a.error is not null and coalesce(x.attempt, s.attempt, r.attempt, h.attempt, b.attempt, f.attempt) > 0
       order by a.lease desc limit 1) last on f.id is null;
comment on view longshore.jobs is 'all jobs: waiting, running and finished as one';

-- The lateral joins keep the first fifty of a million a matter of fifty probes.
create view longshore.failures as
  select j.id, j.queue, j.kind, j.state, j.attempt || '/' || j.max_attempts as attempt,
         coalesce(j.finished_at, j.run_at)::timestamptz(0) as "failed or next try", left(j.error, 60) as error,
         lpad(to_hex(f.fingerprint), 16, '0') as fingerprint
    from longshore.finished f cross join lateral (select * from longshore.jobs i where i.id = f.id offset 0) j
   where f.state = 'failed'
  union all
  select j.id, j.queue, j.kind, j.state, j.attempt || '/' || j.max_attempts, j.run_at::timestamptz(0), left(j.error, 60),
         lpad(to_hex(s.fingerprint), 16, '0')
    from longshore.scheduled s cross join lateral (select * from longshore.jobs i where i.id = s.id offset 0) j
   where s.attempt > 0;
comment on view longshore.failures is 'failed jobs, and those that wait for another attempt; errors of one cause have one fingerprint';

create view longshore.queues_overview as
  select q.name as queue, l.kind,
         least(10001, (select count(*) from (select from longshore.ready r where r.lane = l.lane limit 10001) c)
                    + (select count(*) from (select from longshore.held h where h.lane = l.lane limit 10001) c)) as available,
         (select count(*) from longshore.running x where x.lane = l.lane) as running,
         s.scheduled, s.retryable,
         (select count(*) from (select from longshore.blocked b where b.lane = l.lane limit 10001) c) as blocked,
         t.succeeded, t.failed, t.cancelled, q.paused_at is not null as paused,
         (select date_trunc('milliseconds', now() - min(h.run_at)) from
           (select r.run_at from longshore.ready r where r.lane = l.lane order by r.lane, r.priority, r.run_at limit 1) h) as "oldest waits"
    from longshore.queues q
    join longshore.lanes l using (queue)
   cross join lateral (
      select count(*) filter (where c.attempt = 0) as scheduled, count(*) filter (where c.attempt > 0) as retryable
        from (select i.attempt from longshore.scheduled i where i.lane = l.lane limit 10001) c) s
    left join lateral (
      select coalesce(sum(n) filter (where state = 'succeeded'), 0) as succeeded, coalesce(sum(n) filter (where state = 'failed'), 0) as failed,
             coalesce(sum(n) filter (where state = 'cancelled'), 0) as cancelled
        from longshore.tally where tally.lane = l.lane) t on true
   where longshore.is_there(q.queue, q.deleted_at);
comment on view longshore.queues_overview is 'queues and kinds, how many jobs of them stand where (what waits is counted to 10001), and how long the first waits';

create view longshore.workers_overview as
  select w.name as worker, w.host, w.version, array_to_string(w.queues, ',') as queues, array_to_string(w.kinds, ',') as kinds,
         (select count(*) from longshore.running r where r.worker = w.worker) as running,
         date_trunc('second', now() - w.since) as up, date_trunc('milliseconds', now() - w.last_seen) as "silent for",
         w.last_seen > now() - w.lease as alive
    from longshore.workers w
   where w.stopped_at is null;
comment on view longshore.workers_overview is 'workers that run';

create view longshore.violations as
  select j.id, 'stands in no place' as what from longshore.job_data j where not exists (select from longshore.places p where p.id = j.id)
  union all
  select p.id, 'stands in ' || string_agg(p.state::text, ' and ') from longshore.places p group by p.id having count(*) > 1
  union all
  select p.id, 'has a place but no job_data' from longshore.places p where not exists (select from longshore.job_data j where j.id = p.id)
  union all
  select p.id, 'its place has another lane, priority or run_at than job_data' from longshore.places p join longshore.job_data j using (id)
   where p.lane <> j.lane or p.priority <> j.priority or p.run_at <> j.run_at
  union all
  select r.id, 'runs without a worker' from longshore.running r where not exists (select from longshore.workers w where w.worker = r.worker)
  union all
  select r.id, format('runs attempt %s of %s', r.attempt, j.max_attempts) from longshore.running r join longshore.job_data j using (id) where r.attempt not between 1 and j.max_attempts
  union all
  select n.id, format('holds unique key %s of kind %s, and so does job %s', n.unique_key, l.kind, o.id)
    from longshore.job_data n join longshore.lanes l using (lane)
    join longshore.job_data o on o.unique_key = n.unique_key and o.id < n.id
    join longshore.lanes m on m.lane = o.lane and m.kind = l.kind
   where n.unique_while = 'kept'
      or n.unique_while = 'active' and not exists (select from longshore.finished f where f.id in (o.id, n.id))
  union all
  select b.id, format('waits for %s jobs, in truth for %s', b.waits, count(e.parent))
    from longshore.blocked b left join longshore.edges e on e.child = b.id group by b.id, b.waits having count(e.parent) <> b.waits
  union all
  select e.child, format('would wait for job %s, and is not blocked', e.parent) from longshore.edges e where not exists (select from longshore.blocked b where b.id = e.child)
  union all
  select e.child, format('waits for job %s, which has ended or is gone', e.parent)
    from longshore.edges e
   where exists (select from longshore.finished f where f.id = e.parent) or not exists (select from longshore.job_data j where j.id = e.parent)
  union all
  -- more may run than a limit allows only where it was lowered while they did; the claims of the moment of the change count as before
  select max(r.id), format('queue %s runs %s jobs, %s are allowed', q.name, count(*), q.max_running)
    from longshore.running r join longshore.lanes l on l.lane = r.lane join longshore.queues q on q.queue = l.queue
   where q.max_running is not null
   group by q.queue, q.name, q.max_running, q.limits_changed_at
  having count(*) > q.max_running and max(r.started_at) > q.limits_changed_at + interval '5 s'
  union all
  select max(r.id), format('queue %s runs %s jobs of key %s, %s are allowed', q.name, count(*), r.key, q.max_running_per_key)
    from longshore.running r join longshore.lanes l on l.lane = r.lane join longshore.queues q on q.queue = l.queue
   where q.max_running_per_key is not null and r.key <> ''
   group by q.queue, q.name, q.max_running_per_key, q.limits_changed_at, r.key
  having count(*) > q.max_running_per_key and max(r.started_at) > q.limits_changed_at + interval '5 s'
  union all
  select h.id, format('is held, key %s has room, and no claim would look at it', h.key)
    from longshore.held h join longshore.lanes l on l.lane = h.lane join longshore.queues q on q.queue = l.queue
   where q.keyed and not exists (select from longshore.key_heads k where k.lane = h.lane and k.key = h.key)
     and not exists (select from longshore.key_changes c where c.queue = q.queue and c.key = h.key)
     and (q.max_running_per_key is null or h.key = ''
          or (select count(*) from longshore.running r where r.limited_queue = q.queue and r.key = h.key) < q.max_running_per_key)
  union all
  select n.id, 'has notes but no job_data' from longshore.notes n where not exists (select from longshore.job_data j where j.id = n.id)
  union all
  select distinct o.id, 'has logs but no notes' from longshore.logs o where not exists (select from longshore.notes n where n.id = o.id)
  union all
  select null, format('tally says %s %s jobs in lane %s, there are %s', coalesce(t.n, 0), state, lane, coalesce(f.n, 0))
    from (select lane, state, count(*) n from longshore.finished group by lane, state) f
    full join (select lane, state, sum(n) n from longshore.tally group by lane, state) t using (lane, state)
   where coalesce(f.n, 0) <> coalesce(t.n, 0);
comment on view longshore.violations is 'must be empty: a job in no place or in two, running without a lease, a key held twice, a count that is wrong. Reads everything: for tests and people, not for a probe';
