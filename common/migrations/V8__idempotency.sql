-- Answers to requests that must not be done twice: the header Idempotency-Key.

create table longshore.idempotency (
  caller text not null,
  key text not null,
  created_at timestamptz not null default now(),
  status smallint not null,
  request bytea not null,
  answer json not null,
  primary key (caller, key)
);
create index idempotency_age on longshore.idempotency (created_at);
comment on table longshore.idempotency is 'first answers to requests with an Idempotency-Key, written in the transaction that did what was asked; forgotten after 24 hours';
comment on column longshore.idempotency.caller is 'name of the API key it came with; empty: without one';
comment on column longshore.idempotency.key is 'the header''s value';
comment on column longshore.idempotency.created_at is 'when it was answered';
comment on column longshore.idempotency.status is 'the answer''s HTTP status';
comment on column longshore.idempotency.request is 'SHA-256 of what was asked: another request with the same key is refused';
comment on column longshore.idempotency.answer is 'the answer''s body, as it was sent';
