-- schedules/preview
select now(), s.cron, s.timezone, s.next_run_at from (select) one left join (select * from longshore.schedules where name = $1) s on true
