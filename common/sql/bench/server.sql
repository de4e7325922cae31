-- bench/server
select current_setting('server_version_num')::int, current_setting('server_version'), clock_timestamp(), current_setting('max_connections')::int, pg_backend_pid(),
       (select string_agg(name || '=' || current_setting(name), ' ' order by name)
          from unnest(array['checkpoint_timeout', 'fsync', 'max_wal_size', 'shared_buffers', 'synchronous_commit']) u(name))
