-- duties/look_after_workflows
select longshore.look_after_workflows($1)
