-- idempotency/lock
-- False: a request with this key is under way, here or at another API. Held until the transaction ends. Two keys that hash
-- alike only make one of them come again.
select pg_try_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 4711))
