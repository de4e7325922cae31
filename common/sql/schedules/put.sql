-- schedules/put
-- Whether it was made comes back.
insert into longshore.schedules as s (name, cron, timezone, queue, job, paused, catch_up, overlap, next_run_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (name) do update
   set cron = excluded.cron, timezone = excluded.timezone, queue = excluded.queue, job = excluded.job, paused = excluded.paused,
       catch_up = excluded.catch_up, overlap = excluded.overlap, next_run_at = excluded.next_run_at
returning s.xmax = 0
