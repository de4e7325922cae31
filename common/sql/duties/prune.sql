-- duties/prune
select longshore.prune_finished($1)
