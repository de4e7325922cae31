-- Failures by group: errors that differ only in numbers, ids, addresses and times have one fingerprint. Rows of what has not
-- failed bear none and are in neither index, so that they pay nothing.

alter table longshore.finished add column fingerprint bigint;
comment on column longshore.finished.fingerprint is 'what its error has in common with those of the same cause: longshore.fingerprint(error); null: it has not failed';
create index finished_failures on longshore.finished (lane, fingerprint, finished_at, id) where fingerprint is not null;

alter table longshore.scheduled add column failed_at timestamptz;
alter table longshore.scheduled add column fingerprint bigint;
comment on column longshore.scheduled.failed_at is 'when its last attempt failed; null: it has not failed, or was retried since';
comment on column longshore.scheduled.fingerprint is 'as in finished, of the error of its last attempt; null: it has not failed, or was retried since';
create index scheduled_failures on longshore.scheduled (lane, fingerprint, failed_at, id) where fingerprint is not null;
