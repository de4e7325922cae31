-- queues/lanes_after
-- Index: the primary key of lanes.
select l.lane, q.name, l.kind from longshore.lanes l join longshore.queues q using (queue) where l.lane > $1 order by l.lane
