-- duties/prune_workers
-- Workers that stopped before anything that is still kept was finished: no history can name them. finished_age gives the
-- oldest finished job by index; a failed job may be kept longer than others, so the oldest of each state counts.
delete from longshore.workers w
 where w.stopped_at < now() - make_interval(secs => $1)
   and w.stopped_at < coalesce((select min(o.at) from unnest(enum_range('succeeded'::longshore.job_state, 'cancelled')) s(state)
        cross join lateral (select finished_at at from longshore.finished f where f.state = s.state order by f.state, f.finished_at limit 1) o), now())
   and not exists (select from longshore.running r where r.worker = w.worker)
