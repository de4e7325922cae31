-- schedules/lock
-- One schedule, for who changes it; and the time.
select now(), s.cron, s.timezone, s.next_run_at
  from (select) one left join (select * from longshore.schedules where name = $1 for no key update) s on true
