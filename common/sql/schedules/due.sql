-- schedules/due
-- Those that are due, with their rows locked; who is at one of them already has it. Where $2 is given, that one alone; none that
-- is named by $3 and set as one of $4 says, which whoever asks cannot read. busy: overlap is skip, and one of its last hundred
-- jobs is unfinished. Index: schedules_due, job_data_schedule.
select now(), s.name, s.cron, s.timezone, s.job, s.catch_up, s.overlap, s.next_run_at, s.last_run_at,
       s.overlap = 'skip' and exists (
         select from (select j.id from longshore.job_data j where j.schedule = s.name order by j.schedule desc, j.id desc limit 100) j
          where not exists (select from longshore.finished f where f.id = j.id)) as busy,
       -- a process that is frozen from here on holds these rows no longer than that
       set_config('idle_in_transaction_session_timeout', '5s', true),
       md5(concat_ws(' ', s.cron, s.timezone, s.job))
  from longshore.schedules s
 where s.next_run_at <= now() and ($2::text is null or s.name = $2)
   and (s.name <> all($3::text[]) or md5(concat_ws(' ', s.cron, s.timezone, s.job)) <> all($4::text[]))
 order by s.next_run_at limit $1 for no key update of s skip locked
