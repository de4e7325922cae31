-- duties/prune_workers
-- Workers that stopped before anything that is still kept was finished: no history can name them. finished_lane gives the
-- oldest finished job of a lane and state by index; one of them may be kept longer than others, so each counts.
delete from longshore.workers w
 where w.stopped_at < now() - make_interval(secs => $1)
   and w.stopped_at < coalesce((select min(o.at) from longshore.lanes l cross join unnest(enum_range('succeeded'::longshore.job_state, 'cancelled')) s(state)
        cross join lateral (select finished_at at from longshore.finished f where f.lane = l.lane and f.state = s.state
                             order by f.lane, f.state, f.finished_at limit 1) o), now())
   and not exists (select from longshore.running r where r.worker = w.worker)
