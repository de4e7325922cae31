-- doctor/workers
-- Workers that still count as there: who has been silent for longer than its lease should have been declared dead within
-- seconds, by any API or worker. A user's own worker (pulls) is a row for people only.
select w.name, w.pulls, w.last_seen > now() - w.lease as alive, extract(epoch from now() - w.last_seen)::float8 as silent,
       extract(epoch from w.lease)::float8 as lease, (select count(*) from longshore.running r where r.worker = w.worker and r.lease_until is null) as running
  from longshore.workers w
 where w.stopped_at is null
 order by w.last_seen
 limit 1000
