#!/usr/bin/env bash
# Writes an order and enqueues its job in one transaction: both are there, or neither.
set -euo pipefail
psql "$DATABASE_URL" -qAt -v ON_ERROR_STOP=1 -v customer=Ann -v key="order-$$" <<'SQL'
begin;
insert into orders (customer) values (:'customer');
select longshore.enqueue('greet', json_build_object('name', :'customer'), queue => 'shell', unique_key => :'key');
commit;
SQL
