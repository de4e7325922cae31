-- doctor/connections
-- Who holds the server's connections. Of sessions that the user may not see, only the user's name is known.
select coalesce(application_name, '') as application, coalesce(usename::text, '') as "user", coalesce(state, 'unknown') as state, count(*) as count
  from pg_stat_activity
 where backend_type = 'client backend' or (backend_type is null and datid is not null)
 group by 1, 2, 3
 order by 4 desc, 1, 2, 3
