-- workers/stop
update longshore.workers set stopped_at = now() where worker = $1 and stopped_at is null
