-- schedules/delete
delete from longshore.schedules where name = $1 returning name
