-- workers/see
-- Users' own workers that ask still: of each a row comes back, unless it was declared dead meanwhile, and is to be met anew.
-- Locks: rows of workers by number; none is waited for, since whoever has it shows the same, or declares it dead.
with here as materialized (
  select w.worker from longshore.workers w where w.worker = any($1) and w.pulls and w.stopped_at is null order by w.worker for no key update skip locked
)
update longshore.workers w set last_seen = now(), last_poll = now() from here where w.worker = here.worker returning w.worker
