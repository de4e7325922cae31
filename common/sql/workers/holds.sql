-- workers/holds
-- What a worker compares with what it knows of; not what it has let go of under a lease of its own (lease_until; read so that
-- the schema of the version before, which has no such column, answers too). running is small: it holds live attempts only.
select r.id, r.lease from longshore.running r where r.worker = $1 and to_jsonb(r) ->> 'lease_until' is null
