-- jobs/report_1_1
-- In a schema of version 1.1, which does not know who waits for outcomes.
select id, lease, state::text, false as watched, null::text as released
  from longshore.report(case when set_config('lock_timeout', $7, true) is not null then $1::bigint[] end, $2, $3, $4, $5, $6)
