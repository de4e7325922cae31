-- schedules/next
-- Seconds to the next due time of any; null: there is none.
select extract(epoch from min(next_run_at) - now())::float8 from longshore.schedules where next_run_at is not null
