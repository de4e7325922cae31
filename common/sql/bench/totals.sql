-- bench/totals
-- Reads everything.
select (select count(*) from longshore.job_data),
       (select count(*) from longshore.ready) + (select count(*) from longshore.held) + (select count(*) from longshore.blocked) + (select count(*) from longshore.scheduled) + (select count(*) from longshore.running),
       count(*) filter (where state = 'succeeded'), count(*) filter (where state <> 'succeeded'),
       extract(epoch from max(finished_at) - min(started_at))::float8
  from longshore.finished
