-- events/last
-- The number of the last one; what is forgotten counts.
select case when is_called then last_value else 0 end from longshore.event_pos
