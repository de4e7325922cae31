-- jobs/claim_16
-- Up to 16 index ranges of ready, merged in order. See sql/routines/04_claim.sql.
-- losses is not asked for by name: the schema of the version before does not count them.
select * from longshore.claim_16($1, $2, $3, $4, $5, $6, $7)
