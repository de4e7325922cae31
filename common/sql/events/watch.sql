-- events/watch
select longshore.watch_events()
