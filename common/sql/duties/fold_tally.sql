-- duties/fold_tally
select longshore.fold_tally()
