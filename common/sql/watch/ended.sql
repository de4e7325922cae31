-- watch/ended
-- Which of these jobs have ended, or are forgotten. Indexes: primary keys.
select i.id from unnest($1::bigint[]) i(id)
 where exists (select from longshore.finished f where f.id = i.id)
    or not exists (select from longshore.job_data j where j.id = i.id)
