-- schema/ping
select current_setting('transaction_read_only')::boolean as read_only
