-- workers/to_cancel
-- Which of its jobs a worker is to stop. Index: running_to_cancel, which holds nothing else.
select id, lease from longshore.running where worker = $1 and cancel_requested_at is not null
