-- schema/ping
select 1
