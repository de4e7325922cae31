-- jobs/lease_64
-- The claim of up to 64 index ranges under leases that last $8 seconds unless they are extended. See sql/routines/04_claim.sql.
select * from longshore.claim_64($1, $2, $3, $4, $5, $6, $7, $8)
