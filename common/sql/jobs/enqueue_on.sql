-- jobs/enqueue_on
-- On the connection of somebody else, who may hold no right but that of longshore_producer. See sql/routines/03_enqueue.sql.
select longshore.enqueue(kind => $1, args => $2, queue => $3, priority => $4, run_at => $5,
  delay => make_interval(secs => $6), expires_in => make_interval(secs => $7), max_attempts => $8, timeout => make_interval(secs => $9),
  tags => $10, meta => $11, concurrency_key => $12, retry => $13,
  unique_key => $14, unique_while => $15, unique_for => make_interval(secs => $16), on_conflict => $17)
