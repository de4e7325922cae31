-- workers/holds
-- What a worker compares with what it knows of. running is small: it holds live attempts only.
select id, lease from longshore.running where worker = $1
