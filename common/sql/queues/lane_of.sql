-- queues/lane_of
-- The lanes of kinds in queues, made where they are new. In a transaction of its own and in one order over all
-- processes ($1, $2 are sorted), so that two of them never wait for each other.
select longshore.lane_of(queue, kind) from unnest($1::text[], $2::text[]) u(queue, kind)
