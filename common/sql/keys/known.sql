-- keys/known
-- All that the API needs for letting requests in. Every API asks this every two seconds: keys are few.
select name, prefix, hash, scopes, queues from longshore.keys
