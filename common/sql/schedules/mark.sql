-- schedules/mark
-- Jobs that a schedule has enqueued in this very transaction: one array element a job.
update longshore.job_data j set schedule = u.schedule, scheduled_for = u.scheduled_for
  from unnest($1::bigint[], $2::text[], $3::timestamptz[]) u(id, schedule, scheduled_for)
 where j.id = u.id
