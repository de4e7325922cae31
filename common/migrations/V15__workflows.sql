-- Workflows: jobs that wait for other jobs.

create table longshore.workflows (
  workflow bigint generated always as identity primary key,
  name text,
  created_at timestamptz not null default now(),
  over_at timestamptz,
  enqueued_by text,
  request_id text
);
create index workflows_under_way on longshore.workflows (workflow) where over_at is null;
comment on table longshore.workflows is 'one row a workflow, as long as one of its jobs is kept; how it stands is what its jobs say';
comment on column longshore.workflows.workflow is 'its id';
comment on column longshore.workflows.name is 'what people call it';
comment on column longshore.workflows.created_at is 'when it was made';
comment on column longshore.workflows.over_at is 'since when all of its jobs are finished, found out within seconds; until then none of them is forgotten, since others may want its result';
comment on column longshore.workflows.enqueued_by is 'name of the API key it came with';
comment on column longshore.workflows.request_id is 'x-request-id of the request that made it';

alter table longshore.job_data add column workflow_id bigint, add column task text, add column after bigint[], add column if_failed text check (if_failed = 'run');
comment on column longshore.job_data.workflow_id is 'the workflow it belongs to';
comment on column longshore.job_data.task is 'its name in the workflow';
comment on column longshore.job_data.after is 'the jobs that it comes after; their results are there when it starts';
comment on column longshore.job_data.if_failed is 'run: it runs although one of those has failed or was cancelled; null: it is cancelled then';
-- Jobs of no workflow never enter this index.
create index job_data_workflow on longshore.job_data (workflow_id, id) where workflow_id is not null;
alter table longshore.finished add column because bigint;
comment on column longshore.finished.because is 'it was cancelled since this job of its workflow failed or was cancelled';

create table longshore.blocked (
  id bigint primary key,
  lane int not null,
  waits int not null check (waits > 0),
  attempt smallint not null default 0
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index blocked_lane on longshore.blocked (lane);
comment on table longshore.blocked is 'place of jobs that wait for other jobs';
comment on column longshore.blocked.id is 'the job';
comment on column longshore.blocked.lane is 'copy of job_data.lane';
comment on column longshore.blocked.waits is 'how many it waits for: its rows in edges';
comment on column longshore.blocked.attempt is 'attempts that have ended so far: it was retried';

create table longshore.edges (
  parent bigint not null,
  child bigint not null,
  primary key (parent, child)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index edges_child on longshore.edges (child);
comment on table longshore.edges is 'who waits for whom: the transaction that ends the parent deletes the row. A row is here only while its child stands in blocked';
comment on column longshore.edges.parent is 'the job that must end first';
comment on column longshore.edges.child is 'the job that waits for it';
