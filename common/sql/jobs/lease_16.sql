-- jobs/lease_16
-- The claim of up to 16 index ranges under leases that last $8 seconds unless they are extended. See sql/routines/04_claim.sql.
select * from longshore.claim_16($1, $2, $3, $4, $5, $6, $7, $8)
