-- schema/version
select major, minor from longshore.schema_version
