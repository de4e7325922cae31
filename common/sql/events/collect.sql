-- events/collect
select longshore.collect_events($1)
