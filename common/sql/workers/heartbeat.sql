-- workers/heartbeat
-- One row whatever the worker holds. No row comes back: it was declared dead (stopped_at is set by the rescue, under
-- this row's lock), and it must stop and register anew.
update longshore.workers set last_seen = now(), last_poll = now() - make_interval(secs => $2)
 where worker = $1 and stopped_at is null returning worker
