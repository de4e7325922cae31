-- idempotency/keep
-- One that is too old to count may still stand there.
insert into longshore.idempotency (caller, key, request, status, answer) values ($1, $2, $3, $4, $5)
on conflict (caller, key) do update set created_at = now(), request = excluded.request, status = excluded.status, answer = excluded.answer
