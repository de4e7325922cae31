-- watch/tell
-- Notifications, in a transaction of their own: nobody's work waits for them.
select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) u(channel, payload)
