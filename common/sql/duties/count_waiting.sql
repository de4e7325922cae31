-- duties/count_waiting
select longshore.count_waiting()
