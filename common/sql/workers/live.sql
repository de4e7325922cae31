-- workers/live
-- A worker is alive while its heartbeats come. running is small: it holds live attempts only.
select w.name, w.host, w.version, w.queues, w.kinds, coalesce(r.n, 0), w.since, w.last_seen, w.last_poll
  from longshore.workers w left join (select worker, count(*) n from longshore.running group by worker) r using (worker)
 where w.stopped_at is null and w.last_seen > now() - w.lease
 order by w.since, w.worker
