-- workflows/get
select name, created_at from longshore.workflows where workflow = $1
