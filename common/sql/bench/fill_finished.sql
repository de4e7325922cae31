-- bench/fill_finished
-- Finished jobs numbers $1 to $2 of $3 + $4, straight into the tables: past the API on purpose, which would take an hour.
-- One in 20 has failed, of 40 causes; one in 50 was cancelled; one in 10 has a tag and meta; one in 100 a unique key.
-- $5: lanes; $6: a worker.
with n as materialized (
  select nextval('longshore.job_id') id, i, ($5::int[])[1 + i % cardinality($5::int[])] lane, i % 20 = 0 failed, i % 50 = 1 cancelled, i % 10 = 3 labelled,
         case when i % 100 = 7 then 'order-' || i end key, now() - interval '20 hours' * (1 - i::float8 / ($3::bigint + $4::bigint)) - interval '2 minutes' as at
    from generate_series($1::bigint, $2::bigint) i
), cause as materialized (
  select c, e.error, longshore.fingerprint(e.error) fingerprint
    from generate_series(0, 39) c cross join lateral (select format('service %s%s refused', chr(97 + c % 26), chr(97 + c / 26)) error) e
), data as (
  insert into longshore.job_data (id, created_at, run_at, lane, priority, max_attempts, timeout_ms, unique_key, unique_while, tags, meta, args)
  select id, at, at, lane, i % 3, 25, 300000, key, case when key is not null then 'active' end, case when labelled then array['batch-' || i % 7] end,
         case when labelled then json_build_object('customer', i % 1000) end, json_build_object('to', 'somebody@example.com', 'number', i)
    from n
), label as (
  insert into longshore.labels (label, id) select 't:batch-' || i % 7, id from n where labelled union all select 'm:customer=' || i % 1000, id from n where labelled
), done as (
  insert into longshore.finished (id, lease, started_at, finished_at, lane, worker, state, outcome, attempt, result, error, fingerprint)
  select id, nextval('longshore.lease_number'), at + interval '100 ms', at + interval '350 ms', lane, $6::int,
         case when failed then 'failed' when cancelled then 'cancelled' else 'succeeded' end::longshore.job_state,
         case when failed then 'discarded' when cancelled then 'cancelled' else 'succeeded' end::longshore.outcome, 1,
         case when not failed and not cancelled then '{"sent": true}'::json end, case when failed then error end, case when failed then fingerprint end
    from n join cause on c = i / 20 % 40
  returning lane, state
)
insert into longshore.tally (lane, state, n) select lane, state, count(*) from done group by lane, state
