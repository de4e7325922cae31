-- schema/exists
select to_regclass('longshore.schema_version') is not null
