-- workflows/ids
select array(select nextval('longshore.job_id') from generate_series(1, $1::int))
