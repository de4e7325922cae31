-- jobs/claim_1
-- Up to 1 index ranges of ready, merged in order. See sql/routines/04_claim.sql.
-- losses is not asked for by name: the schema of the version before does not count them.
select * from longshore.claim_1($1, $2, $3, $4, $5, $6, $7)
