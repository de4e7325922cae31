-- stats/time
select now()
