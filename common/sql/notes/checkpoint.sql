-- notes/checkpoint
-- What earlier attempts kept; asked for by handlers that want it, so that a claim costs nothing more. Index: the primary key.
select checkpoint from longshore.notes where id = $1
