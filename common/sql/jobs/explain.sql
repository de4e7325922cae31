-- jobs/explain
-- Why a job is not running, a reason a row; its queue and state with each. No row: there is no such job. $2: the only queues
-- that may be named; null: all. See
-- sql/routines/08_explain.sql.
select j.queue, j.state::text, e.reason, e.detail, e.until
  from longshore.jobs j left join lateral longshore.explain(j.id, $2) e on true
 where j.id = $1
