-- jobs/history
-- The last 20 attempts, oldest first. Indexes: primary keys.
select attempt, name, started_at, finished_at, outcome, error from (
  select a.attempt, w.name, a.started_at, a.finished_at, a.outcome::text, a.error, a.lease
    from (
      (select attempt, worker, started_at, finished_at, outcome, error, lease from longshore.attempts where id = $1 order by lease desc limit 20)
      union all
      select attempt, worker, started_at, finished_at, outcome, error, lease from longshore.finished where id = $1 and lease is not null
      union all
      select attempt, worker, started_at, null, null, null, lease from longshore.running where id = $1
    ) a left join longshore.workers w using (worker)
   order by a.lease desc limit 20
) h order by h.lease
