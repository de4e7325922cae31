-- bench/fill_waiting
-- Waiting jobs numbers $1 to $2 of $3 + $4, as in bench/fill_finished: eight in ten are available, one is scheduled, one retryable.
-- They are the oldest, so that whoever looks for the newest of them must not walk past all that is finished.
with n as materialized (
  select nextval('longshore.job_id') id, i, ($5::int[])[1 + i % cardinality($5::int[])] lane, i % 10 = 8 scheduled, i % 10 = 9 retryable, i % 10 = 3 labelled,
         now() - interval '20 hours' * (1 - i::float8 / ($3::bigint + $4::bigint)) - interval '2 minutes' as at
    from generate_series($1::bigint, $2::bigint) i
), cause as materialized (
  select c, e.error, longshore.fingerprint(e.error) fingerprint
    from generate_series(0, 39) c cross join lateral (select format('service %s%s refused', chr(97 + c % 26), chr(97 + c / 26)) error) e
), data as (
  insert into longshore.job_data (id, created_at, run_at, lane, priority, max_attempts, timeout_ms, tags, meta, args)
  select id, at, case when scheduled or retryable then at + interval '30 days' else at end, lane, i % 3, 25, 300000,
         case when labelled then array['batch-' || i % 7] end, case when labelled then json_build_object('customer', i % 1000) end,
         json_build_object('to', 'somebody@example.com', 'number', i)
    from n
  returning id, lane, priority, run_at
), label as (
  insert into longshore.labels (label, id) select 't:batch-' || i % 7, id from n where labelled union all select 'm:customer=' || i % 1000, id from n where labelled
), ready as (
  insert into longshore.ready (id, run_at, lane, priority) select d.id, d.run_at, d.lane, d.priority from data d join n using (id) where not scheduled and not retryable
), later as (
  insert into longshore.scheduled (run_at, id, lane, priority, attempt, fingerprint, failed_at)
  select d.run_at, d.id, d.lane, d.priority, case when retryable then 1 else 0 end, case when retryable then fingerprint end, case when retryable then at end
    from data d join n using (id) join cause on c = i / 10 % 40 where scheduled or retryable
)
insert into longshore.attempts (id, lease, started_at, finished_at, worker, outcome, attempt, error)
select id, nextval('longshore.lease_number'), at, at, $6::int, 'failed', 1, error from n join cause on c = i / 10 % 40 where retryable
