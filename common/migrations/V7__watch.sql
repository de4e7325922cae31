-- Who waits for outcomes. Statements look here before they tell anybody: while nobody waits, telling costs nothing.

create table longshore.watch (
  one boolean primary key default true check (one),
  outcomes_until timestamptz not null default '-infinity'
);
comment on table longshore.watch is 'one row: until when somebody wants to hear what becomes of jobs. Renewed every few minutes, so that the row stays short of versions';
comment on column longshore.watch.one is 'always true: there is one row';
comment on column longshore.watch.outcomes_until is 'until then workers say which jobs have ended: requests wait for them';
insert into longshore.watch default values;
