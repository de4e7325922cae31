-- duties/rescue
select worker, silent_s, jobs from longshore.rescue()
