-- workers/register
insert into longshore.workers (name, host, version, queues, kinds, lease)
values ($1, $2, $3, $4, $5, make_interval(secs => $6)) returning worker
