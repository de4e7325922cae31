-- duties/promote
select promoted, upto, queues from longshore.promote($1, $2)
