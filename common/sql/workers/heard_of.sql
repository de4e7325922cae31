-- workers/heard_of
select 1 from longshore.workers where host = $1 and stopped_at is null and last_seen > now() - lease limit 1
