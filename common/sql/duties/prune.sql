-- duties/prune
select longshore.prune($1::text::longshore.job_state, make_interval(secs => $2), $3)
