-- idempotency/look
-- A fresh snapshot, under the lock: whoever held it before has committed. Index: primary key.
select request, status, answer from longshore.idempotency where caller = $1 and key = $2 and created_at > now() - interval '24 hours'
