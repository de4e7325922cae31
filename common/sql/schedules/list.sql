-- schedules/list
select name, cron, timezone, job, paused, catch_up, overlap, next_run_at, last_run_at, queue, coalesce(next_run_at <= now(), false)
  from longshore.schedules where $1::text is null or name = $1 order by name
