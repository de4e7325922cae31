-- idempotency/prune
-- Index: idempotency_age.
delete from longshore.idempotency where ctid = any(array(
  select i.ctid from longshore.idempotency i where i.created_at < now() - interval '24 hours' order by i.created_at limit $1 for update skip locked))
