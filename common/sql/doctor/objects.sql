-- doctor/objects
-- What the schema is made of, a line each, in words that every version of PostgreSQL uses alike: names, types and flags of the
-- catalogs, and the text of functions as it was sent. Nothing that pg_get_*def or pg_get_expr would print is in it, since they
-- print the same thing differently from version to version.
with space as (select 'longshore'::regnamespace as oid),
class as (select c.* from pg_class c join space on c.relnamespace = space.oid where c.relname <> 'schema_history' and c.relname <> 'schema_history_pkey')
select case c.relkind when 'r' then 'table ' when 'v' then 'view ' when 'S' then 'sequence ' else c.relkind::text || ' ' end || c.relname as name,
       case c.relpersistence when 'u' then 'unlogged' else '' end as detail
  from class c
 where c.relkind not in ('i', 't')
union all
select 'column ' || c.relname || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
         || case when a.attidentity <> '' then ' identity' when a.atthasdef then ' default' else '' end
  from class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relkind in ('r', 'v')
union all
select 'index ' || c.relname,
       'on ' || t.relname || ' (' || (
         select string_agg(coalesce(a.attname, 'expression') || case when o & 1 = 1 then ' desc' else '' end, ', ' order by n)
           from unnest(i.indkey::int[], i.indoption::int[]) with ordinality k(attribute, o, n)
           left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attribute) || ')'
         || case when i.indisunique then ' unique' else '' end || case when i.indpred is not null then ' partial' else '' end
         || case when i.indisvalid and i.indisready then '' else ' invalid' end
  from class c join pg_index i on i.indexrelid = c.oid join pg_class t on t.oid = i.indrelid
union all
select 'constraint ' || k.conname || ' on ' || c.relname,
       case k.contype when 'c' then 'check' when 'p' then 'primary key' when 'u' then 'unique' when 'f' then 'foreign key' else k.contype::text end
         || case when k.convalidated then '' else ' not valid' end
  from class c join pg_constraint k on k.conrelid = c.oid
 where k.contype not in ('n', 't') -- from version 18 on, "not null" is one too
union all
select 'trigger ' || t.tgname || ' on ' || c.relname, case t.tgenabled when 'D' then 'disabled' else '' end
  from class c join pg_trigger t on t.tgrelid = c.oid
 where not t.tgisinternal
union all
select 'rule ' || r.rulename || ' on ' || c.relname, '' from class c join pg_rewrite r on r.ev_class = c.oid where r.rulename <> '_RETURN'
union all
select 'type ' || t.typname, (select string_agg(e.enumlabel, ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid)
  from pg_type t join space on t.typnamespace = space.oid
 where t.typtype = 'e'
union all
select case p.prokind when 'p' then 'procedure ' else 'function ' end || p.proname || '('
         || (select coalesce(string_agg(format_type(t, null), ', ' order by n), '') from unnest(p.proargtypes::oid[]) with ordinality a(t, n)) || ')',
       'returns ' || case when p.proretset then 'setof ' else '' end || format_type(p.prorettype, null) || ' in ' || l.lanname
         || case p.provolatile when 'i' then ' immutable' when 's' then ' stable' else '' end || case when p.prosecdef then ' security definer' else '' end
         || case when p.proconfig is null then '' else ' set ' || array_to_string(p.proconfig, ', ') end || ' text ' || md5(p.prosrc)
  from pg_proc p join space on p.pronamespace = space.oid join pg_language l on l.oid = p.prolang
 order by 1
