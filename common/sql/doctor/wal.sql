-- doctor/wal
-- The write-ahead log on the disk; only pg_monitor may ask.
select coalesce(sum(size), 0)::bigint as bytes from pg_ls_waldir()
