-- queues/count_lanes
-- A lane whose transaction stayed open long has a number far below those that were made meanwhile: the count tells that it is there.
select count(*) from longshore.lanes
