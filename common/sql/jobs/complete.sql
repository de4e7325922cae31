-- jobs/complete
-- A success, reported in the transaction of its handler; no state: the lease is lost. Whether somebody waits is asked in a way
-- that suits the schema of version 1.1, too, which does not know: a statement that fails would end the transaction.
select state::text, coalesce((to_jsonb(r) ->> 'watched')::boolean, false)
  from longshore.report(array[$1::bigint], array[$2::bigint], array['succeeded'], array[$3::json]) r
