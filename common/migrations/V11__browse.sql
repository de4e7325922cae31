-- Lists and figures among millions of jobs. No index here has rows of jobs that simply succeed.

-- The newest failed or cancelled jobs of a lane, in the order of lists. An index a state: a scan stops at the end of its lane.
create index finished_failed on longshore.finished (lane, id) where state = 'failed';
create index finished_cancelled on longshore.finished (lane, id) where state = 'cancelled';
drop index longshore.finished_unhappy;
-- What was retried within the last minute.
create index attempts_recent on longshore.attempts (finished_at);
