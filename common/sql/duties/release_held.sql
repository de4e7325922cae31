-- duties/release_held
select released, queues from longshore.release_held($1)
