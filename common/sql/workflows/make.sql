-- workflows/make
-- A workflow, and the ids of its jobs, which name each other before they are stored.
with w as (
  insert into longshore.workflows (name, enqueued_by, request_id) values ($1, $2, $3) returning workflow
)
select w.workflow, array(select nextval('longshore.job_id') from generate_series(1, $4::int)) from w
