-- What control of a job needs beside its place: a wish to cancel while it runs, and losses that a retry by hand forgives.

alter table longshore.running add column cancel_requested_at timestamptz;
comment on column longshore.running.cancel_requested_at is 'since when it is to be cancelled; its worker is told within a second, and whatever it reports but a success becomes cancelled';
-- A worker asks every half second which of its jobs are to be cancelled. Rows without the wish never enter this index.
create index running_to_cancel on longshore.running (worker) where cancel_requested_at is not null;

alter table longshore.finished add column cancel_requested_at timestamptz;
comment on column longshore.finished.cancel_requested_at is 'since when it was to be cancelled, where it was asked for while it ran';

alter table longshore.job_data add column losses_after bigint;
comment on column longshore.job_data.losses_after is 'losses under this lease and earlier ones were forgiven by a retry by hand; null: none were';
