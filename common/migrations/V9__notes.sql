-- What a job's holder tells while it runs: its progress, its checkpoint, its log. Rows only for jobs that have any.

create table longshore.notes (
  id bigint primary key,
  progress json,
  checkpoint json
) with (fillfactor = 50); -- told anew about once a second: a HOT update within the page
comment on table longshore.notes is 'one row a job of which its handler told anything; written only by who holds the job''s lease, kept over its attempts, forgotten with the job';
comment on column longshore.notes.id is 'the job';
comment on column longshore.notes.progress is 'how far it is: a number from 0 to 1, or an object; as last told. null: it never was';
comment on column longshore.notes.checkpoint is 'what the next attempt of its handler wants to find again; null: nothing';

create table longshore.logs (
  id bigint not null,
  lease bigint not null,
  attempt smallint not null,
  text text not null,
  primary key (id, lease)
);
comment on table longshore.logs is 'what handlers logged, the last 64 KiB a lease, the last 20 leases a job that logged; a job with a row here has one in notes';
comment on column longshore.logs.id is 'the job';
comment on column longshore.logs.lease is 'the lease it ran under; later ones are greater';
comment on column longshore.logs.attempt is 'number of the attempt; a snoozed or handed back one is not counted, so that the number comes again';
comment on column longshore.logs.text is 'what it logged; a longer one has lost its beginning, and says so';
