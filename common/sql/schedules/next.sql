-- schedules/next
-- Seconds to the next due time of any; null: there is none. Left out, as in schedules/due: those that whoever asks cannot read.
select extract(epoch from min(next_run_at) - now())::float8
  from longshore.schedules s
 where next_run_at is not null and (s.name <> all($1::text[]) or md5(concat_ws(' ', s.cron, s.timezone, s.job)) <> all($2::text[]))
