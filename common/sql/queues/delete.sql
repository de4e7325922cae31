-- queues/delete
-- See sql/routines/11_queues.sql.
select there, held, running from longshore.delete_queue($1)
