-- duties/expire
select longshore.expire($1)
