-- events/after
-- Index: primary key.
select pos, at, event, queue, kind, id, attempt, progress, error from longshore.events where pos > $1 order by pos limit $2
