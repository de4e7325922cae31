-- schedules/fired
-- One array element a schedule.
update longshore.schedules s set next_run_at = u.next_run_at, last_run_at = coalesce(u.last_run_at, s.last_run_at)
  from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) u(name, next_run_at, last_run_at)
 where s.name = u.name
