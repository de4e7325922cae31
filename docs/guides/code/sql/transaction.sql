-- An order and its job, in one transaction: both are there, or neither.
begin;
insert into orders (customer) values ('Ann');
select longshore.enqueue('echo', '{"name": "Ann"}', queue => 'sql', delay => interval '1 s', tags => array['order']);
commit;
