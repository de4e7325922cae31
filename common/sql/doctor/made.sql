-- doctor/made
select major, minor, routines from longshore.schema_version
